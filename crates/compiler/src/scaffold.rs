//! What every table of ours has, whatever the policies say.
//!
//! In: whether a pod of this node is isolated, how to log.
//! Out: a table with the base chain, the dispatch and the constant sets.
//!
//! Hooks of the `inet` family on a packet between pods, by priority:
//!
//! | hook | priority | who |
//! |---|---|---|
//! | prerouting | -200 | connection tracking |
//! | prerouting | -100 | kube-proxy: Service address to pod address |
//! | forward | **-1** | **nftpol** |
//! | forward | 0 | kube-proxy's own filter, firewalld and others |
//! | postrouting | 100 | masquerading |
//!
//! ```text
//! forward -+- established, related -> accept
//!          +- broadcast, multicast -> edges
//!          +- source in isolated.e4      -> egress4  - vmap by source      -> e.<signature>  (return: goes on)
//!          +- destination in isolated.i4 -> ingress4 - vmap by destination -> i.<signature>  (accept)
//!          +- IPv6 -> six -+- neighbour discovery -> accept
//!          |               +- link-local -> edges
//!          |               +- the same two steps for IPv6
//!          +- unknown (empty: a slot)
//! ```
//!
//! A look-up in `egress4` or `ingress4` that misses falls into their drop.

use policy::Direction;
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Comment, CtStates, Element, Family, Field, Finish,
    Match, Name, Rule, Ruleset, Set, SetType, Verdict, VerdictMap,
};
use std::net::{IpAddr, Ipv6Addr};

use crate::names::constant;

/// ICMPv6 types that must pass for a link to work: multicast listener
/// discovery (130-132, RFC 2710; 143, RFC 3810), neighbour discovery
/// (133-137, RFC 4861).
const NEIGHBOUR_DISCOVERY: [u8; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];

/// `filter - 1`: before other tables' forward chains, so that what we deny
/// costs them nothing; what we accept they can still drop.
const FORWARD_PRIORITY: i32 = -1;

/// The table's name. A later schema is `nftpol-2` and so on.
pub fn table() -> Name {
    constant("nftpol")
}

/// The set of local pods that are isolated.
pub fn isolated_set(direction: Direction, family: Family) -> Name {
    constant(&format!("isolated.{}{}", letter(direction), family.digit()))
}

/// The map from local pod to chain; the chain that looks into it has the
/// same name.
pub fn dispatch(direction: Direction, family: Family) -> Name {
    constant(&format!("{direction}{}", family.digit()))
}

/// The set of (pod, the same pod).
pub fn self_set(family: Family) -> Name {
    constant(&format!("self{}", family.digit()))
}

/// The set that limits logging per pod.
pub fn log_set(direction: Direction, family: Family) -> Name {
    constant(&format!("logged.{}{}", letter(direction), family.digit()))
}

/// The table without a pod. `isolated`: whether a local pod is isolated, and
/// so what lies beside the pods' reported addresses is shut.
pub fn of(isolated: bool, log: bool) -> Ruleset {
    let mut ruleset = Ruleset::new(table());
    for family in Family::BOTH {
        for direction in Direction::BOTH {
            add_dispatch(&mut ruleset, direction, family);
            if log {
                let comment = Comment::new("pods whose drops were logged of late");
                let set = Set::new(SetType::RateLimit(family), Some(comment));
                ruleset.sets.insert(log_set(direction, family), set);
            }
        }
        let comment = Comment::new("a pod and itself, by way of a Service");
        let set = Set::new(SetType::AddressPair(family), Some(comment));
        ruleset.sets.insert(self_set(family), set);
    }
    let comment = Comment::new("neighbour discovery, multicast listener discovery");
    let types = NEIGHBOUR_DISCOVERY.map(Element::Icmpv6Type);
    let set = Set::new(SetType::Icmpv6Type, Some(comment)).with(types);
    ruleset.sets.insert(neighbour_discovery(), set);
    ruleset.chains.insert(constant("edges"), edges(isolated));
    ruleset.chains.insert(constant("six"), six());
    ruleset.chains.insert(constant("unknown"), unknown());
    ruleset.chains.insert(constant("forward"), forward());
    ruleset
}

fn add_dispatch(ruleset: &mut Ruleset, direction: Direction, family: Family) {
    let comment = Comment::new(&format!("pods of this node isolated for {direction}"));
    let set = Set::new(SetType::Address(family), Some(comment));
    ruleset.sets.insert(isolated_set(direction, family), set);
    let name = dispatch(direction, family);
    let comment = Comment::new(&format!("{direction} chain of each isolated pod"));
    ruleset.maps.insert(name.clone(), VerdictMap::new(family, Some(comment)));
    let vmap = Finish::Dispatch(field(direction), family, name.clone());
    let look_up = Rule { matches: vec![], log: None, finish: Some(vmap), comment: None };
    let rules = vec![look_up, Rule::new([], Verdict::Drop)];
    ruleset.chains.insert(name, Chain { base: None, comment: None, rules });
}

fn forward() -> Chain {
    let known = CtStates { established: true, related: true };
    let rules = vec![
        Rule::new([Match::CtState(known)], Verdict::Accept),
        Rule::new([Match::NotToHost], Verdict::Jump(constant("edges"))),
        isolated_rule(Direction::Egress, Family::V4),
        isolated_rule(Direction::Ingress, Family::V4),
        Rule::new([Match::Family(Family::V6)], Verdict::Goto(constant("six"))),
        Rule::new([], Verdict::Jump(constant("unknown"))),
    ];
    Chain { base: Some(BaseChain { priority: FORWARD_PRIORITY }), comment: None, rules }
}

fn six() -> Chain {
    let link_local = |field| {
        let test = AddressTest::In(link_local_range());
        Rule::new([Match::Address(field, test)], Verdict::Jump(constant("edges")))
    };
    let rules = vec![
        discovery_rule(),
        link_local(Field::Source),
        link_local(Field::Destination),
        isolated_rule(Direction::Egress, Family::V6),
        isolated_rule(Direction::Ingress, Family::V6),
        Rule::new([], Verdict::Jump(constant("unknown"))),
    ];
    Chain { base: None, comment: Some(Comment::new("IPv6")), rules }
}

/// Broadcast, multicast and link-local unicast between pods of one bridge:
/// they reach an isolated pod beside the addresses that it reports.
fn edges(isolated: bool) -> Chain {
    let comment = Comment::new("beside the pods' addresses; shut while a pod here is isolated");
    let rules = match isolated {
        true => vec![discovery_rule(), Rule::new([], Verdict::Drop)],
        false => vec![],
    };
    Chain { base: None, comment: Some(comment), rules }
}

fn unknown() -> Chain {
    let comment = Comment::new("a slot: local addresses that no pod is known for");
    Chain { base: None, comment: Some(comment), rules: vec![] }
}

fn discovery_rule() -> Rule {
    Rule::new([Match::Icmpv6Type(neighbour_discovery())], Verdict::Accept)
}

fn isolated_rule(direction: Direction, family: Family) -> Rule {
    let test = AddressTest::Set(family, isolated_set(direction, family));
    let target = Verdict::Jump(dispatch(direction, family));
    Rule::new([Match::Address(field(direction), test)], target)
}

/// Whose chain it is: the source's for egress, the destination's for ingress.
fn field(direction: Direction) -> Field {
    match direction {
        Direction::Egress => Field::Source,
        Direction::Ingress => Field::Destination,
    }
}

fn letter(direction: Direction) -> char {
    match direction {
        Direction::Egress => 'e',
        Direction::Ingress => 'i',
    }
}

fn neighbour_discovery() -> Name {
    constant("nd")
}

/// `fe80::/10` (RFC 4291, 2.4).
#[expect(clippy::expect_used, reason = "two constants in order")]
fn link_local_range() -> AddressRange {
    let first = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
    let last = Ipv6Addr::new(0xfebf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);
    AddressRange::new(IpAddr::V6(first), IpAddr::V6(last)).expect("first before last")
}
