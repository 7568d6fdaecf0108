//! What IPVS forwards, on the output hook.
//!
//! In: what the node's network asks for. Out: a base chain that judges as the one of the
//! forward hook does, while the node has IPVS.
//! Never: a packet that the forward hook has judged, or will.
//!
//! ```text
//! ipvs -+- established -> accept
//!       +- from an address of the node, or before it has one -> accept
//!       +- to a node -> ipvs.tunnels - to a tunnel -> drop                    (only while the node has tunnels)
//!       +- the rest of the chain `forward`: the same rules, chains, sets and maps
//! ```
//!
//! | hook | priority | what IPVS has there (`ip_vs_ops4`, `ip_vs_ops6`, net/netfilter/ipvs/ip_vs_core.c, 6.1) |
//! |---|---|---|
//! | input | 98, 99 | `ip_vs_out_hook`, `ip_vs_in_hook`: `NF_IP_PRI_NAT_SRC` - 2 and - 1 |
//! | output | -99, -98 | the same for what the node itself sends: `NF_IP_PRI_NAT_DST` + 1 and + 2 |
//! | forward | 99, 100 | `ip_vs_forward_icmp`, `ip_vs_out_hook`: answers get the Service's address |
//!
//! They are there from the first service of a network namespace and family on
//! (`ip_vs_register_hooks`; Linux 5.8).
//!
//! IPVS takes a packet to a Service at the input hook, gives it a pod's address and sends it
//! from the output hook, all of whose chains it meets (`ip_vs_nat_send_or_cont`,
//! net/netfilter/ipvs/ip_vs_xmit.c). Its source is still the client's: masquerading comes
//! after. So both ends are known here, as they are on the forward hook after kube-proxy's
//! translation, and the packet meets only one of the two hooks. The answers cross the
//! forward hook before IPVS changes them, and are of an established flow there: IPVS tells
//! connection tracking of the pod's address (`ip_vs_update_conntrack`) while
//! `net.ipv4.vs.conntrack` is 1.
//!
//! By direct routing and through tunnels (`ip_vs_send_or_cont`, `ip_vs_tunnel_xmit`) the
//! packet keeps the Service's address, or leaves within one of the node's own. Here nothing
//! tells whose pod it goes to. The agent names such ends.
//!
//! What the node itself sends is from an address of its own, a Service's included, since
//! that is on an interface of the node. No pod speaks with one: it has its own addresses
//! alone, and the kernel takes none of the node's from elsewhere in IPv4
//! (`fib_validate_source`). A node that has no address yet sends from 0.0.0.0. Nothing is
//! forwarded from there (`ip_route_input_slow`, net/ipv4/route.c). In IPv6 only what goes
//! to groups is certain to be the node's own.
//!
//! IPVS does not mark a packet as translated, but all that it sends is. So a Service leads
//! into no tunnel here, whoever asked for it.

use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Field, Hook, Match, Name, Rule, Verdict,
};

use super::addresses::{multicast6, unspecified4, unspecified6};
use super::{Network, forward, plain, tunnels};
use crate::Place;
use crate::names::constant;

/// The base chain of the output hook.
pub fn base_chain() -> Name {
    constant("ipvs")
}

/// The chains.
pub(super) fn chains(place: &Place, network: &Network) -> Vec<(Name, Chain)> {
    let base = Some(BaseChain::new(Hook::Output, place.base.priority));
    let mut rules = vec![forward::established()];
    rules.extend(of_node());
    let has_tunnels = !network.tunnels.is_empty();
    if has_tunnels {
        rules.extend(tunnels::to_nodes(&tunnels_chain()));
    }
    rules.extend(forward::judging(network));
    let mut chains = vec![(base_chain(), Chain { base, comment: None, rules })];
    if has_tunnels {
        let into = tunnels::into_any(network);
        let comment = Some("a Service leads to a node: not into its tunnels");
        chains.push((tunnels_chain(), plain(comment, into)));
    }
    chains
}

/// All names that [`chains`] can have.
pub(super) fn all_chains() -> [Name; 2] {
    [base_chain(), tunnels_chain()]
}

fn of_node() -> [Rule; 3] {
    let is = |field, range: AddressRange| Match::Address(field, AddressTest::In(range));
    let from = |range| is(Field::Source, range);
    [
        Rule::new([Match::SourceIsLocal], Verdict::Accept).commented("what the node itself sends"),
        Rule::new([from(unspecified4())], Verdict::Accept),
        Rule::new([from(unspecified6()), is(Field::Destination, multicast6())], Verdict::Accept),
    ]
}

fn tunnels_chain() -> Name {
    constant("ipvs.tunnels")
}
