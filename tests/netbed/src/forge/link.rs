//! Ethernet: frames, tags, ARP, and what VXLAN carries.

use std::net::{IpAddr, Ipv4Addr};

use super::Marker;

/// A hardware address.
pub type Mac = [u8; 6];

/// What a frame has between its addresses and its payload: tags and the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtherTypes(pub &'static [u8]);

/// EtherTypes (IANA; IEEE 802.1Q, table 9-1).
impl EtherTypes {
    /// IPv4.
    pub const V4: Self = Self(&[0x08, 0x00]);
    /// IPv6.
    pub const V6: Self = Self(&[0x86, 0xdd]);
    /// ARP.
    pub const ARP: Self = Self(&[0x08, 0x06]);
}

/// An Ethernet frame.
pub fn frame(destination: Mac, source: Mac, types: &[u8], payload: &[u8]) -> Vec<u8> {
    [&destination[..], &source, types, payload].concat()
}

/// An ARP packet (RFC 826). The marker is in the padding of the frame.
pub fn arp(
    reply: bool,
    (sender_mac, sender): (Mac, Ipv4Addr),
    (target_mac, target): (Mac, Ipv4Addr),
    marker: Marker,
) -> Vec<u8> {
    // Ethernet, IPv4, their lengths, operation.
    let mut bytes = vec![0, 1, 0x08, 0x00, 6, 4, 0, if reply { 2 } else { 1 }];
    bytes.extend(sender_mac);
    bytes.extend(sender.octets());
    bytes.extend(target_mac);
    bytes.extend(target.octets());
    bytes.extend(marker);
    bytes.resize(46, 0);
    bytes
}

/// The UDP payload of a VXLAN packet (RFC 7348, 5) with network 1, as flannel uses
/// it: a frame for the device of the node that unwraps it.
pub fn vxlan(device: Mac, packet: &[u8]) -> Vec<u8> {
    let types = if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        EtherTypes::V6
    } else {
        EtherTypes::V4
    };
    let inner = frame(device, [0x02, 0x66, 0x66, 0x66, 0x66, 0x66], types.0, packet);
    [&[0x08, 0, 0, 0, 0, 0, 1, 0][..], &inner].concat()
}

/// The EtherType of a packet of this family.
pub fn ether_type(address: IpAddr) -> EtherTypes {
    if address.is_ipv6() { EtherTypes::V6 } else { EtherTypes::V4 }
}
