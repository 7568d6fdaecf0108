//! The forward hook before the policies.
//!
//! In: what the node's network asks for. Out: the chains that [`super`] draws.

use policy::Direction;
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, CtStates, Family, Field, FlowSide, Match, Name,
    Rule, Ruleset, Verdict,
};

use super::addresses::{broadcast, link_local, multicast4, multicast6};
use super::{
    LISTENER_DISCOVERY, Network, REDIRECT, audit, binding, dispatch, edges_chain, field,
    isolated_set, listener_discovery, plain, tunnels, types, unknown,
};
use crate::names::constant;

/// ICMPv6 types of neighbour discovery between hosts: solicitation and
/// advertisement (RFC 4861, 4.3 and 4.4). The others are spoken with routers.
pub(super) const NEIGHBOUR_DISCOVERY: [u8; 2] = [135, 136];

/// ICMPv6's redirect (RFC 4861, 4.5).
const REDIRECT6: [u8; 1] = [137];

/// The hop limit that a receiver of neighbour discovery demands. It shows that no
/// router has forwarded the packet: each one subtracts one (RFC 4861, 6.1, 7.1 and
/// 8.1), and Linux does so before the forward hook (`ip6_forward`, net/ipv6/ip6_output.c, 6.18).
pub(super) const NEIGHBOUR_HOP_LIMIT: u8 = 255;

/// Adds the chains and sets that are always the same.
pub(super) fn add(ruleset: &mut Ruleset) {
    ruleset.sets.extend([
        types(neighbour_discovery(), "neighbour discovery", &NEIGHBOUR_DISCOVERY),
        types(listener_discovery(), "multicast listener discovery", &LISTENER_DISCOVERY),
        types(constant("redirects"), "redirects, which no pod may send", &REDIRECT6),
    ]);
    ruleset.chains.insert(constant("midflow"), midflow().into());
}

/// The base chain: the first that a packet meets.
pub(super) fn first(base: BaseChain, network: &Network) -> Chain {
    let rules = [established()].into_iter().chain(judging(network)).collect();
    Chain { base: Some(base), comment: None, rules }
}

pub(super) fn established() -> Rule {
    let established = CtStates { established: true, related: false };
    Rule::new([Match::CtState(established)], Verdict::Accept)
}

/// The rules of a base chain for what is of no established flow.
pub(super) fn judging(network: &Network) -> Vec<Rule> {
    let mut rules = vec![Rule::new([Match::Family(Family::V6)], Verdict::Goto(constant("six")))];
    rules.extend(new_flows(Family::V4, network));
    rules.extend(by_address(Family::V4, network));
    rules.extend([
        edge_rule(Field::Destination, multicast4()),
        edge_rule(Field::Destination, broadcast()),
    ]);
    rules.extend(rest(Family::V4, network));
    rules
}

pub(super) fn six(network: &Network) -> Chain {
    let mut rules = new_flows(Family::V6, network);
    rules.extend([
        neighbour_rule(),
        edge_rule(Field::Source, link_local()),
        edge_rule(Field::Destination, link_local()),
        edge_rule(Field::Destination, multicast6()),
    ]);
    rules.extend(by_address(Family::V6, network));
    rules.extend(rest(Family::V6, network));
    plain(Some("IPv6"), rules)
}

/// What is of no established flow: redirects, what belongs to a flow, what cannot open
/// one, frames for several hosts.
pub(super) fn new_flows(family: Family, network: &Network) -> Vec<Rule> {
    let redirect = match family {
        Family::V4 => Match::IcmpType(REDIRECT),
        Family::V6 => Match::Icmpv6Type(constant("redirects")),
    };
    let related = CtStates { established: false, related: true };
    let about_flow =
        if network.is_bound { Verdict::Goto(related_chain()) } else { Verdict::Accept };
    vec![
        Rule::new([redirect], Verdict::Drop),
        Rule::new([Match::CtState(related)], about_flow),
        Rule::new([Match::NotOpening], Verdict::Jump(constant("midflow"))),
        Rule::new([Match::NotInit], Verdict::Jump(constant("midflow"))),
        Rule::new([Match::NotToHost], Verdict::Jump(edges_chain())),
    ]
}

/// What belongs to a known flow without being of it: an error that quotes one of its
/// packets, and what helpers of connection tracking expect. A bound pod speaks of its
/// own flows only: otherwise one packet with a guessed quote reaches an isolated pod.
/// Routers, and pods of other nodes, may speak of any flow.
///
/// An end is the client before any translation of its address, or the server after it.
/// Both are what a pod calls itself.
pub(super) fn related() -> Chain {
    let of_own = Family::BOTH.into_iter().flat_map(|family| {
        FlowSide::BOTH.map(|side| {
            let end = Match::FlowSource(side, family, binding::ends_set(family));
            Rule::new([end], Verdict::Accept)
        })
    });
    let of_others = Family::BOTH.map(|family| {
        let bound = AddressTest::Set(family, binding::owned_set(family));
        Rule::new([Match::Address(Field::Source, bound)], Verdict::Drop)
    });
    let mut rules: Vec<Rule> = of_own.chain(of_others).collect();
    rules.push(edge_rule(Field::Source, link_local()));
    rules.push(Rule::new([], Verdict::Accept));
    plain(Some("about a known flow: not from a bound pod that is no end of it"), rules)
}

pub(super) fn related_chain() -> Name {
    constant("related")
}

/// Packets to nodes, then from and to isolated pods, and from unknown ones between: what
/// goes to an isolated pod is accepted there.
fn by_address(family: Family, network: &Network) -> Vec<Rule> {
    let to_node = (!network.tunnels.is_empty()).then(|| tunnels::to_node_rule(family));
    let [from, to] = [Direction::Egress, Direction::Ingress].map(|one| isolated_rule(one, family));
    let unknown = unknown::source_rules(family, &network.shut);
    let audit = audit::rule(Direction::Egress, family, network.audits);
    to_node.into_iter().chain([from]).chain(audit).chain(unknown).chain([to]).collect()
}

/// What no isolated pod sends or receives under its own address. Who is audited is told of
/// what is left.
fn rest(family: Family, network: &Network) -> Vec<Rule> {
    let strays = network.is_bound.then(binding::strays_chain);
    let chains = strays.into_iter().chain([constant("unknown")]);
    let drops = chains.map(|chain| Rule::new([], Verdict::Jump(chain)));
    drops.chain(audit::rule(Direction::Ingress, family, network.audits)).collect()
}

/// Drops packets from or to an isolated pod.
fn midflow() -> Chain {
    let mut rules = Vec::new();
    for family in Family::BOTH {
        for end in [Field::Source, Field::Destination] {
            rules.extend(Direction::BOTH.map(|direction| {
                let test = AddressTest::Set(family, isolated_set(direction, family));
                Rule::new([Match::Address(end, test)], Verdict::Drop)
            }));
        }
    }
    plain(Some("TCP or SCTP that opens no flow: not from or to an isolated pod"), rules)
}

pub(super) fn neighbour_rule() -> Rule {
    let types = Match::Icmpv6Type(neighbour_discovery());
    Rule::new([Match::HopLimit(NEIGHBOUR_HOP_LIMIT), types], Verdict::Accept)
}

pub(super) fn edge_rule(field: Field, range: AddressRange) -> Rule {
    let test = AddressTest::In(range);
    Rule::new([Match::Address(field, test)], Verdict::Jump(edges_chain()))
}

pub(super) fn isolated_rule(direction: Direction, family: Family) -> Rule {
    let test = AddressTest::Set(family, isolated_set(direction, family));
    let target = Verdict::Jump(dispatch(direction, family));
    Rule::new([Match::Address(field(direction), test)], target)
}

pub(super) fn neighbour_discovery() -> Name {
    constant("nd")
}
