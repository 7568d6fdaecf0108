//! The part of a table that does not depend on the policies.
//!
//! In: the place, whether a pod of this node is isolated, whether to log, and what
//! the node's network asks for. Out: a table with its base chains, the dispatch and
//! the constant sets.
//! Never: pods, ports or addresses.
//!
//! Hooks that a frame and its packet pass between pods, in this order. A frame from
//! one port of a bridge to another passes those of `inet` because `br_netfilter`
//! calls them from within the bridge's own:
//!
//! | family | hook | priority | who |
//! |---|---|---|---|
//! | bridge | prerouting | **-310** | **nftpol: `from`** ([`bridge`]) |
//! | bridge | prerouting | 0 | br_netfilter: the hooks of `inet`, up to the end of prerouting |
//! | inet | prerouting | -400 | defragmentation |
//! | inet | prerouting | **-310** | **nftpol: `bind`** ([`binding`]) |
//! | inet | prerouting | -300 | raw tables of others |
//! | inet | prerouting | -200 | connection tracking |
//! | inet | prerouting | -100 | kube-proxy: Service address to pod address |
//! | inet | input | **-1** | **nftpol: `input`**, for packets to the node ([`tunnels`]) |
//! | bridge | forward | **-310** | **nftpol: `across`** ([`bridge`]) |
//! | bridge | forward | -1 | br_netfilter: the forward hook of `inet` |
//! | inet | forward | **-1** | **nftpol: `forward`** (`forward`) |
//! | inet | forward | 0 | kube-proxy's own filter, firewalld and others |
//! | inet | input | 99 | IPVS: takes what goes to a Service ([`ipvs`]) |
//! | inet | output | **-1** | **nftpol: `ipvs`**, for what IPVS sends ([`ipvs`]) |
//! | inet | postrouting | 100 | masquerading |
//! | inet | postrouting | **110** | **nftpol: `masqueraded`** ([`tunnels`]) |
//! | bridge | postrouting | **310** | **nftpol: `to`** ([`bridge`]) |
//!
//! In a pod's own network namespace the policies are judged at `input` and `output`
//! ([`inside`]), at the same priority.
//!
//! More than one base chain is safe because each only drops, and depends on nothing
//! that changes together with an element that another chain reads. `forward` and `ipvs`
//! share what they read, and no packet meets both.
//!
//! ```text
//! forward -+- established -> accept
//!          +- IPv6 -> six -+- the next five steps for IPv6
//!          |               +- neighbour discovery that no router has passed on -> accept
//!          |               +- to or from link-local, to multicast -> edges
//!          |               +- the same steps for IPv6: tunnels, egress6, ingress6
//!          |               +- strays, unknown
//!          +- redirect of ICMP -> drop
//!          +- related -> accept                                                 (while no port is bound)
//!          +- related -> related -+- of a flow of its own -> accept              (while a port is bound)
//!          |                      +- from another bound pod -> drop
//!          |                      +- from link-local -> edges
//!          |                      +- accept
//!          +- TCP or SCTP that opens no flow -> midflow - source or destination isolated either way -> drop
//!          +- broadcast or multicast frame -> edges
//!          +- destination a node -> tunnels                                      (only while the node has tunnels)
//!          +- source in isolated.e4      -> egress4  -+- to itself -> return
//!          |                                          +- vmap by source      -> e.<signature>  (return: continue)
//!          +- audit.egress4                                                      (only while somebody is audited: see [`audit`])
//!          +- source in a pods' range    -> unknown.from4                        (only while unknown addresses are shut)
//!          +- destination in isolated.i4 -> ingress4 -+- from itself -> accept
//!          |                                          +- vmap by destination -> i.<signature>  (accept)
//!          +- to multicast, to 255.255.255.255 -> edges
//!          +- strays                                                             (only while a port is bound)
//!          +- unknown - destination in a pods' range -> unknown.to4             (else empty: see [`unknown`])
//!          +- audit.ingress4                                                     (only while somebody is audited)
//!
//! edges: see [`edges`]
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
//! SCTP is alike: connection tracking takes a HEARTBEAT for the start of a flow
//! (`sctp_new`, net/netfilter/nf_conntrack_proto_sctp.c, 6.18), and a pod's stack
//! sends one by itself. So a new SCTP flow at an isolated pod begins with an INIT.
//!
//! A redirect quotes a packet of the flow that it redirects, so connection tracking
//! calls it `related`. No pod may send one, so it is dropped before that.
//!
//! Each rule of `midflow` asks one set. An address that is isolated before and
//! after a change, even if in another direction, is in one of its two sets at all
//! times. Those sets are gates: elements are added before others are removed.
//!
//! A look-up in `egress4` or `ingress4` that finds nothing reaches the drop.
//!
//! `six` comes before the rules of IPv4, because a signature's chain is one call deeper
//! behind it. When the kernel validates the table, it visits a chain again only if it
//! finds it deeper than before (`nft_chain_vstate_valid`, net/netfilter/nf_tables_api.c,
//! 6.18.44; kernels before 6.19 that lack the backport visit it each time). In this order
//! it visits each signature's chain once, in the other one twice. A packet asks no rule
//! more, since each family's redirects are a question of that family.
//!
//! `edges` is reached by the type of the frame and by the destination, because a
//! sender of raw frames (CAP_NET_RAW) can put a multicast packet into a frame for
//! one neighbour. Two things still get through, and only to a neighbour on the
//! same bridge: a packet in such a frame to the subnet's own broadcast address,
//! which no rule here knows, and data hidden in neighbour or listener discovery.
//! While the pods' ports are bound, the first does not reach an isolated pod.

mod addresses;
pub mod audit;
pub mod binding;
pub mod bridge;
mod edges;
mod elements;
mod forward;
pub mod inside;
pub mod ipvs;
pub mod tunnels;
pub mod unknown;

use std::collections::BTreeSet;

use imbl::OrdMap;
use policy::spec::edges::Edges;
use policy::{Direction, Tunnel, TunnelSources};
use ruleset::{
    Chain, Comment, Element, Family, Field, Finish, Match, Name, Rule, Ruleset, Set, SetType,
    Store, Verdict, VerdictMap,
};

pub use elements::{Placed, of_bridge, of_node, of_port};

use crate::Place;
use crate::names::constant;

/// What the chains need to know of the node's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Whether a port is bound to a pod.
    pub is_bound: bool,
    /// What the node unwraps, and who may send it.
    pub tunnels: OrdMap<Tunnel, TunnelSources>,
    /// The families of which nodes' addresses are known, while there are tunnels.
    pub known_nodes: BTreeSet<Family>,
    /// Where unknown addresses are shut.
    pub shut: unknown::Shut,
    /// `Some` while a local address is audited.
    pub audits: Option<audit::Audits>,
    /// For whom multicast, broadcast and link-local addresses are shut.
    pub edges: Edges,
    /// Whether IPVS forwards packets, from the output hook.
    pub ipvs: bool,
}

impl Network {
    /// One for which the table has all its sets.
    pub(crate) fn everything() -> Self {
        let tunnels = OrdMap::unit(Tunnel::Udp(0), TunnelSources::Nodes);
        Self { is_bound: true, tunnels, known_nodes: Family::BOTH.into(), ..Self::default() }
    }
}

/// The tables. A later schema is `nftpol-2` and so on.
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

/// The set of link-local addresses of isolated pods.
pub fn muted_set() -> Name {
    constant("muted6")
}

/// The chain of broadcast, multicast and link-local packets.
pub fn edges_chain() -> Name {
    constant("edges")
}

/// The table of a place without a pod. `isolated`: whether a local pod is
/// isolated; then link-local, broadcast and multicast packets are dropped, as long as
/// [`fit`] knows nothing of guards.
pub fn of(place: &Place, isolated: bool, log: bool) -> Ruleset {
    let mut ruleset = Ruleset::new(place.table.clone());
    for family in Family::BOTH {
        for direction in Direction::BOTH {
            add_dispatch(&mut ruleset, direction, family, place);
            if log {
                let comment = Comment::new("pods whose drops were logged recently");
                let set = Set::new(SetType::RateLimit(family), Some(comment));
                ruleset.sets.insert(log_set(direction, family), set);
            }
        }
        if place.pod.is_none() {
            let comment = Comment::new("a pod and itself, through a Service");
            let set = Set::new(SetType::AddressPair(family), Some(comment));
            ruleset.sets.insert(self_set(family), set);
        }
    }
    ruleset.sets.extend(Store::all());
    forward::add(&mut ruleset);
    let edges = if isolated { Edges::Shut } else { Edges::Open };
    match &place.pod {
        None => fit(&mut ruleset, place, &Network { edges, ..Network::default() }),
        Some(_) => {
            shut_edges(&mut ruleset, isolated);
            inside::add(&mut ruleset, place);
        }
    }
    ruleset
}

/// In a pod's own namespace: shuts multicast, broadcast and link-local addresses, or opens
/// them. On the node [`fit`] does.
pub(crate) fn shut_edges(ruleset: &mut Ruleset, isolated: bool) {
    let edges = if isolated { Edges::Shut } else { Edges::Open };
    ruleset.chains.insert(edges_chain(), edges::chain(edges).into());
}

/// Makes the chains fit to a network. Sets that come are empty.
pub fn fit(ruleset: &mut Ruleset, place: &Place, network: &Network) {
    ruleset.chains.insert(edges_chain(), edges::chain(network.edges).into());
    ruleset.chains.insert(constant("six"), forward::six(network).into());
    ruleset.chains.insert(place.chain.clone(), forward::first(place.base, network).into());
    let of_binding = binding::chains().into_iter();
    let about_flows = (forward::related_chain(), forward::related());
    let has_tunnels = !network.tunnels.is_empty();
    let parts = [
        (network.is_bound, binding::sets(), of_binding.chain([about_flows]).collect()),
        (has_tunnels, tunnels::sets(), tunnels::chains(network)),
        (has_tunnels && network.is_bound, tunnels::openers(), tunnels::after_masquerading(network)),
    ];
    unknown::fit(ruleset, &network.shut);
    audit::fit(ruleset, network.audits);
    ipvs::all_chains().iter().for_each(|name| drop(ruleset.chains.remove(name)));
    if network.ipvs {
        for (name, chain) in ipvs::chains(place, network) {
            ruleset.chains.insert(name, chain.into());
        }
    }
    for (is_there, sets, chains) in parts {
        for (name, set) in sets {
            match is_there {
                true => drop(ruleset.sets.entry(name).or_insert(set)),
                false => drop(ruleset.sets.remove(&name)),
            }
        }
        for (name, chain) in chains {
            match is_there {
                true => drop(ruleset.chains.insert(name, chain.into())),
                false => drop(ruleset.chains.remove(&name)),
            }
        }
    }
}

/// The sets of the `inet` table that change with ports, bridges and nodes.
pub(crate) fn binding_sets() -> impl Iterator<Item = Name> {
    let sets = binding::sets().into_iter().chain(tunnels::sets()).chain(tunnels::openers());
    sets.filter(|(_, set)| set.elements.is_empty()).map(|(name, _)| name)
}

/// In a pod's own namespace, what a pod sends to itself stays on the loopback interface.
fn add_dispatch(ruleset: &mut Ruleset, direction: Direction, family: Family, place: &Place) {
    let comment = Comment::new(&format!("pods of this node isolated for {direction}"));
    let set = Set::new(SetType::Address(family), Some(comment));
    ruleset.sets.insert(isolated_set(direction, family), set);
    let name = dispatch(direction, family);
    let comment = Comment::new(&format!("{direction} chain of each isolated pod"));
    ruleset.maps.insert(name.clone(), VerdictMap::new(family, Some(comment)));
    let vmap = Finish::Dispatch(field(direction), family, name.clone());
    let look_up = Rule { matches: vec![], log: None, finish: Some(vmap), comment: None };
    let pair = Match::AddressPair(family, self_set(family));
    let itself = Rule::new([pair], allowing(direction)).commented("a pod reaches itself");
    let itself = place.pod.is_none().then_some(itself);
    let rest = [look_up, Rule::new([], Verdict::Drop)];
    let rules = itself.into_iter().chain(rest).collect();
    ruleset.chains.insert(name, plain(None, rules).into());
}

/// Allowed egress returns to the base chain, which then checks ingress. Allowed
/// ingress is final.
pub(crate) fn allowing(direction: Direction) -> Verdict {
    match direction {
        Direction::Egress => Verdict::Return,
        Direction::Ingress => Verdict::Accept,
    }
}

/// A chain that is only jumped to.
fn plain(comment: Option<&str>, rules: Vec<Rule>) -> Chain {
    Chain { base: None, comment: comment.map(Comment::new), rules }
}

/// A constant set of ICMPv6 types.
fn types(name: Name, comment: &str, types: &[u8]) -> (Name, Set) {
    let set = Set::new(SetType::Icmpv6Type, Some(Comment::new(comment)));
    (name, set.with(types.iter().copied().map(Element::Icmpv6Type)))
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

/// ICMP's type "redirect" (RFC 792).
const REDIRECT: u8 = 5;

/// ICMPv6 types of multicast listener discovery (RFC 2710, 3; version 2: RFC
/// 3810, 5.2). A bridge with snooping delivers groups by them.
const LISTENER_DISCOVERY: [u8; 4] = [130, 131, 132, 143];

/// ICMPv6 types that only routers send: router advertisement and redirect (RFC
/// 4861, 4.2 and 4.5).
const OF_ROUTERS: [u8; 2] = [134, 137];

fn of_routers() -> Name {
    constant("routers")
}

fn listener_discovery() -> Name {
    constant("mld")
}

#[cfg(test)]
pub(crate) mod tests;
