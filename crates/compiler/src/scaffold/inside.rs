//! The table in a pod's own network namespace.
//!
//! In: in which directions the pod is isolated, its addresses, its node's, and the
//! interfaces that are not judged. Out: base chains on the input and the output hook.
//! Never: the forward hook. A pod that forwards packets of others is no end of them.
//!
//! ```text
//! input  -+- established -> accept
//!         +- by an interface in `apart` -> accept             (loopback, other networks)
//!         +- IPv6 -> input6: the next steps for IPv6, with neighbour discovery and
//!         |          link-local addresses as on the node
//!         +- redirect of ICMP -> drop
//!         +- source in node4 -> accept                         (the pod's own node)
//!         +- related -> accept
//!         +- TCP or SCTP that opens no flow -> midflow
//!         +- broadcast or multicast frame -> edges
//!         +- destination in isolated.i4 -> ingress4 - vmap by destination -> i.<signature>
//!         +- to multicast, to 255.255.255.255 -> edges
//!         +- input.strays, while the pod is isolated for ingress (else empty):
//!                         -+- destination in reported4 -> return
//!                          +- drop
//! output -+- the same with the ends swapped: isolated.e4, egress4, output.strays
//! ```
//!
//! A packet meets one of the two base chains. What a pod sends to itself meets both, by
//! the loopback interface, and passes both whatever else changes. So nothing that changes
//! together is read twice for one packet.
//!
//! `reported4` has the pod's addresses whether it is isolated or not. So `strays` is shut
//! and opened without a moment in which a packet to one of these is judged by it. An
//! address is in its gate before it is in `reported4`, and as long (the role `Known` in
//! `ruleset::plan`).
//!
//! Here routers speak to the pod itself, so their solicitations and advertisements pass,
//! too (RFC 4861, 4.1 and 4.2), with the hop limit that shows that they are of this link.
//! An address that the pod takes from one is not reported, so it is a stray.
//!
//! Nothing here binds an address to who sends under it: that is the network's matter,
//! which the node does not see.

use std::collections::BTreeSet;
use std::net::IpAddr;

use policy::{Direction, InterfaceIndex};
use ruleset::{
    AddressTest, BaseChain, Chain, Comment, Element, Family, Field, Hook, InterfaceField, Key,
    Match, Name, Rule, Ruleset, Set, SetType, Verdict,
};

use super::addresses::{broadcast, link_local, multicast4, multicast6};
use super::binding::{interface, interfaces};
use super::forward::{edge_rule, isolated_rule, neighbour_discovery, neighbour_rule, new_flows};
use super::{Network, field, plain, types};
use crate::Place;
use crate::names::constant;

/// ICMPv6 types of neighbour discovery: solicitations and advertisements of routers and
/// neighbours (RFC 4861, 4.1 to 4.4).
const NEIGHBOUR_DISCOVERY: [u8; 4] = [133, 134, 135, 136];

/// The base chain of the input hook.
pub fn input_chain() -> Name {
    constant("input")
}

/// The base chain of the output hook.
pub fn output_chain() -> Name {
    constant("output")
}

/// The set of interfaces that are not judged.
pub fn apart_set() -> Name {
    constant("apart")
}

/// The set of addresses of the pod's node.
pub fn node_set(family: Family) -> Name {
    constant(&format!("node{}", family.digit()))
}

/// The set of addresses that the pod reports.
pub fn reported_set(family: Family) -> Name {
    constant(&format!("reported{}", family.digit()))
}

/// What the sets hold that do not come from policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The interfaces that are not judged.
    pub apart: BTreeSet<InterfaceIndex>,
    /// The addresses of the pod's node.
    pub node: BTreeSet<IpAddr>,
    /// The addresses that the pod reports.
    pub reported: BTreeSet<IpAddr>,
}

/// Adds what is there whatever the policies are. Sets that change are empty.
pub(super) fn add(ruleset: &mut Ruleset, place: &Place) {
    let (nd, of_links) = types(neighbour_discovery(), "neighbour discovery", &NEIGHBOUR_DISCOVERY);
    ruleset.sets.insert(nd, of_links);
    ruleset.sets.extend(sets(&Contents::default()));
    for direction in Direction::BOTH {
        let base = match direction {
            Direction::Ingress => place.base,
            Direction::Egress => BaseChain::new(Hook::Output, place.base.priority),
        };
        ruleset.chains.insert(base_chain(direction), first(base, direction).into());
        ruleset.chains.insert(six_chain(direction), six(direction).into());
    }
    shut(ruleset, &BTreeSet::new());
}

/// Drops what comes to or from addresses that the pod does not report, in these
/// directions.
pub(crate) fn shut(ruleset: &mut Ruleset, isolated: &BTreeSet<Direction>) {
    for direction in Direction::BOTH {
        let chain = strays(direction, isolated.contains(&direction));
        ruleset.chains.insert(strays_chain(direction), chain.into());
    }
}

/// The sets with these contents.
pub(crate) fn sets(contents: &Contents) -> Vec<(Name, Set)> {
    let set = |set_type, comment: &str| Set::new(set_type, Some(Comment::new(comment)));
    let of_index = |index: &InterfaceIndex| {
        Element::Key(Key { interface: Some(index.0), mac: None, address: None })
    };
    let apart = set(interfaces(), "interfaces that policies do not judge");
    let mut all = vec![(apart_set(), apart.with(contents.apart.iter().map(of_index)))];
    for family in Family::BOTH {
        let of = |addresses: &BTreeSet<IpAddr>| -> Vec<Element> {
            let mine = addresses.iter().filter(|address| Family::of(**address) == family);
            mine.map(|address| Element::Address(*address)).collect()
        };
        let node = set(SetType::Address(family), "the pod's own node");
        let reported = set(SetType::Address(family), "addresses that the pod reports");
        all.push((node_set(family), node.with(of(&contents.node))));
        all.push((reported_set(family), reported.with(of(&contents.reported))));
    }
    all
}

fn first(base: BaseChain, direction: Direction) -> Chain {
    let established = ruleset::CtStates { established: true, related: false };
    let apart = match direction {
        Direction::Ingress => InterfaceField::In,
        Direction::Egress => InterfaceField::Out,
    };
    let mut rules = vec![
        Rule::new([Match::CtState(established)], Verdict::Accept),
        Rule::new([interface(apart, apart_set())], Verdict::Accept),
        Rule::new([Match::Family(Family::V6)], Verdict::Goto(six_chain(direction))),
    ];
    rules.extend(flows(direction, Family::V4));
    rules.extend([
        isolated_rule(direction, Family::V4),
        edge_rule(Field::Destination, multicast4()),
        edge_rule(Field::Destination, broadcast()),
        last(direction),
    ]);
    Chain { base: Some(base), comment: None, rules }
}

fn six(direction: Direction) -> Chain {
    let mut rules = flows(direction, Family::V6);
    rules.extend([
        neighbour_rule(),
        edge_rule(Field::Source, link_local()),
        edge_rule(Field::Destination, link_local()),
        edge_rule(Field::Destination, multicast6()),
        isolated_rule(direction, Family::V6),
        last(direction),
    ]);
    plain(Some("IPv6"), rules)
}

/// As on the node, but that the node's own packets pass after redirects: there they
/// cross no hook of ours.
fn flows(direction: Direction, family: Family) -> Vec<Rule> {
    let node = AddressTest::Set(family, node_set(family));
    let node = Rule::new([Match::Address(peer(direction), node)], Verdict::Accept);
    let mut rules = new_flows(family, &Network::default());
    rules.insert(rules.len().min(1), node);
    rules
}

fn strays(direction: Direction, is_isolated: bool) -> Chain {
    let reported = |family| {
        let test = AddressTest::Set(family, reported_set(family));
        Rule::new([Match::Address(field(direction), test)], Verdict::Return)
    };
    let rules = match is_isolated {
        true => {
            let drop = Rule::new([], Verdict::Drop);
            Family::BOTH.map(reported).into_iter().chain([drop]).collect()
        }
        false => vec![],
    };
    plain(Some("addresses that the pod does not report; shut while it is isolated"), rules)
}

fn last(direction: Direction) -> Rule {
    Rule::new([], Verdict::Jump(strays_chain(direction)))
}

/// The end that is not the pod.
const fn peer(direction: Direction) -> Field {
    match direction {
        Direction::Egress => Field::Destination,
        Direction::Ingress => Field::Source,
    }
}

fn base_chain(direction: Direction) -> Name {
    match direction {
        Direction::Ingress => input_chain(),
        Direction::Egress => output_chain(),
    }
}

fn six_chain(direction: Direction) -> Name {
    constant(&format!("{}6", base_chain(direction)))
}

fn strays_chain(direction: Direction) -> Name {
    constant(&format!("{}.strays", base_chain(direction)))
}
