//! Addresses in the pods' ranges that no object names ([`policy::UnknownPods`]).
//!
//! In: the ranges in which they are shut, how drops are logged. Out: rules, chains and
//! sets of the `inet` table. None while nothing is shut, so mode `open` costs nothing.
//!
//! ```text
//! forward -+- source in egress gate      -> egress4
//!          +- source in a pods' range    -> unknown.from4 -+- source in known4 -> return
//!          |                                               +- log, drop
//!          +- destination in ingress gate -> ingress4 (accept or drop)
//!          +- ...
//!          +- unknown - destination in a pods' range -> unknown.to4 -+- in known4 -> return
//!                                                                    +- log, drop
//! ```
//!
//! What the kernel knows of an address at the moment when it is first used is only where
//! it lies: its interface is new, and the agent has not looked yet. So ranges decide who
//! is asked, and membership of `known4` lets pass: a miss drops. Ranges are where the
//! node's pods are, so nothing else is asked.
//!
//! The source is asked before the ingress policies, since these accept. So a new flow
//! pays one look-up for each end in the ranges: one between a pod of the node and
//! elsewhere, two between two pods. One to a pod that is isolated for ingress pays none
//! for that end.
//!
//! An isolated address is in its gate before it is in `known4`, and as long (the role
//! `Known` in `ruleset::plan`): it goes from shut to isolated without a moment of openness.
//! It is shut until the sets of its policies are right: ingress policies accept without
//! asking whether it is known (`shut` in `ruleset::plan`). A set knows the addresses of some ranges alone. Other ranges are
//! another set with another name, so that ranges and elements never change together.

use std::net::IpAddr;

use imbl::OrdSet;
use policy::{Direction, PodRange};
use ruleset::{
    AddressRange, AddressTest, Chain, Comment, Element, Family, Field, Log, LogPrefix, Match, Name,
    Rule, Ruleset, Set, SetType, TableFamily, Verdict,
};

use super::{Placed, field, plain};
use crate::LogOptions;
use crate::names::{Content, constant};

/// How the names of the sets begin, before the family's digit.
const KNOWN: &str = "known";

/// Where unknown addresses are shut, and how that is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shut {
    /// The ranges; none: nothing is shut.
    pub ranges: OrdSet<PodRange>,
    /// How drops are logged.
    pub log: Option<LogOptions>,
}

/// The set of the addresses in these ranges that an object names.
pub fn known_set(family: Family, ranges: &OrdSet<PodRange>) -> Name {
    let texts: Vec<String> = of_family(family, ranges).map(|range| range.to_string()).collect();
    let first = texts.first().cloned().unwrap_or_default();
    Content::of(KNOWN).texts(texts).named(&format!("{KNOWN}{}", family.digit()), &first)
}

/// Whether a set is of addresses that an object names.
pub fn is_known_set(name: &Name) -> bool {
    let of = |family: Family| format!("{KNOWN}{}.", family.digit());
    Family::BOTH.into_iter().any(|family| name.as_str().starts_with(&of(family)))
}

/// The elements of those of these addresses that are in the ranges.
pub fn of_known(
    addresses: impl IntoIterator<Item = IpAddr>,
    ranges: &OrdSet<PodRange>,
) -> Vec<Placed> {
    let [v4, v6] = Family::BOTH.map(|family| known_set(family, ranges));
    let of = |address: IpAddr| Placed {
        table: TableFamily::Inet,
        set: if address.is_ipv4() { v4.clone() } else { v6.clone() },
        element: Element::Address(address),
    };
    let is_there = |one: &IpAddr| ranges.iter().any(|range| range.contains(*one));
    addresses.into_iter().filter(is_there).map(of).collect()
}

/// The sets, empty.
pub fn sets(ranges: &OrdSet<PodRange>) -> Vec<(Name, Set)> {
    let families = Family::BOTH.into_iter();
    let families = families.filter(|family| of_family(*family, ranges).next().is_some());
    let set = |family| {
        let comment = Comment::new("addresses in the pods' ranges that an object names");
        (known_set(family, ranges), Set::new(SetType::Address(family), Some(comment)))
    };
    families.map(set).collect()
}

/// Makes the parts fit to what is shut. Other ranges have other sets, which come empty.
pub(super) fn fit(ruleset: &mut Ruleset, shut: &Shut) {
    let sets = sets(&shut.ranges);
    let is_old = |name: &Name| is_known_set(name) && sets.iter().all(|(one, _)| one != name);
    let old: Vec<Name> = ruleset.sets.keys().filter(|name| is_old(name)).cloned().collect();
    old.iter().for_each(|name| drop(ruleset.sets.remove(name)));
    all_chains().for_each(|name| drop(ruleset.chains.remove(&name)));
    for (name, set) in sets {
        ruleset.sets.entry(name).or_insert(set);
    }
    for family in Family::BOTH {
        let is_logged = shut.log.is_some() && of_family(family, &shut.ranges).next().is_some();
        match is_logged {
            true => drop(ruleset.sets.entry(logged_set(family)).or_insert(logged(family))),
            false => drop(ruleset.sets.remove(&logged_set(family))),
        }
    }
    for (name, chain) in chains(shut).into_iter().chain([(constant("unknown"), last(shut))]) {
        ruleset.chains.insert(name, chain.into());
    }
}

/// The chains that are there while something is shut.
fn chains(shut: &Shut) -> Vec<(Name, Chain)> {
    let ends = Direction::BOTH.into_iter().flat_map(|end| Family::BOTH.map(|one| (end, one)));
    let ends = ends.filter(|(_, family)| of_family(*family, &shut.ranges).next().is_some());
    ends.map(|(end, family)| (asking_chain(end, family), asking(end, family, shut))).collect()
}

/// All names that [`chains`] can have.
fn all_chains() -> impl Iterator<Item = Name> {
    let ends = Direction::BOTH.into_iter().flat_map(|end| Family::BOTH.map(|one| (end, one)));
    ends.map(|(end, family)| asking_chain(end, family))
}

/// Where the source is asked, in the base chain.
pub(super) fn source_rules(family: Family, shut: &Shut) -> Vec<Rule> {
    let to = |range| Rule::new([in_range(Field::Source, range)], jump(Direction::Egress, family));
    of_family(family, &shut.ranges).map(to).collect()
}

/// The chain that asks for the destination, last of all.
fn last(shut: &Shut) -> Chain {
    let rules = Family::BOTH.into_iter().flat_map(|family| {
        let to = move |range| {
            Rule::new([in_range(Field::Destination, range)], jump(Direction::Ingress, family))
        };
        of_family(family, &shut.ranges).map(to)
    });
    plain(Some("a slot: local addresses that no pod is known for"), rules.collect())
}

/// The ranges that a table shuts.
pub fn ranges_of<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> OrdSet<PodRange> {
    let asking: Vec<Name> =
        Family::BOTH.map(|family| asking_chain(Direction::Egress, family)).into();
    let rules =
        rules.into_iter().filter(|rule| rule.target().is_some_and(|to| asking.contains(to)));
    let ranges = rules.filter_map(|rule| match rule.matches.as_slice() {
        [Match::Address(Field::Source, AddressTest::In(range))] => {
            Some(PodRange { first: range.first(), last: range.last() })
        }
        _ => None,
    });
    ranges.collect()
}

fn asking(end: Direction, family: Family, shut: &Shut) -> Chain {
    let known = AddressTest::Set(family, known_set(family, &shut.ranges));
    let known = Rule::new([Match::Address(field(end), known)], Verdict::Return);
    let log = shut.log.map(|options| Rule {
        matches: vec![],
        log: Some(Log {
            field: Field::Source,
            family,
            set: logged_set(family),
            per_second: options.per_second,
            prefix: LogPrefix::new(asking_chain(end, family).as_str()),
            group: options.group,
        }),
        finish: None,
        comment: None,
    });
    let rules = [known].into_iter().chain(log).chain([Rule::new([], Verdict::Drop)]);
    plain(Some("not yet known"), rules.collect())
}

/// The set that limits logging here. By sender at both ends, and not the one of isolated
/// pods: a pod has few addresses to send from, and can send to as many as the ranges have.
/// Each would have a limit of its own, and thousands would leave no room for others.
fn logged_set(family: Family) -> Name {
    constant(&format!("logged.u{}", family.digit()))
}

fn logged(family: Family) -> Set {
    let comment = Comment::new("senders whose drops at unknown addresses were logged recently");
    Set::new(SetType::RateLimit(family), Some(comment))
}

fn asking_chain(end: Direction, family: Family) -> Name {
    let end = match end {
        Direction::Egress => "from",
        Direction::Ingress => "to",
    };
    constant(&format!("unknown.{end}{}", family.digit()))
}

fn jump(end: Direction, family: Family) -> Verdict {
    Verdict::Jump(asking_chain(end, family))
}

fn in_range(field: Field, range: AddressRange) -> Match {
    Match::Address(field, AddressTest::In(range))
}

fn of_family(
    family: Family,
    ranges: &OrdSet<PodRange>,
) -> impl Iterator<Item = AddressRange> + use<> {
    let ranges: Vec<AddressRange> =
        ranges.iter().filter_map(|range| AddressRange::new(range.first, range.last)).collect();
    ranges.into_iter().filter(move |range| range.family() == family)
}
