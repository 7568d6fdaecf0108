//! The nodes' tunnels, into which no pod may send.
//!
//! In: what the node unwraps, and whether the nodes' addresses are known. Out: the
//! chains and sets for that.
//!
//! ```text
//! input -- to a tunnel of this node -> tunnelled -+- from a node -> accept
//!                                                 +- drop
//!          (while the nodes are unknown, or others may send:
//!                                                 +- from a pod's interface -> drop)
//!
//! forward, six -- to a node -> tunnels -+- from a node -> return
//!                                       +- to a tunnel -> drop
//! ```
//!
//! What leaves this node for another node's tunnel is dropped here: after
//! masquerading, the other node cannot tell that a pod sent it. Tunnels that pods
//! end among themselves are not hit.

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
    let rules = |verdict: Verdict| {
        let rule = move |tunnel| Rule::new([to_tunnel(tunnel)], verdict.clone());
        network.tunnels.iter().copied().map(rule)
    };
    let base = Some(BaseChain::new(Hook::Input, PRIORITY));
    let input = rules(Verdict::Goto(tunnelled())).collect();
    let from_nodes = |verdict: Verdict| {
        Family::BOTH.map(|family| Rule::new([is_node(Field::Source, family)], verdict.clone()))
    };
    let forwarded = from_nodes(Verdict::Return).into_iter().chain(rules(Verdict::Drop)).collect();
    let arriving = match network.only_nodes {
        true => {
            let rest = Rule::new([], Verdict::Drop);
            from_nodes(Verdict::Accept).into_iter().chain([rest]).collect()
        }
        false => {
            vec![Rule::new([interface(InterfaceField::In, podside_set())], Verdict::Drop)]
        }
    };
    vec![
        (base_chain(), Chain { base, comment: None, rules: input }),
        (tunnelled(), plain(Some("into a tunnel of this node"), arriving)),
        (tunnels_chain(), plain(Some("to a node: not into its tunnels"), forwarded)),
    ]
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

fn is_node(field: Field, family: Family) -> Match {
    Match::Address(field, AddressTest::Set(family, nodes_set(family)))
}

fn tunnelled() -> Name {
    constant("tunnelled")
}

fn tunnels_chain() -> Name {
    constant("tunnels")
}
