//! Rule T: what goes into a node's tunnel.
//!
//! In: the node's tunnels and the nodes' addresses, and a packet to the node, through
//! it or out of it. Out: nothing, or the [`Refusal`] that forbids it.
//! Never: what a tunnel carries.
//!
//! A Service can name a node's tunnel as its endpoint. What it carries from a pod
//! comes from the node that translated it, if that masquerades. Nodes send into
//! each other's tunnels by the addresses that the tunnels have, so none of their
//! own packets is translated.
//!
//! A flow to the node itself is never masqueraded, so it cannot take the place of one
//! between nodes, whatever port it comes from.

use std::net::IpAddr;

use super::super::frame::{Body, IpPacket};
use super::super::refusal::Refusal;
use super::{Binding, is_link_local, refuse};
use crate::{BoundPort, InterfaceIndex, Tunnel, TunnelSources};

impl Binding<'_> {
    /// Whether the node may take a packet to itself. The packet has passed
    /// [`Binding::enters_node`].
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn reaches_node(&self, by: InterfaceIndex, packet: &IpPacket) -> Result<(), Refusal> {
        let Some(sources) = self.tunnel_of(packet) else { return Ok(()) };
        refuse(packet.translated, Refusal::TunnelByService)?;
        // Whatever address it says: a port that is bound to no pod may say any.
        refuse(self.leads_to_pods(by), Refusal::Tunnel)?;
        let foreign = match sources {
            TunnelSources::Nodes if self.knows_nodes_like(packet.source) => {
                !self.nodes.contains(&packet.source)
            }
            TunnelSources::Nodes | TunnelSources::Any => self.is_pods_own(packet.source),
        };
        refuse(foreign, Refusal::Tunnel)
    }

    /// Whether the node may forward the first packet of a flow.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn crosses_node(&self, packet: &IpPacket) -> Result<(), Refusal> {
        let to_node = self.tunnel_of(packet).is_some() && self.nodes.contains(&packet.destination);
        refuse(to_node && packet.translated, Refusal::TunnelByService)?;
        refuse(to_node && !self.nodes.contains(&packet.source), Refusal::Tunnel)?;
        let foreign =
            self.nodes.contains(&packet.destination) && !self.nodes.contains(&packet.source);
        refuse(foreign && self.is_from_tunnel(packet), Refusal::TunnelShadow)
    }

    /// Whether the node may send a packet out, as it is after masquerading. `opener` is
    /// who opened its flow, before any translation.
    ///
    /// [`Binding::crosses_node`] knows the other nodes by some of their addresses only.
    /// At another one, a masqueraded packet passes for this node's. Nor does it know the
    /// source port that masquerading gives.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn leaves_masqueraded(
        &self,
        by: InterfaceIndex,
        packet: &IpPacket,
        opener: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let masqueraded = opener.is_some_and(|opener| self.is_pods_own(opener))
            && self.nodes.contains(&packet.source);
        if self.tunnel_of(packet).is_some() {
            // What the pod gets from a node at such a port is an answer.
            let answer = self.is_behind(by, packet.destination);
            return refuse(masqueraded && !answer, Refusal::TunnelMasqueraded);
        }
        let shadows = self.nodes.contains(&packet.destination) && self.is_from_tunnel(packet);
        refuse(masqueraded && shadows, Refusal::TunnelShadow)
    }

    /// Whether an interface leads to the pod that has this address.
    fn is_behind(&self, by: InterfaceIndex, address: IpAddr) -> bool {
        let has = |port: &BoundPort| port.addresses.contains(&address);
        let routed = self.network.ports.get(&by).filter(|port| port.bridge.is_none());
        let mut ports = self.network.ports.values();
        routed.is_some_and(has)
            || !is_link_local(address) && ports.any(|port| port.bridge == Some(by) && has(port))
    }

    /// Whether it comes from the port of a tunnel. Masqueraded with this port, its
    /// flow would have the node's end of the tunnel, and what the other node sends
    /// into the tunnel from that port would be answers.
    fn is_from_tunnel(&self, packet: &IpPacket) -> bool {
        let port = packet.source_port.filter(|_| matches!(packet.body, Body::Udp(_)));
        port.is_some_and(|port| self.network.tunnels.contains_key(&Tunnel::Udp(port)))
    }

    /// Whether the nodes' addresses of this family are known. A Pod can name one
    /// family of a node that has both: `status.hostIPs` is there by default since
    /// Kubernetes 1.29 (KEP-2681).
    fn knows_nodes_like(&self, address: IpAddr) -> bool {
        self.nodes.iter().any(|node| node.is_ipv4() == address.is_ipv4())
    }

    /// Who may send into the tunnel that a packet goes to; `None` if it goes to none.
    fn tunnel_of(&self, packet: &IpPacket) -> Option<TunnelSources> {
        let is_meant = |tunnel| match tunnel {
            Tunnel::Udp(port) => packet.body == Body::Udp(port),
            Tunnel::Protocol(number) => packet.body.protocol() == number,
        };
        let mut tunnels = self.network.tunnels.iter();
        tunnels.find(|(tunnel, _)| is_meant(**tunnel)).map(|(_, sources)| *sources)
    }

    /// Whether a pod of this node sent what has this source. Link-local addresses
    /// do not tell: they mean something on their own link only.
    fn is_pods_own(&self, source: IpAddr) -> bool {
        let mut ports = self.network.ports.values();
        !is_link_local(source) && ports.any(|port| port.addresses.contains(&source))
    }

    /// Whether an interface leads to the node's own pods and nowhere else.
    fn leads_to_pods(&self, by: InterfaceIndex) -> bool {
        let port = self.network.ports.contains_key(&by);
        let bridge = self.network.bridges.get(&by).is_some_and(|bridge| bridge.only_pods);
        let bound = self.network.ports.values().any(|port| port.bridge == Some(by));
        port || (bridge && bound)
    }
}
