//! The nodes' tunnels, into which no pod may send.
//!
//! In: what the node unwraps and from whom, and of which families the nodes'
//! addresses are known.
//! Out: the chains and sets for that.
//!
//! ```text
//! input -+- to a tunnel between nodes -> tunnelled -+- from a pod's interface -> drop
//!        |                                          +- a Service carried it -> drop
//!        |                                          +- from a node -> accept
//!        |                                          +- drop
//!        |      (of a family whose nodes are unknown: as below)
//!        +- to another tunnel -> tunnelled.any -+- from a pod's interface -> drop
//!                                               +- a Service carried it -> drop
//!                                               +- from a bound address -> drop
//!
//! forward, six -- to a node -> tunnels -+- to a tunnel, a Service carried it -> drop
//!                                       +- from a node -> return
//!                                       +- to a tunnel -> drop
//!                                       +- from a tunnel's port -> drop
//! ```
//!
//! masqueraded -+- to a tunnel -> masqueraded.to - a pod opened the flow -> masqueraded.to.pod -+- an answer to a pod -> accept
//!              |                                                                               +- from a node -> drop
//!              +- from a tunnel's port -> masqueraded.from - a pod opened the flow -> masqueraded.from.pod - from a node to a node -> drop
//!
//! What has a bound address comes from its pod's port: the hooks before saw to that.
//!
//! A Service can have a node's tunnel as its endpoint. What a pod sends to such a
//! Service of another node comes from a node, because that node masquerades it. Both
//! hooks come after the translation (-100), so they know. It costs honest tunnels
//! nothing: a node sends to the address that the other node's tunnel has, and
//! kube-proxy translates what goes to a Service.
//!
//! What leaves this node for another node's tunnel is dropped here: after
//! masquerading, the other node cannot tell that a pod sent it. Tunnels that pods
//! end among themselves are not hit.
//!
//! This node knows some addresses of the others, but maybe not all. So `masqueraded` asks
//! after masquerading whether it is a pod's packet that now comes from this node.
//!
//! Masquerading keeps a port if it can. A pod's flow from 8472 to a port of another
//! node then has this node's end of the tunnel: what the other node sends into the
//! tunnel from that port would be the flow's answers, and go to the pod. Flows to this
//! node itself are not masqueraded, so the input hook need not ask. `masqueraded` asks
//! again, for masquerading that chooses another port.

use policy::{Tunnel, TunnelSources};
use ruleset::{
    AddressTest, BaseChain, Chain, Comment, Family, Field, Hook, InterfaceField, Match, Name,
    PortRange, Rule, Set, SetType, Transport, Verdict,
};

use super::binding::{from_owned, interface, interfaces, to_own};
use super::{Network, plain};
use crate::names::constant;

/// `filter - 1`, as on the forward hook.
const PRIORITY: i32 = -1;

/// After masquerading, at `NF_IP_PRI_NAT_SRC` 100 (linux/netfilter_ipv4.h).
const MASQUERADED_PRIORITY: i32 = 110;

/// The base chain of the input hook.
pub fn base_chain() -> Name {
    constant("input")
}

/// The base chain of the postrouting hook.
pub fn masqueraded_chain() -> Name {
    constant("masqueraded")
}

/// The set of the nodes' addresses.
pub fn nodes_set(family: Family) -> Name {
    constant(&format!("nodes{}", family.digit()))
}

/// The set of the addresses of bound pods, for flows. It leads to another chain and does
/// not drop, so that an address is there before its interface may say it.
pub fn openers_set(family: Family) -> Name {
    constant(&format!("openers{}", family.digit()))
}

/// The set of interfaces behind which there are only pods.
pub fn podside_set() -> Name {
    constant("podside")
}

/// The sets, empty.
pub(super) fn sets() -> Vec<(Name, Set)> {
    let nodes = Family::BOTH.map(|family| {
        let comment = Comment::new("nodes");
        (nodes_set(family), Set::new(SetType::Address(family), Some(comment)))
    });
    let comment = Comment::new("interfaces behind which there are only pods");
    let podside = (podside_set(), Set::new(interfaces(), Some(comment)));
    nodes.into_iter().chain([podside]).collect()
}

/// The chains.
pub(super) fn chains(network: &Network) -> Vec<(Name, Chain)> {
    let base = Some(BaseChain::new(Hook::Input, PRIORITY));
    let by_sources = |(tunnel, sources): (&Tunnel, &TunnelSources)| {
        let chain = match sources {
            TunnelSources::Nodes => tunnelled(),
            TunnelSources::Any => tunnelled_any(),
        };
        Rule::new([to_tunnel(*tunnel)], Verdict::Goto(chain))
    };
    let input = network.tunnels.iter().map(by_sources).collect();
    let tunnels = || network.tunnels.keys().copied();
    let carried =
        tunnels().map(|tunnel| Rule::new([to_tunnel(tunnel), Match::CtTranslated], Verdict::Drop));
    let others = tunnels().map(|tunnel| Rule::new([to_tunnel(tunnel)], Verdict::Drop));
    let from_nodes = Family::BOTH.map(|family| from_node(family, Verdict::Return));
    let from_tunnels =
        tunnels().filter_map(from_tunnel).map(|condition| Rule::new([condition], Verdict::Drop));
    let forwarded = carried.chain(from_nodes).chain(others).chain(from_tunnels).collect();
    vec![
        (base_chain(), Chain { base, comment: None, rules: input }),
        (tunnelled(), plain(Some("into a tunnel between nodes"), from_nodes_only(network))),
        (tunnelled_any(), plain(Some("into another tunnel of this node"), not_from_pods(network))),
        (tunnels_chain(), plain(Some("to a node: not into its tunnels"), forwarded)),
    ]
}

/// The chains of the postrouting hook, while a pod is bound.
pub(super) fn after_masquerading(network: &Network) -> Vec<(Name, Chain)> {
    let base = Some(BaseChain::new(Hook::Postrouting, MASQUERADED_PRIORITY));
    let [to, from] = ["masqueraded.to", "masqueraded.from"].map(constant);
    let tunnels = || network.tunnels.keys().copied();
    let into = tunnels().map(|tunnel| Rule::new([to_tunnel(tunnel)], Verdict::Goto(to.clone())));
    let shadows = tunnels().filter_map(from_tunnel);
    let shadows = shadows.map(|condition| Rule::new([condition], Verdict::Goto(from.clone())));
    let rules = into.chain(shadows).collect();
    let by_pod = |then: &Name| -> Vec<Rule> {
        let opener = |family| Match::FlowOpener(family, openers_set(family));
        Family::BOTH.map(|family| Rule::new([opener(family)], Verdict::Goto(then.clone()))).into()
    };
    let answers = Family::BOTH.map(|family| Rule::new([to_own(family)], Verdict::Accept));
    let hidden = Family::BOTH.map(|family| from_node(family, Verdict::Drop));
    let to_nodes = Family::BOTH.map(|family| {
        let ends = [Field::Source, Field::Destination].map(|field| is_node(field, family));
        Rule::new(ends, Verdict::Drop)
    });
    let into_tunnel = answers.into_iter().chain(hidden).collect();
    let [to_pods, from_pods] = ["masqueraded.to.pod", "masqueraded.from.pod"].map(constant);
    vec![
        (masqueraded_chain(), Chain { base, comment: None, rules }),
        (to, plain(Some("to a tunnel"), by_pod(&to_pods))),
        (to_pods, plain(Some("a pod opened it: not as a node"), into_tunnel)),
        (from, plain(Some("from a tunnel's port"), by_pod(&from_pods))),
        (from_pods, plain(Some("a pod opened it: not as a node, to a node"), to_nodes.into())),
    ]
}

/// The sets that these chains alone ask.
pub(super) fn openers() -> Vec<(Name, Set)> {
    let set = |family| {
        let comment = Comment::new("addresses that are bound, as who opens a flow");
        (openers_set(family), Set::new(SetType::Address(family), Some(comment)))
    };
    Family::BOTH.map(set).into()
}

/// What reaches a tunnel whose other ends are nodes.
fn from_nodes_only(network: &Network) -> Vec<Rule> {
    let known = &network.known_nodes;
    let nodes = known.iter().map(|family| from_node(*family, Verdict::Accept));
    let mut rules: Vec<Rule> = [no_pod(), no_service()].into_iter().chain(nodes).collect();
    if known.len() == Family::BOTH.len() {
        rules.push(Rule::new([], Verdict::Drop));
        return rules;
    }
    rules.extend(known.iter().map(|family| Rule::new([Match::Family(*family)], Verdict::Drop)));
    rules.push(Rule::new([], Verdict::Goto(tunnelled_any())));
    rules
}

/// What reaches a tunnel whose other ends can be anywhere.
fn not_from_pods(network: &Network) -> Vec<Rule> {
    let owned = Family::BOTH.map(from_owned).into_iter().filter(|_| network.is_bound);
    let owned = owned.map(|condition| Rule::new([condition], Verdict::Drop));
    [no_pod(), no_service()].into_iter().chain(owned).collect()
}

/// First: a port that is bound to no pod may say that it is a node.
fn no_pod() -> Rule {
    Rule::new([interface(InterfaceField::In, podside_set())], Verdict::Drop)
}

fn no_service() -> Rule {
    Rule::new([Match::CtTranslated], Verdict::Drop)
}

/// Sends packets to nodes to the check for tunnels.
pub(super) fn to_node_rule(family: Family) -> Rule {
    Rule::new([is_node(Field::Destination, family)], Verdict::Jump(tunnels_chain()))
}

/// Sends packets to nodes to a chain, of both families.
pub(super) fn to_nodes(chain: &Name) -> [Rule; 2] {
    Family::BOTH.map(|family| {
        Rule::new([is_node(Field::Destination, family)], Verdict::Jump(chain.clone()))
    })
}

/// Drops what goes to any tunnel.
pub(super) fn into_any(network: &Network) -> Vec<Rule> {
    network.tunnels.keys().map(|tunnel| Rule::new([to_tunnel(*tunnel)], Verdict::Drop)).collect()
}

fn to_tunnel(tunnel: Tunnel) -> Match {
    match tunnel {
        Tunnel::Udp(port) => Match::Port(Transport::Udp, PortRange(port, port)),
        Tunnel::Protocol(number) => Match::Protocol(number),
    }
}

/// From the port of a tunnel that has one.
fn from_tunnel(tunnel: Tunnel) -> Option<Match> {
    match tunnel {
        Tunnel::Udp(port) => Some(Match::SourcePort(Transport::Udp, port)),
        Tunnel::Protocol(_) => None,
    }
}

fn from_node(family: Family, verdict: Verdict) -> Rule {
    Rule::new([is_node(Field::Source, family)], verdict)
}

fn is_node(field: Field, family: Family) -> Match {
    Match::Address(field, AddressTest::Set(family, nodes_set(family)))
}

fn tunnelled() -> Name {
    constant("tunnelled")
}

/// The same for a tunnel whose other ends can be anywhere.
pub fn tunnelled_any() -> Name {
    constant("tunnelled.any")
}

fn tunnels_chain() -> Name {
    constant("tunnels")
}
