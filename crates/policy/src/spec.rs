//! The specification: may this packet pass?
//!
//! In: a [`Snapshot`] and a [`Packet`] that opens a flow, with the addresses
//! that the forward hook sees (after DNAT, before this node's SNAT).
//! Out: a [`Decision`], egress and ingress apart, with the rules that allow.
//! Never: speed. This is the plain text of the API documentation
//! (`networking.k8s.io/v1` reference; concept page "Network Policies").
//! Everything else is compared with it.
//!
//! The policies hold only if addresses do: [`binding`] says who may use which.

pub mod binding;
pub mod frame;
pub mod refusal;

use std::net::IpAddr;

use crate::{
    Direction, NetworkPolicy, ObjectKey, Owners, Peer, Peers, Pod, Port, PortNumbers, Ports,
    Protocol, Rule, Snapshot,
};

/// The first packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol and destination port.
    pub transport: ProtocolPort,
}

/// Protocol and, where the API knows ports, the destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProtocolPort {
    /// TCP, UDP or SCTP to a port.
    Port(Protocol, u16),
    /// Any other protocol, by its number in the IP header.
    Other(u8),
}

/// The verdicts of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// By the policies of the source pod.
    pub egress: Side,
    /// By the policies of the destination pod.
    pub ingress: Side,
}

/// The verdict of one side's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// No policy of this direction selects the pod, or there is no pod.
    NotIsolated,
    /// Policies do not apply: a pod and itself, a pod and its own node.
    Exempt,
    /// Allowed by each of these rules.
    Allowed(Vec<RuleRef>),
    /// Isolated by these policies, and no rule of theirs allows it.
    Denied(Vec<ObjectKey>),
}

/// A rule by its place: `spec.<direction>[index]` of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef {
    /// The policy.
    pub policy: ObjectKey,
    /// The index in its `ingress` or `egress` list.
    pub index: usize,
}

impl Decision {
    /// Whether the packet may pass: both sides must agree.
    pub fn passes(&self) -> bool {
        self.egress.passes() && self.ingress.passes()
    }
}

impl Side {
    /// Whether this side lets the packet pass.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Denied(_))
    }
}

/// Judges a packet. See [`decide_with`] for many packets of one snapshot.
pub fn decide(snapshot: &Snapshot, packet: &Packet) -> Decision {
    decide_with(snapshot, &owners(snapshot), packet)
}

/// The owners of all pod addresses of a snapshot.
pub fn owners(snapshot: &Snapshot) -> Owners<'_> {
    Owners::of(snapshot.pods.values().map(|pod| &**pod))
}

/// Judges a packet, with the owners worked out before.
pub fn decide_with(snapshot: &Snapshot, owners: &Owners<'_>, packet: &Packet) -> Decision {
    let source = owners.owner(packet.source);
    let destination = owners.owner(packet.destination);
    let view = View { snapshot, packet, source, destination };
    Decision { egress: view.side(Direction::Egress), ingress: view.side(Direction::Ingress) }
}

struct View<'a> {
    snapshot: &'a Snapshot,
    packet: &'a Packet,
    source: Option<&'a Pod>,
    destination: Option<&'a Pod>,
}

impl View<'_> {
    fn side(&self, direction: Direction) -> Side {
        let (pod, peer_address, peer) = match direction {
            Direction::Egress => (self.source, self.packet.destination, self.destination),
            Direction::Ingress => (self.destination, self.packet.source, self.source),
        };
        let Some(pod) = pod else { return Side::NotIsolated };
        let isolating: Vec<(&NetworkPolicy, &[Rule])> = self
            .snapshot
            .policies
            .values()
            .filter(|policy| self.snapshot.selects(policy, pod))
            .filter_map(|policy| Some((&**policy, policy.rules(direction)?)))
            .collect();
        if isolating.is_empty() {
            return Side::NotIsolated;
        }
        // "A pod cannot block access to itself"; "traffic to and from the
        // node where a Pod is running is always allowed" (concept page).
        let itself = peer.is_some_and(|peer| peer.key == pod.key);
        let own_node = peer.is_none() && pod.host_addresses.contains(&peer_address);
        if itself || own_node {
            return Side::Exempt;
        }
        let allowing: Vec<RuleRef> = isolating
            .iter()
            .flat_map(|&(policy, rules)| {
                rules
                    .iter()
                    .enumerate()
                    .filter(move |(_, rule)| {
                        self.peers_match(&rule.peers, policy, peer_address, peer)
                            && self.ports_match(&rule.ports)
                    })
                    .map(move |(index, _)| RuleRef { policy: policy.key.clone(), index })
            })
            .collect();
        if allowing.is_empty() {
            Side::Denied(isolating.iter().map(|(policy, _)| policy.key.clone()).collect())
        } else {
            Side::Allowed(allowing)
        }
    }

    fn peers_match(
        &self,
        peers: &Peers,
        policy: &NetworkPolicy,
        address: IpAddr,
        pod: Option<&Pod>,
    ) -> bool {
        match peers {
            Peers::Anyone => true,
            Peers::Only(list) => list.iter().any(|peer| match peer {
                Peer::IpBlock(block) => block.contains(address),
                Peer::Pods(selected) => pod.is_some_and(|pod| {
                    self.snapshot.peer_selects(selected, &policy.key.namespace, pod)
                }),
            }),
        }
    }

    fn ports_match(&self, ports: &Ports) -> bool {
        match ports {
            Ports::All => true,
            Ports::Only(list) => list.iter().any(|port| self.port_matches(port)),
        }
    }

    fn port_matches(&self, port: &Port) -> bool {
        let ProtocolPort::Port(protocol, number) = self.packet.transport else { return false };
        protocol == port.protocol
            && match &port.numbers {
                PortNumbers::All => true,
                PortNumbers::Range(first, last) => (*first..=*last).contains(&number),
                // Named ports are the destination pod's, in both directions.
                PortNumbers::Named(name) => self
                    .destination
                    .is_some_and(|pod| pod.named_ports(name, protocol).contains(&number)),
            }
    }
}

#[cfg(test)]
mod tests;
