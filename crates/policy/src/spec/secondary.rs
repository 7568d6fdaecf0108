//! The specification of MultiNetworkPolicy: may this packet pass a pod's interface on a
//! network that is not its primary one?
//!
//! In: the objects of a cluster, a network, a pod, a packet that opens a flow. Out: whether
//! the pod's policies for that network let it pass.
//! Never: the way of [`crate::secondary`], with which this is compared; speed.
//!
//! The objects say what those of NetworkPolicy say, with these differences (README and
//! CustomResourceDefinition of k8snetworkplumbingwg/multi-networkpolicy at 2023-03-02; what
//! they leave open is as in multi-networkpolicy-iptables at 2025-12-02):
//!
//! * A policy holds on the networks that its annotation `policy-for` names, each by itself:
//!   a pod that is isolated on one of them is not isolated on others.
//! * A pod that a peer selects is meant by the addresses that it has on any of these
//!   networks, as its annotation `network-status` reports them.
//! * No node is excepted: nothing of kubelet's comes by such a network, and its address can
//!   be forged there.
//!
//! An address means one pod: of those on this network the oldest, else of those on other
//! networks. A new flow from or to an address that an isolated pod does not report there is
//! denied, as in [`super::inside`].

use std::cmp::Reverse;
use std::net::IpAddr;

use super::{Packet, ProtocolPort};
use crate::secondary::networks_of;
use crate::{
    Direction, Mode, MultiNetworkPolicy, ObjectKey, Peer, Peers, Pod, PolicyFor, PortNumbers,
    Ports, Rule, Snapshot,
};

/// Judges a packet at a pod's interface on a network: what comes in is to the pod, and what
/// goes out is from it.
pub fn passes(
    cluster: &Snapshot,
    network: &ObjectKey,
    pod: &Pod,
    direction: Direction,
    packet: &Packet,
) -> bool {
    let (own, peer) = match direction {
        Direction::Egress => (packet.source, packet.destination),
        Direction::Ingress => (packet.destination, packet.source),
    };
    let policies = cluster.multi_policies.values().map(|policy| &**policy);
    let isolating: Vec<&MultiNetworkPolicy> = policies
        .filter(|one| one.networks.holds_on(network) && one.policy.audit.mode == Mode::Enforce)
        .filter(|one| cluster.selects(&one.policy, pod) && one.policy.rules(direction).is_some())
        .collect();
    if isolating.is_empty() || !networks_of(pod).contains(network) {
        return true;
    }
    let own_addresses = addresses(pod, network);
    if !own_addresses.contains(&own) {
        return false;
    }
    // A name of a port is looked up on the destination.
    let named = match direction {
        Direction::Ingress => Some(pod),
        Direction::Egress => owner(cluster, network, peer).map(|(pod, _)| pod),
    };
    isolating.iter().any(|one| {
        let rules = one.policy.rules(direction).unwrap_or_default();
        rules.iter().any(|rule| {
            matches_peer(cluster, network, one, rule, peer) && matches_port(rule, packet, named)
        })
    })
}

fn addresses(pod: &Pod, network: &ObjectKey) -> Vec<IpAddr> {
    let of_network = pod.attachment.networks.iter();
    let of_network =
        of_network.filter(|one| one.definition(&pod.key.namespace).as_ref() == Some(network));
    of_network.flat_map(|one| one.addresses.iter().map(IpAddr::to_canonical)).collect()
}

/// The pod that an address means, seen from a network, and the network on which it has it.
fn owner<'a>(
    cluster: &'a Snapshot,
    here: &ObjectKey,
    address: IpAddr,
) -> Option<(&'a Pod, ObjectKey)> {
    let pods = cluster.pods.values().map(|pod| &**pod).filter(|pod| pod.is_subject());
    let all = pods.flat_map(|pod| networks_of(pod).into_iter().map(move |network| (pod, network)));
    let having = all.filter(|(pod, network)| addresses(pod, network).contains(&address));
    having.max_by_key(|(pod, network)| {
        // Pods of one second on other networks: the order of their names, and of networks.
        let name = match network == here {
            true => pod.key.name.clone(),
            false => format!("{} on {network}", pod.key.name),
        };
        (network == here, Reverse(pod.created.max(0)), pod.key.namespace.clone(), name)
    })
}

fn matches_peer(
    cluster: &Snapshot,
    here: &ObjectKey,
    policy: &MultiNetworkPolicy,
    rule: &Rule,
    peer: IpAddr,
) -> bool {
    let Peers::Only(peers) = &rule.peers else { return true };
    peers.iter().any(|one| match one {
        Peer::IpBlock(block) => block.contains(peer),
        Peer::Pods(pods) => owner(cluster, here, peer).is_some_and(|(pod, network)| {
            let is_named = match &policy.networks {
                PolicyFor::Networks(networks) => networks.contains(&network),
                PolicyFor::Unreadable => network == *here,
            };
            is_named && cluster.peer_selects(pods, &policy.policy.key.namespace, pod)
        }),
    })
}

fn matches_port(rule: &Rule, packet: &Packet, named: Option<&Pod>) -> bool {
    let Ports::Only(ports) = &rule.ports else { return true };
    let ProtocolPort::Port(protocol, number) = packet.transport else { return false };
    ports.iter().filter(|port| port.protocol == protocol).any(|port| match &port.numbers {
        PortNumbers::All => true,
        PortNumbers::Range(first, last) => (*first..=*last).contains(&number),
        PortNumbers::Named(name) => {
            named.is_some_and(|pod| pod.named_ports(name, protocol).contains(&number))
        }
    })
}
