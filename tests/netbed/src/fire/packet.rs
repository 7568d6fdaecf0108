//! Builds UDP packets by hand: the bytes from the IPv4 header on, without payload.

use std::net::Ipv4Addr;

/// Bytes of a packet: IPv4 header (RFC 791, 20) and UDP header (RFC 768, 8).
const LENGTH: u8 = 28;
/// Where the UDP header begins, with the source port.
const SOURCE_PORT: usize = 20;

/// A packet without payload.
#[derive(Clone, Debug)]
pub struct Packet([u8; LENGTH as usize]);

impl Packet {
    /// `tag` is the identification field, which `observe` counts by. The
    /// kernel fills in the header's checksum and keeps an identification that is
    /// not zero (raw(7), `IP_HDRINCL`). A UDP checksum of zero means that there is
    /// none.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, port: u16, tag: u16) -> Self {
        let mut bytes = [0; LENGTH as usize];
        bytes[0] = 0x45; // version 4, header of 5 words
        bytes[3] = LENGTH;
        bytes[4..6].copy_from_slice(&tag.to_be_bytes());
        bytes[8] = 64; // time to live, hops
        bytes[9] = 17; // UDP
        bytes[12..16].copy_from_slice(&source.octets());
        bytes[16..20].copy_from_slice(&destination.octets());
        bytes[22..24].copy_from_slice(&port.to_be_bytes());
        bytes[25] = LENGTH - 20;
        Self(bytes)
    }

    /// Sets the UDP source port.
    pub fn set_source_port(&mut self, port: u16) {
        self.0[SOURCE_PORT..SOURCE_PORT + 2].copy_from_slice(&port.to_be_bytes());
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
