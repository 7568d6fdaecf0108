//! Frames that carry a request for a checksum.
//!
//! The checksum is the complement of the sum of all words from a start to the packet's
//! end (RFC 1071). One of these words is free: it is chosen so that the checksum is the
//! word that the sender wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use netbed::net::Namespace;
use netbed::testbed::Endpoint;
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SetSockOpt, SockFlag, SockType, bind, send, socket, sockopt,
};

/// The UDP port that it comes from.
pub const SOURCE: u16 = 5555;
/// `SOL_PACKET` (linux/socket.h) and `PACKET_VNET_HDR` (linux/if_packet.h).
const SOL_PACKET: i32 = 263;
const PACKET_VNET_HDR: i32 = 15;
/// `VIRTIO_NET_HDR_F_NEEDS_CSUM` (linux/virtio_net.h).
const NEEDS_CHECKSUM: u8 = 1;
/// Lengths of an Ethernet, IPv4 and UDP header in bytes.
const ETHERNET: usize = 14;
const V4: usize = 20;
const UDP: u8 = 8;
const UDP_PROTOCOL: u8 = 17;
const DATA: [u8; 2] = *b"hi";

nix::setsockopt_impl!(VnetHeader, SOL_PACKET, PACKET_VNET_HDR, bool, sockopt::SetBool);

#[derive(Clone, Copy)]
struct VnetHeader;

/// A packet, and where its checksum belongs.
pub struct Packet {
    kind: [u8; 2],
    bytes: Vec<u8>,
    /// From the packet's begin on.
    start: usize,
    /// From the start on.
    offset: u16,
}

/// From mallory, and then from somebody whose address has other last two bytes. The
/// kernel wants the start behind the first 20 bytes of the header
/// (`virtio_net_hdr_to_skb` in linux/virtio_net.h, 6.18), and finds the last four bytes
/// of the source there.
pub fn source(own: SocketAddr, says: SocketAddr, to: SocketAddr) -> Result<Packet> {
    let (IpAddr::V6(own), IpAddr::V6(says), IpAddr::V6(target)) = (own.ip(), says.ip(), to.ip())
    else {
        bail!("IPv4's own checksum protects its addresses");
    };
    let start = 20;
    // UDP ends before the packet does: two bytes are free.
    let udp = udp6(says, target, to.port());
    let length = udp.len() as u16 + 2;
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([UDP_PROTOCOL, 64]);
    bytes.extend(own.octets());
    bytes.extend(target.octets());
    bytes.extend(udp);
    let last = u16::from_be_bytes([says.octets()[14], says.octets()[15]]);
    bytes.extend(free_word(last, &bytes[start..]).to_be_bytes());
    Ok(Packet { kind: [0x86, 0xdd], bytes, start, offset: 2 })
}

/// To a port that is allowed, and then to another. UDP over IPv4 needs no checksum of
/// its own (RFC 768).
pub fn port(own: SocketAddr, to: SocketAddr, allowed: u16) -> Result<Packet> {
    let (IpAddr::V4(own), IpAddr::V4(target)) = (own.ip(), to.ip()) else {
        bail!("this one is for IPv4");
    };
    let length = UDP + 4;
    let mut bytes = v4_header(own, target, length);
    bytes.extend(SOURCE.to_be_bytes());
    let start = V4 + 2;
    bytes.extend([allowed, u16::from(length), 0].map(u16::to_be_bytes).concat());
    bytes.extend(DATA);
    bytes.extend(free_word(to.port(), &bytes[start..]).to_be_bytes());
    Ok(Packet { kind: [0x08, 0x00], bytes, start, offset: 0 })
}

fn v4_header(from: Ipv4Addr, to: Ipv4Addr, length: u8) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, V4 as u8 + length, 0, 0, 0x40, 0, 64, UDP_PROTOCOL, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let checksum = !sum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// A UDP datagram with the checksum of the changed packet.
fn udp6(from: Ipv6Addr, to: Ipv6Addr, port: u16) -> Vec<u8> {
    let length = u16::from(UDP) + DATA.len() as u16;
    let mut udp = [SOURCE, port, length, 0].map(u16::to_be_bytes).concat();
    udp.extend(DATA);
    // RFC 8200, section 8.1.
    let pseudo = [&from.octets()[..], &to.octets(), &length.to_be_bytes(), &[0, UDP_PROTOCOL]];
    let checksum = match !sum(&[&pseudo.concat()[..], &udp].concat()) {
        0 => u16::MAX,
        checksum => checksum,
    };
    udp[6..8].copy_from_slice(&checksum.to_be_bytes());
    udp
}

/// The word that makes the checksum of these bytes and itself what is wanted.
fn free_word(wanted: u16, bytes: &[u8]) -> u16 {
    let (wanted, others) = (u32::from(!wanted), u32::from(sum(bytes)));
    let modulus = u32::from(u16::MAX);
    ((wanted + modulus - others) % modulus) as u16
}

/// The ones' complement sum (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| {
        u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or_default()]))
    });
    let mut sum: u32 = words.sum();
    while sum > u32::from(u16::MAX) {
        sum = (sum >> 16) + (sum & u32::from(u16::MAX));
    }
    sum as u16
}

impl Packet {
    /// Sends it from an endpoint's `eth0` to a hardware address.
    pub fn send(&self, from: &Endpoint, to: [u8; 6]) -> Result<()> {
        let own = link(&from.namespace, "eth0")?;
        let hardware = own.addr().context("a hardware address")?;
        // `struct virtio_net_hdr`: flags, gso_type, hdr_len, gso_size, csum_start,
        // csum_offset, in the machine's byte order.
        let start = (ETHERNET + self.start) as u16;
        let mut frame = vec![NEEDS_CHECKSUM, 0];
        frame.extend([0, 0, start, self.offset].map(u16::to_ne_bytes).concat());
        frame.extend(to);
        frame.extend(hardware);
        frame.extend(self.kind);
        frame.extend(&self.bytes);
        let sent = from.namespace.run(|| {
            let kind = (AddressFamily::Packet, SockType::Raw);
            let socket = socket(kind.0, kind.1, SockFlag::SOCK_CLOEXEC, None)?;
            VnetHeader.set(&socket, &true)?;
            bind(socket.as_raw_fd(), &own)?;
            send(socket.as_raw_fd(), &frame, MsgFlags::empty())
        })?;
        sent.context("send a frame with a request for a checksum").map(drop)
    }
}

/// The hardware address of a device.
pub fn hardware(namespace: &Namespace, device: &str) -> Result<[u8; 6]> {
    link(namespace, device)?.addr().context("a hardware address")
}

fn link(namespace: &Namespace, device: &str) -> Result<LinkAddr> {
    let found = namespace.run(|| {
        let found = getifaddrs()?.find_map(|interface| {
            let address = interface.address.filter(|_| interface.interface_name == device)?;
            address.as_link_addr().copied()
        });
        Ok::<_, nix::Error>(found)
    })??;
    found.with_context(|| format!("no {device}"))
}
