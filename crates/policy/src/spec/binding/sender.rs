//! Rule P: what a pod may send from its port.
//!
//! In: a bound port and an IP packet from it. Out: nothing, or the [`Refusal`] that
//! forbids it. Never: frames that are no IP packet; `Binding` judges those.

use std::net::{IpAddr, Ipv6Addr};

use super::super::frame::{IpPacket, Message};
use super::super::refusal::Refusal;
use super::refuse;
use crate::BoundPort;

/// P, for an IP packet from a pod's port of a bridge. `Binding::enters_node` judges
/// the redirects of IPv4: a later fragment has no type, and only there each packet
/// is whole. Those of IPv6 come from link-local addresses, which are judged here.
pub(super) fn on_its_bridge(port: &BoundPort, packet: &IpPacket) -> Result<(), Refusal> {
    let own = |target| refuse(!port.addresses.contains(&target), Refusal::NotItsAddress);
    if is_unspecified(packet.source) {
        return before_address(packet, own);
    }
    refuse(!port.addresses.contains(&packet.source), Refusal::NotItsAddress)?;
    if packet.source.is_ipv4() || packet.hop_limit != IpPacket::ON_LINK {
        return Ok(());
    }
    match packet.body.message() {
        Message::NeighbourAdvertisement(target) => own(target),
        Message::RouterAdvertisement
        | Message::ListenerDiscovery
        | Message::NeighbourSolicitation(_)
        | Message::Redirect
        | Message::None => like_no_router(packet),
    }
}

/// P, for an IP packet from a routed pod's port. The pod may ask for and advertise
/// any address: there is no neighbour whose address it could deny.
pub(super) fn on_its_own_link(port: &BoundPort, packet: &IpPacket) -> Result<(), Refusal> {
    if is_unspecified(packet.source) {
        return before_address(packet, |_| Ok(()));
    }
    refuse(!port.addresses.contains(&packet.source), Refusal::NotItsAddress)?;
    like_no_router(packet)
}

/// P, for an IP packet that came to the node past the bridge of the pod's port.
/// What asks for addresses alone is harmless there.
pub(super) fn past_its_bridge(packet: &IpPacket) -> Result<(), Refusal> {
    refuse(!is_unspecified(packet.source), Refusal::PastBridge)?;
    before_address(packet, |_| Ok(()))
}

/// What a host sends before it has an address.
fn before_address(
    packet: &IpPacket,
    asks: impl Fn(IpAddr) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    match packet.body.message() {
        Message::ListenerDiscovery => Ok(()),
        Message::NeighbourSolicitation(target) => asks(target),
        Message::RouterAdvertisement
        | Message::NeighbourAdvertisement(_)
        | Message::Redirect
        | Message::None => Err(Refusal::NotItsAddress),
    }
}

/// Whether it is nothing that routers alone send.
pub(super) fn like_no_router(packet: &IpPacket) -> Result<(), Refusal> {
    match packet.body.message() {
        Message::RouterAdvertisement => Err(Refusal::RouterAdvertisement),
        Message::Redirect => Err(Refusal::Redirect),
        Message::ListenerDiscovery
        | Message::NeighbourSolicitation(_)
        | Message::NeighbourAdvertisement(_)
        | Message::None => Ok(()),
    }
}

fn is_unspecified(address: IpAddr) -> bool {
    address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}
