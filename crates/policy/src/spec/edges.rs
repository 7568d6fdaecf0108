//! The specification of what is beside the pods' addresses: multicast and broadcast, by
//! address or by frame, and IPv6 link-local addresses.
//!
//! In: a snapshot, the node and its network, and one forwarded packet.
//! Out: whether it may pass.
//! Never: what policies say of it. No policy names such an address.
//!
//! An isolated pod has no part in it, but for neighbour and listener discovery. Whose a
//! packet is, its address tells where it comes from a pod. Where it goes to many, only the
//! port tells that it goes out by. So each port of an isolated pod is guarded: it takes
//! its pod's own addresses alone (rule D, [`super::binding`]). As long as that is not so
//! for one of them, this holds for all pods of the node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::binding::isolated_pods;
use super::frame::{Body, IpPacket};
use crate::{
    BoundPort, Direction, InterfaceIndex, Isolation, NodeNetwork, Snapshot, all_subjects, isolation,
};

/// For whom the edges are shut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// Nobody: no pod of the node is isolated.
    #[default]
    Open,
    /// The isolated pods, by their addresses and the guards of their ports. Link-local
    /// addresses are shut for all.
    Guarded,
    /// All pods of the node.
    Shut,
}

/// What passes at the edges of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtEdges {
    /// For whom they are shut.
    pub edges: Edges,
    /// The addresses that isolated pods send from.
    pub muted: BTreeSet<IpAddr>,
}

impl AtEdges {
    /// Of a node. With `None`, all pods are the node's.
    pub fn of(snapshot: &Snapshot, network: &NodeNetwork, node: Option<&str>) -> Self {
        let pods = isolated_pods(snapshot, node);
        if pods.is_empty() {
            return Self::default();
        }
        let isolated = isolated_addresses(snapshot, node);
        let ports = network.ports.iter().filter(|(_, port)| pods.contains(&port.pod));
        let guarded: Vec<&BoundPort> = ports
            .filter(|(index, _)| **index != InterfaceIndex::NOBODYS)
            .map(|(_, one)| one)
            .collect();
        let own: BTreeSet<IpAddr> =
            guarded.iter().flat_map(|port| port.addresses.iter().copied()).collect();
        let is_bridged = guarded.iter().any(|port| port.bridge.is_some());
        let is_guarded = !network.ports.is_empty()
            && isolated.is_subset(&own)
            && !(is_bridged && network.guards_pending);
        let link_local = own.into_iter().filter(is_link_local);
        Self {
            edges: if is_guarded { Edges::Guarded } else { Edges::Shut },
            muted: isolated.iter().copied().chain(link_local).collect(),
        }
    }

    /// Whether a node may forward a packet of a new flow. `None`: it is judged as any
    /// packet. `to_host`: whether its frame is for one host.
    pub fn judge(&self, packet: &IpPacket, to_host: bool) -> Option<bool> {
        let ends = [packet.source, packet.destination];
        let link_local = ends.iter().any(is_link_local);
        let to_many = is_group(packet.destination);
        let is_here = link_local || to_many || !to_host;
        if !is_here || self.edges == Edges::Open {
            return None;
        }
        let is_shut = match self.edges {
            Edges::Open => false,
            Edges::Guarded => self.muted.contains(&packet.source) || (link_local && !to_many),
            Edges::Shut => true,
        };
        if is_discovery(packet) { Some(true) } else { is_shut.then_some(false) }
    }
}

/// The addresses of a node that are isolated in any direction.
fn isolated_addresses(snapshot: &Snapshot, node: Option<&str>) -> BTreeSet<IpAddr> {
    let all = all_subjects(snapshot, node).into_iter();
    let isolated = all.filter(|(_, subjects)| {
        let by = |one| isolation(snapshot, subjects, one) != Isolation::None;
        Direction::BOTH.into_iter().any(by)
    });
    isolated.map(|(address, _)| address).collect()
}

/// Neighbour discovery that no router has passed on, and listener discovery.
fn is_discovery(packet: &IpPacket) -> bool {
    match packet.body {
        Body::Icmpv6(135 | 136, _) => packet.hop_limit == IpPacket::ON_LINK,
        Body::Icmpv6(130..=132 | 143, _) => true,
        Body::Icmpv6(..) | Body::Udp(_) | Body::Icmp(_) | Body::Other(_) => false,
    }
}

/// `fe80::/10` (RFC 4291, 2.4).
const fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Multicast (RFC 5771, 3; RFC 4291, 2.4) and 255.255.255.255 (RFC 919, 7).
const fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
