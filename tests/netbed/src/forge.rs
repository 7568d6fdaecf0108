//! Packets and frames of any content, as bytes.
//!
//! You give addresses, ports and data. You get what a pod with CAP_NET_RAW can
//! write: IP packets with checksums, Ethernet frames with tags, ARP, neighbour
//! messages, SCTP chunks, the payload of VXLAN.
//! Never: a socket; data of odd length.
//!
//! Each packet carries a [`Marker`]. Who sees the marker has seen the packet, or an
//! answer that quotes it.

mod discovery;
mod link;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

pub use discovery::{
    advertisement, icmp_redirect, icmpv6_redirect, router_advertisement, solicitation,
};
pub use link::{EtherTypes, Mac, arp, ether_type, frame, vxlan};

use crate::probe::{crc32c, internet_checksum, transport_checksum};

/// Bytes that no other packet of this run contains.
pub type Marker = [u8; 6];

/// Protocol numbers (IANA).
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;

/// The hop limit that Linux sends.
const HOPS: u8 = 64;
/// Length of an IPv4 header without options, in bytes (RFC 791).
const IPV4_HEADER: usize = 20;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A new marker.
pub fn marker() -> Marker {
    let [a, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    [0xa7, 0x5e, a, b, c, d]
}

/// An IP packet.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Protocol number.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub hops: u8,
    /// What follows the IP header, with its checksum.
    pub body: Vec<u8>,
}

impl Packet {
    /// With the usual hop limit.
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8, body: Vec<u8>) -> Self {
        Self { source, destination, protocol, hops: HOPS, body }
    }

    /// With another hop limit.
    #[must_use]
    pub fn hops(self, hops: u8) -> Self {
        Self { hops, ..self }
    }

    /// Puts a destination options header in front of the body (RFC 8200, 4.6). IPv4
    /// packets stay as they are.
    #[must_use]
    pub fn behind_options(mut self) -> Self {
        if self.source.is_ipv6() {
            // Next header, no further 8 bytes, and PadN over the rest.
            self.body.splice(0..0, [self.protocol, 0, 1, 4, 0, 0, 0, 0]);
            self.protocol = 60;
        }
        self
    }

    /// The packet from its IP header on.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.piece(0, self.body.len(), false)
    }

    /// The packet in two fragments (RFC 791, 2.3; RFC 8200, 4.5). The first one has
    /// `first` bytes of the body, a multiple of 8.
    pub fn fragments(&self, first: usize) -> [Vec<u8>; 2] {
        [self.piece(0, first, true), self.piece(first, self.body.len(), true)]
    }

    fn piece(&self, from: usize, to: usize, fragmented: bool) -> Vec<u8> {
        let more = to < self.body.len();
        // The offset counts 8 bytes. All packets of a run share one identifier but
        // no ports, so the addresses, the protocol and this number tell them apart.
        let offset = (from / 8) as u16;
        let id = self.body.iter().fold(7_u16, |sum, &byte| sum.rotate_left(3) ^ u16::from(byte));
        let body = &self.body[from..to];
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut bytes = vec![0x45, 0]; // version 4, header of 5 words
                bytes.extend(((IPV4_HEADER + body.len()) as u16).to_be_bytes());
                bytes.extend(id.to_be_bytes());
                bytes.extend((offset | if more { 0x2000 } else { 0 }).to_be_bytes());
                bytes.extend([self.hops, self.protocol, 0, 0]);
                bytes.extend([source.octets(), destination.octets()].concat());
                let checksum = internet_checksum(&bytes);
                bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
                bytes.extend(body);
                bytes
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = if fragmented { 8 } else { 0 };
                let next = if fragmented { 44 } else { self.protocol };
                let mut bytes = vec![0x60, 0, 0, 0];
                bytes.extend(((header + body.len()) as u16).to_be_bytes());
                bytes.extend([next, self.hops]);
                bytes.extend([source.octets(), destination.octets()].concat());
                if fragmented {
                    bytes.extend([self.protocol, 0]);
                    bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    bytes.extend(u32::from(id).to_be_bytes());
                }
                bytes.extend(body);
                bytes
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                unreachable!("both addresses of a test's packet are of one family")
            }
        }
    }
}

/// A UDP datagram.
pub fn udp(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Packet {
    let length = (8 + data.len()) as u16;
    let mut body = [source.port(), destination.port(), length, 0].map(u16::to_be_bytes).concat();
    body.extend(data);
    let checksum = match transport_checksum(source.ip(), destination.ip(), UDP, &body) {
        0 => u16::MAX, // zero says that there is none
        sum => sum,
    };
    body[6..8].copy_from_slice(&checksum.to_be_bytes());
    Packet::new(source.ip(), destination.ip(), UDP, body)
}

/// A TCP segment with SYN alone, and data.
pub fn syn(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Packet {
    let mut body = [source.port(), destination.port()].map(u16::to_be_bytes).concat();
    body.extend(1000_u32.to_be_bytes()); // sequence number
    body.extend([0; 4]);
    body.extend([0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]); // 5 words, SYN, window
    body.extend(data);
    let checksum = transport_checksum(source.ip(), destination.ip(), TCP, &body);
    body[16..18].copy_from_slice(&checksum.to_be_bytes());
    Packet::new(source.ip(), destination.ip(), TCP, body)
}

/// An ICMP or ICMPv6 echo request.
pub fn echo(source: IpAddr, destination: IpAddr, identifier: u16, data: &[u8]) -> Packet {
    let kind = if source.is_ipv6() { 128 } else { 8 };
    let rest = [&identifier.to_be_bytes(), &[0, 1][..], data].concat();
    icmp(source, destination, (kind, 0), &rest)
}

/// An ICMP or ICMPv6 message with this type and code. `rest` follows the checksum.
pub fn icmp(source: IpAddr, destination: IpAddr, kind: (u8, u8), rest: &[u8]) -> Packet {
    let mut body = vec![kind.0, kind.1, 0, 0];
    body.extend(rest);
    let (protocol, checksum) = if source.is_ipv6() {
        (ICMPV6, transport_checksum(source, destination, ICMPV6, &body))
    } else {
        (ICMP, internet_checksum(&body))
    };
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    Packet::new(source, destination, protocol, body)
}

/// Types of SCTP chunks (RFC 9260, 3.2).
pub const SCTP_DATA: u8 = 0;
/// INIT.
pub const SCTP_INIT: u8 = 1;
/// HEARTBEAT.
pub const SCTP_HEARTBEAT: u8 = 4;

/// An SCTP packet with one chunk. Its checksum is right.
pub fn sctp(source: SocketAddr, destination: SocketAddr, chunk: u8, data: &[u8]) -> Packet {
    // An INIT has no verification tag (RFC 9260, 8.5.1).
    let tag: u32 = if chunk == SCTP_INIT { 0 } else { 0x0102_0304 };
    let value = match chunk {
        // Sequence numbers and payload protocol; all in one piece (3.3.1).
        SCTP_DATA => [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], data].concat(),
        // Tag, window, streams, sequence number, a parameter to skip (3.3.2, 3.2.1).
        SCTP_INIT => {
            let fixed = [1, 2, 3, 4, 0, 0, 0xff, 0xff, 0, 1, 0, 1, 0, 0, 0, 1];
            [&fixed[..], &parameter(0x8001, data)].concat()
        }
        // One parameter, Heartbeat Info (3.3.5).
        _ => parameter(1, data),
    };
    let mut body = [source.port(), destination.port()].map(u16::to_be_bytes).concat();
    body.extend(tag.to_be_bytes());
    body.extend([0; 4]); // checksum
    body.extend([chunk, if chunk == SCTP_DATA { 3 } else { 0 }]);
    body.extend(((4 + value.len()) as u16).to_be_bytes());
    body.extend(&value);
    body.resize(body.len().next_multiple_of(4), 0);
    let checksum = crc32c(&body);
    body[8..12].copy_from_slice(&checksum.to_le_bytes());
    Packet::new(source.ip(), destination.ip(), SCTP, body)
}

fn parameter(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
}
