//! The specification: may this packet pass?
//!
//! In: a [`Snapshot`] and a [`Packet`] that opens a flow, with the addresses
//! that the forward hook sees (after DNAT, before this node's SNAT).
//! Out: a [`Decision`], egress and ingress apart, with the rules that allow.
//! Never: speed. This is the plain text of the API documentation
//! (`networking.k8s.io/v1` reference; concept page "Network Policies").
//! Everything else is compared with it.
//!
//! Policies in audit count as absent. [`audit_with`] says what they would deny.
//!
//! The policies hold only if addresses do: [`binding`] says who may use which. What
//! happens before an object names a pod's address is another question: [`is_unknown`].
//! Networks beside the pods' primary one: [`secondary`].
//! [`edges`] has what no policy names: multicast, broadcast, link-local addresses.

pub mod binding;
pub mod edges;
pub mod frame;
pub mod inside;
pub mod refusal;
pub mod secondary;

use std::net::IpAddr;

use crate::{
    Direction, Isolation, Mode, NetworkPolicy, NodeNetwork, ObjectKey, Owners, Peer, Peers, Pod,
    Port, PortNumbers, Ports, Protocol, Snapshot, Subject, audited, isolation, subjects,
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
    /// Nothing is allowed, whatever the rules of these policies say: pods of this node
    /// that differ report one address, or the address is kept without its pod's labels.
    Shut(Vec<ObjectKey>),
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
        !matches!(self, Self::Denied(_) | Self::Shut(_))
    }
}

/// Judges a packet, as if all pods were of one node. See [`decide_with`] for many
/// packets of one snapshot.
pub fn decide(snapshot: &Snapshot, packet: &Packet) -> Decision {
    decide_with(snapshot, &owners(snapshot), None, packet)
}

/// The owners of all pod addresses of a snapshot.
pub fn owners(snapshot: &Snapshot) -> Owners<'_> {
    Owners::of(snapshot.pods.values().map(|pod| &**pod))
}

/// Judges a packet as a node does: by the policies of its own pods. With `None`, all
/// pods are its own. The owners are worked out before.
pub fn decide_with(
    snapshot: &Snapshot,
    owners: &Owners<'_>,
    node: Option<&str>,
    packet: &Packet,
) -> Decision {
    decide_in(Mode::Enforce, snapshot, owners, node, packet)
}

/// What policies in audit would say to a packet, as [`decide_with`]. Nothing that it denies
/// is dropped: it is told of each side that denies a packet which passes. A side is
/// [`Side::NotIsolated`] where nothing is audited, as where an enforced policy isolates (see
/// [`audited`]).
pub fn audit_with(
    snapshot: &Snapshot,
    owners: &Owners<'_>,
    node: Option<&str>,
    packet: &Packet,
) -> Decision {
    decide_in(Mode::Audit, snapshot, owners, node, packet)
}

fn decide_in(
    mode: Mode,
    snapshot: &Snapshot,
    owners: &Owners<'_>,
    node: Option<&str>,
    packet: &Packet,
) -> Decision {
    let view = View { snapshot, owners, node, packet, mode };
    Decision { egress: view.side(Direction::Egress), ingress: view.side(Direction::Ingress) }
}

/// Whether a node drops new flows from and to an address because no object names it. See
/// [`crate::UnknownPods`].
pub fn is_unknown(snapshot: &Snapshot, network: &NodeNetwork, address: IpAddr) -> bool {
    let is_shut = network.shut_ranges(snapshot).iter().any(|range| range.contains(address));
    let names = |pod: &Pod| {
        let own = pod.is_subject() && pod.addresses.contains(&address);
        own || pod.host_addresses.contains(&address)
    };
    is_shut
        && !snapshot.kept.contains_key(&address)
        && !snapshot.pods.values().any(|pod| names(pod))
}

struct View<'a> {
    snapshot: &'a Snapshot,
    owners: &'a Owners<'a>,
    node: Option<&'a str>,
    packet: &'a Packet,
    mode: Mode,
}

/// What a rule is asked about.
#[derive(Clone, Copy)]
struct Question<'a> {
    peer_address: IpAddr,
    /// The pod whose peer address it is.
    peer: Option<&'a Pod>,
    /// The pod whose port names count: the destination, in both directions.
    destination: Option<&'a Pod>,
}

impl View<'_> {
    fn side(&self, direction: Direction) -> Side {
        let Packet { source, destination, .. } = *self.packet;
        let (address, peer_address) = match direction {
            Direction::Egress => (source, destination),
            Direction::Ingress => (destination, source),
        };
        let subjects = subjects(self.snapshot, self.node, address);
        let peer = self.owners.owner(peer_address);
        // "A pod cannot block access to itself"; "traffic to and from the
        // node where a Pod is running is always allowed" (concept page).
        let itself = address == peer_address;
        let of_node = |subject: &Subject<'_>| subject.pod.host_addresses.contains(&peer_address);
        let is_exempt = itself || (peer.is_none() && subjects.iter().any(of_node));
        self.of_subjects(direction, &subjects, peer_address, is_exempt)
    }

    /// The verdict of the policies of these pods.
    fn of_subjects(
        &self,
        direction: Direction,
        subjects: &[Subject<'_>],
        peer_address: IpAddr,
        is_exempt: bool,
    ) -> Side {
        let isolation = match self.mode {
            Mode::Enforce => isolation(self.snapshot, subjects, direction),
            Mode::Audit => audited(self.snapshot, subjects, direction),
        };
        if isolation == Isolation::None {
            return Side::NotIsolated;
        }
        if is_exempt {
            return Side::Exempt;
        }
        let peer = self.owners.owner(peer_address);
        let keys =
            |policies: &[&NetworkPolicy]| policies.iter().map(|one| one.key.clone()).collect();
        let (pod, isolating) = match &isolation {
            Isolation::None => return Side::NotIsolated,
            Isolation::Shut(policies) => return Side::Shut(keys(policies)),
            Isolation::By(pod, policies) => (*pod, policies),
        };
        let named = match direction {
            Direction::Egress => peer,
            Direction::Ingress => Some(pod),
        };
        let question = Question { peer_address, peer, destination: named };
        let allowing: Vec<RuleRef> = isolating
            .iter()
            .flat_map(|&policy| {
                let rules = policy.rules(direction).unwrap_or_default().iter().enumerate();
                rules
                    .filter(move |(_, rule)| {
                        self.peers_match(&rule.peers, policy, question)
                            && self.ports_match(&rule.ports, question)
                    })
                    .map(move |(index, _)| RuleRef { policy: policy.key.clone(), index })
            })
            .collect();
        match allowing.is_empty() {
            true => Side::Denied(keys(isolating)),
            false => Side::Allowed(allowing),
        }
    }

    fn peers_match(&self, peers: &Peers, policy: &NetworkPolicy, question: Question<'_>) -> bool {
        match peers {
            Peers::Anyone => true,
            Peers::Only(list) => list.iter().any(|peer| match peer {
                Peer::IpBlock(block) => block.contains(question.peer_address),
                Peer::Pods(selected) => question.peer.is_some_and(|pod| {
                    self.snapshot.peer_selects(selected, &policy.key.namespace, pod)
                }),
            }),
        }
    }

    fn ports_match(&self, ports: &Ports, question: Question<'_>) -> bool {
        match ports {
            Ports::All => true,
            Ports::Only(list) => list.iter().any(|port| self.port_matches(port, question)),
        }
    }

    fn port_matches(&self, port: &Port, question: Question<'_>) -> bool {
        let ProtocolPort::Port(protocol, number) = self.packet.transport else { return false };
        protocol == port.protocol
            && match &port.numbers {
                PortNumbers::All => true,
                PortNumbers::Range(first, last) => (*first..=*last).contains(&number),
                PortNumbers::Named(name) => question
                    .destination
                    .is_some_and(|pod| pod.named_ports(name, protocol).contains(&number)),
            }
    }
}

#[cfg(test)]
mod tests;
