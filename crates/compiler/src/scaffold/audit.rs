//! Policies in audit: what they would deny is logged and counted, and nothing is dropped.
//!
//! In: whether a local address is audited, whether drops are logged. Out: rules, chains, sets
//! and maps of the `inet` table. None while nobody is audited. Never: a drop, or an accept.
//!
//! ```text
//! forward -+- source in egress gate       -> egress4
//!          +- audit.egress4  -+- what the rules around the policies would drop unlogged -> return
//!          |                  +- to itself -> return
//!          |                  +- vmap by source -> audit.e.<signature> -+- allowed -> return
//!          |                                                            +- log (return: continue)
//!          +- ...
//!          +- destination in ingress gate -> ingress4 (accept or drop)
//!          +- ...
//!          +- unknown
//!          +- audit.ingress4 - the same by destination
//! ```
//!
//! An address is isolated or audited in a direction, or neither, and never both. The egress
//! chains stand where those that drop do, since ingress policies accept. The ingress chains
//! stand last: they tell of what passes all else.
//!
//! A chain tells what the chain with a drop would log. So it is not asked about what is
//! dropped at an isolated pod without a word: frames to several hosts, what opens no flow,
//! and in IPv6 link-local and multicast.
//!
//! The chains hang in maps without a gate before them: a look-up that finds nothing goes on.
//! In no order of an update do they let a packet pass that is denied, or the reverse.

use policy::Direction;
use ruleset::{
    AddressRange, AddressTest, Comment, Family, Field, Finish, Match, Name, Rule, Ruleset, Set,
    SetType, Verdict, VerdictMap,
};

use super::addresses::{link_local, multicast6};
use super::{field, letter, plain, self_set};
use crate::names::constant;

/// How what somebody would be denied is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audits {
    /// Whether drops are logged at all. If not, the chains are there and tell nothing.
    pub has_log: bool,
}

/// The map from audited address to chain; the chain that looks into it has the same name.
pub fn dispatch(direction: Direction, family: Family) -> Name {
    constant(&format!("audit.{direction}{}", family.digit()))
}

/// The set that limits logging per pod, and counts.
pub fn log_set(direction: Direction, family: Family) -> Name {
    constant(&format!("audited.{}{}", letter(direction), family.digit()))
}

/// The rule that sends packets of audited pods to their audit chains.
pub(super) fn rule(direction: Direction, family: Family, audits: Option<Audits>) -> Option<Rule> {
    audits.map(|_| Rule::new([], Verdict::Jump(dispatch(direction, family))))
}

/// Adds the sets and maps, empty, unless they are there.
pub(crate) fn add_sets(ruleset: &mut Ruleset, audits: Audits) {
    for (direction, family) in sides() {
        let name = dispatch(direction, family);
        if ruleset.maps.contains_key(&name) {
            continue;
        }
        let comment = Comment::new(&format!("{direction} chain of each audited pod"));
        ruleset.maps.insert(name, VerdictMap::new(family, Some(comment)));
        if audits.has_log {
            let comment = Comment::new("pods that would have been denied something recently");
            let set = Set::new(SetType::RateLimit(family), Some(comment));
            ruleset.sets.insert(log_set(direction, family), set);
        }
    }
}

/// Makes the parts fit to whether somebody is audited.
pub(super) fn fit(ruleset: &mut Ruleset, audits: Option<Audits>) {
    if let Some(audits) = audits {
        add_sets(ruleset, audits);
    }
    for (direction, family) in sides() {
        let name = dispatch(direction, family);
        match audits {
            Some(_) => drop(ruleset.chains.insert(name, asking(direction, family).into())),
            None => {
                ruleset.chains.remove(&name);
                ruleset.maps.remove(&name);
                ruleset.sets.remove(&log_set(direction, family));
            }
        }
    }
}

fn asking(direction: Direction, family: Family) -> ruleset::Chain {
    let edges: Vec<(Field, AddressRange)> = match family {
        Family::V4 => vec![],
        Family::V6 => vec![
            (Field::Source, link_local()),
            (Field::Destination, link_local()),
            (Field::Destination, multicast6()),
        ],
    };
    let edges =
        edges.into_iter().map(|(field, range)| Match::Address(field, AddressTest::In(range)));
    let unlogged = [Match::NotToHost, Match::NotOpening, Match::NotInit].into_iter().chain(edges);
    let unlogged = unlogged.map(|one| Rule::new([one], Verdict::Return));
    let pair = Match::AddressPair(family, self_set(family));
    let itself = Rule::new([pair], Verdict::Return).commented("a pod reaches itself");
    let name = dispatch(direction, family);
    let vmap = Some(Finish::Dispatch(field(direction), family, name));
    let look_up = Rule { matches: vec![], log: None, finish: vmap, comment: None };
    let rules = unlogged.chain([itself, look_up]).collect();
    plain(Some("what policies in audit would deny: drops nothing"), rules)
}

fn sides() -> impl Iterator<Item = (Direction, Family)> {
    Direction::BOTH.into_iter().flat_map(|one| Family::BOTH.map(|family| (one, family)))
}
