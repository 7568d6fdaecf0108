//! The part of a table that does not depend on the policies.
//!
//! In: the place, whether a pod of this node is isolated, whether to log.
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
//!          +- TCP that opens no flow -> midflow - source or destination isolated either way -> drop
//!          +- broadcast or multicast frame -> edges
//!          +- source in isolated.e4      -> egress4  - vmap by source      -> e.<signature>  (return: continue)
//!          +- destination in isolated.i4 -> ingress4 - vmap by destination -> i.<signature>  (accept)
//!          +- IPv6 -> six -+- neighbour discovery that no router has passed on -> accept
//!          |               +- to or from link-local, to multicast -> edges
//!          |               +- the same two steps for IPv6
//!          |               +- unknown
//!          +- to multicast, to 255.255.255.255 -> edges
//!          +- unknown (empty: a slot)
//!
//! edges, while a pod of this node is isolated (else empty):
//!          -+- neighbour discovery, as above -> accept
//!           +- multicast listener discovery -> accept
//!           +- drop
//! ```
//!
//! `midflow`: at an isolated pod a new TCP flow begins with a SYN. Connection
//! tracking also picks up a flow from its middle (`nf_conntrack_tcp_loose`, 1 by
//! default; `tcp_new`, net/netfilter/nf_conntrack_proto_tcp.c, 6.18), whichever
//! side sends first. Take a denied flow whose entry was deleted, at a pod that is
//! isolated for ingress only. The pod's next data would create an entry, and its
//! client's packets would be replies in it. So `midflow` checks both ends for
//! both directions, not only for the direction of the packet.
//!
//! It also drops resets and ends of unknown flows, and segments outside the
//! window, which conntrack calls invalid. That is right: nobody knows who opened
//! such a flow, so no policy can judge it. An end that misses them finds out by
//! its own timers, and kube-proxy drops invalid packets too. A packet that a pod
//! sends to itself through a Service begins with a SYN like any flow. The node's
//! own packets never pass these rules.
//!
//! Each rule of `midflow` asks one set. An address that is isolated before and
//! after a change, even if in another direction, is in one of its two sets at all
//! times. Those sets are gates: elements are added before others are removed.
//!
//! A look-up in `egress4` or `ingress4` that finds nothing reaches the drop.
//!
//! `edges` is reached by the type of the frame and by the destination, because a
//! sender of raw frames (CAP_NET_RAW) can put a multicast packet into a frame for
//! one neighbour. Two things still get through, and only to a neighbour on the
//! same bridge: a packet in such a frame to the subnet's own broadcast address,
//! which no rule here knows, and data hidden in neighbour or listener discovery.

use policy::Direction;
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Comment, CtStates, Element, Family, Field, Finish,
    Match, Name, Rule, Ruleset, Set, SetType, Verdict, VerdictMap,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::names::constant;

/// ICMPv6 types of neighbour discovery (RFC 4861, 4).
const NEIGHBOUR_DISCOVERY: [u8; 5] = [133, 134, 135, 136, 137];

/// The hop limit that a receiver of neighbour discovery demands. It shows that no
/// router has forwarded the packet: each one subtracts one (RFC 4861, 6.1, 7.1 and
/// 8.1), and Linux does so before the forward hook (`ip6_forward`, net/ipv6/ip6_output.c, 6.18).
const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// ICMPv6 types of multicast listener discovery (RFC 2710, 3; version 2: RFC
/// 3810, 5.2). A bridge with snooping delivers groups by them.
const LISTENER_DISCOVERY: [u8; 4] = [130, 131, 132, 143];

/// `filter - 1`: before other tables' forward chains. What we drop costs them
/// nothing, and they can still drop what we accept.
const FORWARD_PRIORITY: i32 = -1;

/// Where packets are judged: a base chain, in a table of its own.
///
/// Two places share no table, so each has its own sets in use, and a change of
/// one needs no order with the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table, of family `inet`.
    pub table: Name,
    /// The base chain's name.
    pub chain: Name,
    /// Its hook and priority.
    pub base: BaseChain,
}

impl Place {
    /// The forward hook, on which the policies are judged.
    pub fn forward() -> Self {
        let base = BaseChain::forward(FORWARD_PRIORITY);
        Self { table: table(), chain: base_chain(), base }
    }
}

/// The table of the forward hook. A later schema is `nftpol-2` and so on.
pub fn table() -> Name {
    constant("nftpol")
}

/// The base chain of the forward hook.
pub fn base_chain() -> Name {
    constant("forward")
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

/// The chain of broadcast, multicast and link-local packets.
pub fn edges_chain() -> Name {
    constant("edges")
}

/// The table of a place without a pod. `isolated`: whether a local pod is
/// isolated; then link-local, broadcast and multicast packets are dropped.
pub fn of(place: &Place, isolated: bool, log: bool) -> Ruleset {
    let mut ruleset = Ruleset::new(place.table.clone());
    for family in Family::BOTH {
        for direction in Direction::BOTH {
            add_dispatch(&mut ruleset, direction, family);
            if log {
                let comment = Comment::new("pods whose drops were logged recently");
                let set = Set::new(SetType::RateLimit(family), Some(comment));
                ruleset.sets.insert(log_set(direction, family), set);
            }
        }
        let comment = Comment::new("a pod and itself, through a Service");
        let set = Set::new(SetType::AddressPair(family), Some(comment));
        ruleset.sets.insert(self_set(family), set);
    }
    let mut types = |name, comment: &str, types: &[u8]| {
        let set = Set::new(SetType::Icmpv6Type, Some(Comment::new(comment)));
        ruleset.sets.insert(name, set.with(types.iter().copied().map(Element::Icmpv6Type)));
    };
    types(neighbour_discovery(), "neighbour discovery", &NEIGHBOUR_DISCOVERY);
    types(listener_discovery(), "multicast listener discovery", &LISTENER_DISCOVERY);
    ruleset.chains.insert(constant("midflow"), midflow().into());
    shut_edges(&mut ruleset, isolated);
    ruleset.chains.insert(constant("six"), six().into());
    ruleset.chains.insert(constant("unknown"), unknown().into());
    ruleset.chains.insert(place.chain.clone(), first(place.base).into());
    ruleset
}

/// Drops link-local, broadcast and multicast packets, or lets them pass.
pub(crate) fn shut_edges(ruleset: &mut Ruleset, isolated: bool) {
    ruleset.chains.insert(edges_chain(), edges(isolated).into());
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
    ruleset.chains.insert(name, Chain { base: None, comment: None, rules }.into());
}

/// The base chain: the first that a packet meets.
fn first(base: BaseChain) -> Chain {
    let known = CtStates { established: true, related: true };
    let rules = vec![
        Rule::new([Match::CtState(known)], Verdict::Accept),
        Rule::new([Match::NotOpening], Verdict::Jump(constant("midflow"))),
        Rule::new([Match::NotToHost], Verdict::Jump(edges_chain())),
        isolated_rule(Direction::Egress, Family::V4),
        isolated_rule(Direction::Ingress, Family::V4),
        Rule::new([Match::Family(Family::V6)], Verdict::Goto(constant("six"))),
        edge_rule(Field::Destination, multicast4()),
        edge_rule(Field::Destination, AddressRange::single(Ipv4Addr::BROADCAST.into())),
        Rule::new([], Verdict::Jump(constant("unknown"))),
    ];
    Chain { base: Some(base), comment: None, rules }
}

/// Drops packets from or to an isolated pod.
fn midflow() -> Chain {
    let comment = Comment::new("TCP that opens no flow: not from or to an isolated pod");
    let mut rules = Vec::new();
    for family in Family::BOTH {
        for end in [Field::Source, Field::Destination] {
            rules.extend(Direction::BOTH.map(|direction| {
                let test = AddressTest::Set(family, isolated_set(direction, family));
                Rule::new([Match::Address(end, test)], Verdict::Drop)
            }));
        }
    }
    Chain { base: None, comment: Some(comment), rules }
}

fn six() -> Chain {
    let rules = vec![
        neighbour_rule(),
        edge_rule(Field::Source, link_local()),
        edge_rule(Field::Destination, link_local()),
        edge_rule(Field::Destination, multicast6()),
        isolated_rule(Direction::Egress, Family::V6),
        isolated_rule(Direction::Ingress, Family::V6),
        Rule::new([], Verdict::Jump(constant("unknown"))),
    ];
    Chain { base: None, comment: Some(Comment::new("IPv6")), rules }
}

/// Broadcast, multicast and link-local unicast between pods of one bridge. They
/// reach an isolated pod although they are not sent to an address that it
/// reports. Listener discovery passes only here: it is sent to groups (RFC 3810,
/// 5.1.15 and 5.2.14), so it always reaches this chain.
fn edges(isolated: bool) -> Chain {
    let comment = Comment::new("beside the pods' addresses; shut while a pod here is isolated");
    let rules = match isolated {
        true => vec![
            neighbour_rule(),
            Rule::new([Match::Icmpv6Type(listener_discovery())], Verdict::Accept),
            Rule::new([], Verdict::Drop),
        ],
        false => vec![],
    };
    Chain { base: None, comment: Some(comment), rules }
}

fn unknown() -> Chain {
    let comment = Comment::new("a slot: local addresses that no pod is known for");
    Chain { base: None, comment: Some(comment), rules: vec![] }
}

fn neighbour_rule() -> Rule {
    let types = Match::Icmpv6Type(neighbour_discovery());
    Rule::new([Match::HopLimit(NEIGHBOUR_HOP_LIMIT), types], Verdict::Accept)
}

fn edge_rule(field: Field, range: AddressRange) -> Rule {
    let test = AddressTest::In(range);
    Rule::new([Match::Address(field, test)], Verdict::Jump(edges_chain()))
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

fn listener_discovery() -> Name {
    constant("mld")
}

/// `fe80::/10` (RFC 4291, 2.4).
fn link_local() -> AddressRange {
    let first = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
    let last = Ipv6Addr::new(0xfebf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);
    range(first, last)
}

/// `ff00::/8` (RFC 4291, 2.4).
fn multicast6() -> AddressRange {
    let first = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);
    let last = Ipv6Addr::new(0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff);
    range(first, last)
}

/// `224.0.0.0/4` (RFC 5771, 3).
fn multicast4() -> AddressRange {
    range(Ipv4Addr::new(224, 0, 0, 0), Ipv4Addr::new(239, 255, 255, 255))
}

#[expect(clippy::expect_used, reason = "two constants in order")]
fn range(first: impl Into<IpAddr>, last: impl Into<IpAddr>) -> AddressRange {
    AddressRange::new(first.into(), last.into()).expect("first before last")
}

#[cfg(test)]
mod tests;
