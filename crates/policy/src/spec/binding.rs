//! The specification of the binding: who may say and hear what on a node.
//!
//! In: the [`NodeNetwork`], the isolated pods, the nodes' addresses, and one frame
//! or packet at one interface.
//! Out: nothing, or the [`Refusal`] that forbids it.
//! Never: chains, sets, or the order in which a table asks.
//!
//! | letter | rule |
//! |---|---|
//! | S | The address and MAC of a local pod come from that pod's port only. Frames to its MAC go there only. |
//! | P | From a pod's port come its own addresses only, ARP, neighbour discovery and MAC included. It never sends router advertisements or redirects. |
//! | D | To an isolated pod's port go its own addresses only. The same holds on a bridge for what an isolated pod sends to another pod's port. |
//! | T | What reaches a node's tunnel comes from a node, and no Service carried it there. Where nothing tells that the tunnel's other ends are nodes, it comes from no pod of this node. The node does not masquerade what a pod sends to a tunnel. |
//! | F | Frames from or to an isolated pod's port are IPv4, IPv6 or ARP, untagged. |
//!
//! S and P hold for each pod whose port is known, isolated or not. A pod is bound
//! where its packets enter: at its bridge, or at its own interface if it is routed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::frame::{Body, Frame, IpPacket, Message, Payload};
use super::refusal::Refusal;
use crate::{BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Pod, Snapshot};
use sender::{like_no_router, on_its_bridge, on_its_own_link, past_its_bridge};

/// What the rules are about.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The node's network.
    pub network: &'a NodeNetwork,
    /// The pods of the node that policies isolate in any direction.
    pub isolated: &'a BTreeSet<ObjectKey>,
    /// The addresses that outer packets of tunnels come from. A family without any
    /// is unknown.
    pub nodes: &'a BTreeSet<IpAddr>,
}

/// The pods of a node that are isolated in any direction, kept ones included. With
/// `None`, all pods are the node's.
pub fn isolated_pods(snapshot: &Snapshot, node: Option<&str>) -> BTreeSet<ObjectKey> {
    let selected = |pod: &Pod| {
        snapshot.policies.values().any(|policy| {
            policy.is_enforced()
                && snapshot.selects(policy, pod)
                && (policy.ingress.is_some() || policy.egress.is_some())
        })
    };
    let pods = snapshot.pods.values().map(|pod| &**pod);
    let pods = pods.filter(|pod| pod.is_on(node) && selected(pod));
    let kept = snapshot.kept.values().filter(|kept| kept.is_on(node));
    let kept = kept.filter(|kept| kept.is_shut() || selected(&kept.pod));
    pods.chain(kept.map(|kept| &*kept.pod)).map(|pod| pod.key.clone()).collect()
}

/// The addresses that a tunnel's outer packets come from: those of all nodes with
/// a pod (`status.hostIPs`), and those that the node's tunnels name themselves.
/// None while the node has no tunnel.
pub fn nodes(snapshot: &Snapshot, network: &NodeNetwork) -> BTreeSet<IpAddr> {
    if network.tunnels.is_empty() {
        return BTreeSet::new();
    }
    let of_pods = snapshot.pods.values().flat_map(|pod| pod.host_addresses.iter());
    of_pods.chain(&network.tunnel_peers).copied().collect()
}

/// S, P and F, where frames and packets come in.
impl Binding<'_> {
    /// Whether a bridge may take a frame from one of its ports.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn enters_bridge(&self, by: InterfaceIndex, frame: &Frame) -> Result<(), Refusal> {
        match self.network.ports.get(&by).filter(|port| port.bridge.is_some()) {
            Some(port) => self.pod_sends(port, frame),
            None => self.other_sends(frame),
        }
    }

    fn pod_sends(&self, port: &BoundPort, frame: &Frame) -> Result<(), Refusal> {
        refuse(!port.has_mac(frame.source), Refusal::NotItsMac)?;
        match (frame.tag, frame.payload) {
            (None, Payload::Ip(packet)) => on_its_bridge(port, &packet),
            (None, Payload::Arp(arp)) => {
                refuse(!port.has_mac(arp.sender_mac), Refusal::NotItsMac)?;
                refuse(!port.addresses.contains(&arp.sender), Refusal::NotItsAddress)
            }
            (Some(_), _) | (None, Payload::Other) => {
                refuse(self.isolated.contains(&port.pod), Refusal::KindOfFrame)?;
                refuse(frame.tag == Some(0), Refusal::PriorityTag)
            }
        }
    }

    /// A frame from a port that is no bound pod's. One tag hides no IP packet. All
    /// else behind a tag that receivers strip may say anything.
    fn other_sends(&self, frame: &Frame) -> Result<(), Refusal> {
        refuse(self.is_pods_mac(frame.source), Refusal::MacOfAnother)?;
        let said = match (frame.tag, frame.payload) {
            (_, Payload::Ip(packet)) => match packet.body.message() {
                Message::NeighbourAdvertisement(target) => vec![packet.source, target],
                Message::ListenerDiscovery
                | Message::RouterAdvertisement
                | Message::NeighbourSolicitation(_)
                | Message::Redirect
                | Message::None => vec![packet.source],
            },
            (None, Payload::Arp(arp)) => vec![arp.sender],
            (Some(_), Payload::Arp(_)) | (_, Payload::Other) => vec![],
        };
        let taken = said.iter().any(|address| self.is_on_bridge(*address));
        refuse(taken, Refusal::AddressOfAnother)?;
        let hides = match frame.payload {
            Payload::Ip(_) => false,
            Payload::Arp(_) | Payload::Other => frame.tag == Some(0),
        };
        // Without a pod on a bridge there is nothing to protect.
        let bridged = self.network.ports.values().any(|port| port.bridge.is_some());
        refuse(hides && bridged, Refusal::HiddenByTag)
    }

    /// Whether a pod on a bridge has this MAC.
    fn is_pods_mac(&self, mac: Mac) -> bool {
        let mut ports = self.network.ports.values().filter(|port| port.bridge.is_some());
        ports.any(|port| port.has_mac(mac))
    }

    /// Whether a bridge or a pod on a bridge has this address.
    fn is_on_bridge(&self, address: IpAddr) -> bool {
        let mut ports = self.network.ports.values().filter(|port| port.bridge.is_some());
        ports.any(|port| port.addresses.contains(&address))
            || self.network.bridges.values().any(|bridge| bridge.addresses.contains(&address))
    }

    /// Whether the node may take a packet from an interface, as routing sees it:
    /// what comes from a bridge's port comes from the bridge. From the port itself
    /// comes only what was sent to a link-local group of bridges, which passes the
    /// bridge by (IEEE 802.1D-2004, 7.12.6; `br_handle_frame`,
    /// net/bridge/br_input.c, 6.18). No honest IP packet is sent there.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn enters_node(&self, by: InterfaceIndex, packet: &IpPacket) -> Result<(), Refusal> {
        if self.network.ports.get(&by).is_some_and(|port| port.bridge.is_some()) {
            return past_its_bridge(packet);
        }
        if let Some(port) = self.network.ports.get(&by).filter(|port| port.bridge.is_none()) {
            return on_its_own_link(port, packet);
        }
        // Link-local addresses mean something on their own link only.
        if is_link_local(packet.source) {
            return Ok(());
        }
        let ports = self.network.ports.values();
        let owners: Vec<_> = ports.filter(|port| port.addresses.contains(&packet.source)).collect();
        let elsewhere = owners.iter().any(|port| port.bridge != Some(by));
        refuse(elsewhere, Refusal::AddressOfAnother)?;
        if owners.is_empty() { Ok(()) } else { like_no_router(packet) }
    }
}

/// D and F, where frames and packets go out.
impl Binding<'_> {
    /// Whether a bridge may send a frame out of one of its ports.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn leaves_bridge(&self, by: InterfaceIndex, frame: &Frame) -> Result<(), Refusal> {
        let bridged = self.bridged(by);
        let own_mac = bridged.is_some_and(|port| port.has_mac(frame.destination));
        refuse(!own_mac && self.is_pods_mac(frame.destination), Refusal::MacOfAnother)?;
        match bridged.filter(|port| self.is_isolated(port)) {
            Some(port) => is_for(port, frame, Refusal::UnreportedAddress),
            None => Ok(()),
        }
    }

    /// Whether a bridge may hand on a frame from one of its ports to another. A bridge
    /// delivers by the MAC, policies judge the address. So an isolated pod could send to
    /// an accomplice what policies let it send to somebody else.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn crosses_bridge(
        &self,
        from: InterfaceIndex,
        to: InterfaceIndex,
        frame: &Frame,
    ) -> Result<(), Refusal> {
        let sender = self.bridged(from).filter(|port| self.is_isolated(port));
        match (sender, self.bridged(to)) {
            (Some(_), Some(receiver)) => is_for(receiver, frame, Refusal::NotForReceiver),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// A bound port of a bridge.
    fn bridged(&self, by: InterfaceIndex) -> Option<&BoundPort> {
        self.network.ports.get(&by).filter(|port| port.bridge.is_some())
    }

    fn is_isolated(&self, port: &BoundPort) -> bool {
        self.isolated.contains(&port.pod)
    }

    /// Whether the node may route the first packet of a flow out of an interface. For
    /// destinations that [`super::edges`] does not decide about.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn leaves_node(&self, by: InterfaceIndex, destination: IpAddr) -> Result<(), Refusal> {
        let routed = self.network.ports.get(&by).filter(|port| port.bridge.is_none());
        let isolated = routed.filter(|port| self.isolated.contains(&port.pod));
        let foreign = isolated.is_some_and(|port| !port.addresses.contains(&destination));
        refuse(foreign, Refusal::UnreportedAddress)
    }
}

/// P, of what is about a known flow.
impl Binding<'_> {
    /// Whether the node may forward an error that quotes a packet of a known flow, or
    /// what else connection tracking finds related to one. Routers, and pods of other
    /// nodes, may speak of any flow. A link-local address means something on its own
    /// link only, so it says nothing here.
    ///
    /// The ends are the sources of the flow's packets in its two directions, as the ends
    /// know them: the client's before, the server's after any translation.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn is_about_flow(&self, source: IpAddr, ends: [Option<IpAddr>; 2]) -> Result<(), Refusal> {
        let mut ports = self.network.ports.values();
        let bound = ports.any(|port| port.addresses.contains(&source));
        let of_others = bound && !is_link_local(source) && !ends.contains(&Some(source));
        refuse(of_others, Refusal::FlowOfOthers)
    }
}

/// Whether a frame is for the pod of a port, or what neighbours and routers of the link
/// say to all: P judges those.
fn is_for(port: &BoundPort, frame: &Frame, refusal: Refusal) -> Result<(), Refusal> {
    match (frame.tag, frame.payload) {
        (None, Payload::Arp(_)) => Ok(()),
        (
            None,
            Payload::Ip(IpPacket { body: Body::Icmpv6(130..=132 | 134..=136 | 143, _), .. }),
        ) => Ok(()),
        (None, Payload::Ip(packet)) => {
            let own =
                port.has_mac(frame.destination) && port.addresses.contains(&packet.destination);
            refuse(!own, refusal)
        }
        (Some(_), _) | (None, Payload::Other) => Err(Refusal::KindOfFrame),
    }
}

fn refuse(condition: bool, refusal: Refusal) -> Result<(), Refusal> {
    if condition { Err(refusal) } else { Ok(()) }
}

/// `fe80::/10` (RFC 4291, 2.4).
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

mod sender;
#[cfg(test)]
mod tests;
mod tunnels;
