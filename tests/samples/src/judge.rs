//! What one node must do with a packet, according to the specification.
//!
//! Returns the decision for the node's own pods in each direction, and the packet
//! as rules see it. Never: looks at a ruleset.

use std::net::IpAddr;

use policy::spec::{self, Decision};
use policy::{NodeNetwork, Owners, Protocol, Snapshot};
use ruleset::simulator;

/// RFC 4861, 4.3.
const NEIGHBOUR_SOLICITATION: u8 = 135;

/// A packet as rules see it: of a new flow, to one host.
pub fn on_the_wire(packet: &spec::Packet) -> simulator::Packet {
    match packet.transport {
        // Not from this link, because the hop limit is lower. So it is no neighbour
        // discovery.
        spec::ProtocolPort::Other(protocol) => simulator::Packet {
            icmpv6_type: (protocol == simulator::Packet::ICMPV6).then_some(NEIGHBOUR_SOLICITATION),
            ..simulator::Packet::new(packet.source, packet.destination, protocol)
        },
        spec::ProtocolPort::Port(protocol, port) => simulator::Packet {
            destination_port: Some(port),
            ..simulator::Packet::new(packet.source, packet.destination, protocol.number())
        },
    }
}

/// A packet as rules see it, in the specification's words.
pub fn in_the_specification(packet: &simulator::Packet) -> spec::Packet {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = protocols.into_iter().find(|one| one.number() == packet.protocol);
    let transport = match (protocol, packet.destination_port) {
        (Some(protocol), Some(port)) => spec::ProtocolPort::Port(protocol, port),
        _ => spec::ProtocolPort::Other(packet.protocol),
    };
    spec::Packet { source: packet.source, destination: packet.destination, transport }
}

/// The decisions of one node about a packet that it forwards: egress of its own
/// pods, ingress of its own pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeVerdict {
    /// Whether the source may send it.
    pub egress: bool,
    /// Whether the destination may receive it.
    pub ingress: bool,
}

impl NodeVerdict {
    /// The decision by the specification. Without a node, every pod counts as its
    /// own.
    pub fn of(
        snapshot: &Snapshot,
        owners: &Owners<'_>,
        node: Option<&str>,
        packet: &spec::Packet,
    ) -> Self {
        let Decision { egress, ingress } = spec::decide_with(snapshot, owners, node, packet);
        Self { egress: egress.passes(), ingress: ingress.passes() }
    }

    /// The same on a node that may drop what no object names: see
    /// [`policy::UnknownPods`].
    pub fn on(
        network: &NodeNetwork,
        snapshot: &Snapshot,
        owners: &Owners<'_>,
        node: Option<&str>,
        packet: &spec::Packet,
    ) -> Self {
        let by_policies = Self::of(snapshot, owners, node, packet);
        let passes = |address| !spec::is_unknown(snapshot, network, address);
        Self {
            egress: by_policies.egress && passes(packet.source),
            ingress: by_policies.ingress && passes(packet.destination),
        }
    }

    /// Whether both directions let it pass.
    pub fn passes(self) -> bool {
        self.egress && self.ingress
    }
}

/// Packets from or to the node itself cross its output and input hooks, never
/// the forward hook.
pub fn is_forwarded(node_address: &str, packet: &spec::Packet) -> bool {
    let own = |address: IpAddr| address.to_string() == node_address;
    !own(packet.source) && !own(packet.destination)
}
