//! The nodes' tunnels, into which no pod may send.
//!
//! In: what the node unwraps, and of which families the nodes' addresses are known.
//! Out: the chains and sets for that.
//!
//! ```text
//! input -- to a tunnel of this node -> tunnelled -+- from a pod's interface -> drop
//!                                                 +- a Service carried it -> drop
//!                                                 +- from a node -> accept
//!                                                 +- drop
//!          (of a family whose nodes are unknown, or while others may send, the first
//!          two alone)
//!
//! forward, six -- to a node -> tunnels -+- to a tunnel, a Service carried it -> drop
//!                                       +- from a node -> return
//!                                       +- to a tunnel -> drop
//!                                       +- from a tunnel's port -> drop
//! ```
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
//! Masquerading keeps a port if it can. A pod's flow from 8472 to a port of another
//! node then has this node's end of the tunnel: what the other node sends into the
//! tunnel from that port would be the flow's answers, and go to the pod. Flows to this
//! node itself are not masqueraded, so the input hook need not ask.

use std::collections::BTreeSet;

use policy::Tunnel;
use ruleset::{
    AddressTest, BaseChain, Chain, Comment, Family, Field, Hook, InterfaceField, Match, Name,
    PortTest, Rule, Set, SetType, Transport, Verdict,
};

use super::binding::{interface, interfaces};
use super::{Network, plain};
use crate::names::constant;

/// `filter - 1`, as on the forward hook.
const PRIORITY: i32 = -1;

/// The base chain of the input hook.
pub fn base_chain() -> Name {
    constant("input")
}

/// The set of the nodes' addresses.
pub fn nodes_set(family: Family) -> Name {
    constant(&format!("nodes{}", family.digit()))
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
    let to_each = |verdict: Verdict| {
        let rule = move |tunnel| Rule::new([to_tunnel(tunnel)], verdict.clone());
        network.tunnels.iter().copied().map(rule)
    };
    let base = Some(BaseChain::new(Hook::Input, PRIORITY));
    let input = to_each(Verdict::Goto(tunnelled())).collect();
    let carried = network
        .tunnels
        .iter()
        .copied()
        .map(|tunnel| Rule::new([to_tunnel(tunnel), Match::CtTranslated], Verdict::Drop));
    let from_nodes = Family::BOTH.map(|family| from_node(family, Verdict::Return));
    let from_tunnels = network.tunnels.iter().filter_map(|tunnel| match *tunnel {
        Tunnel::Udp(port) => Some(Match::SourcePort(Transport::Udp, port)),
        Tunnel::Protocol(_) => None,
    });
    let from_tunnels = from_tunnels.map(|condition| Rule::new([condition], Verdict::Drop));
    let forwarded = carried.chain(from_nodes).chain(to_each(Verdict::Drop));
    let forwarded = forwarded.chain(from_tunnels).collect();
    vec![
        (base_chain(), Chain { base, comment: None, rules: input }),
        (tunnelled(), plain(Some("into a tunnel of this node"), arriving(&network.only_nodes))),
        (tunnels_chain(), plain(Some("to a node: not into its tunnels"), forwarded)),
    ]
}

/// What reaches a tunnel of this node. `only_nodes`: the families of which only
/// nodes may send.
fn arriving(only_nodes: &BTreeSet<Family>) -> Vec<Rule> {
    // First: a port that is bound to no pod may say that it is a node.
    let from_pod = Rule::new([interface(InterfaceField::In, podside_set())], Verdict::Drop);
    let carried = Rule::new([Match::CtTranslated], Verdict::Drop);
    let nodes = only_nodes.iter().map(|family| from_node(*family, Verdict::Accept));
    let mut rules: Vec<Rule> = [from_pod, carried].into_iter().chain(nodes).collect();
    if only_nodes.len() == Family::BOTH.len() {
        rules.push(Rule::new([], Verdict::Drop));
        return rules;
    }
    rules
        .extend(only_nodes.iter().map(|family| Rule::new([Match::Family(*family)], Verdict::Drop)));
    rules
}

/// Sends packets to nodes to the check for tunnels.
pub(super) fn to_node_rule(family: Family) -> Rule {
    Rule::new([is_node(Field::Destination, family)], Verdict::Jump(tunnels_chain()))
}

fn to_tunnel(tunnel: Tunnel) -> Match {
    match tunnel {
        Tunnel::Udp(port) => Match::Port(Transport::Udp, PortTest::In(port, port)),
        Tunnel::Protocol(number) => Match::Protocol(number),
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

fn tunnels_chain() -> Name {
    constant("tunnels")
}
