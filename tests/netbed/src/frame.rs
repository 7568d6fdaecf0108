//! Sends Ethernet frames by hand, as a pod with CAP_NET_RAW can.
//!
//! The frame goes to one neighbour alone, whatever the IP destination of the packet
//! is. It uses no routes and no neighbour discovery.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::probe::{internet_checksum, transport_checksum};
use crate::testbed::Endpoint;

/// UDP's protocol number (IANA).
const UDP: u8 = 17;
/// Length of a UDP header in bytes (RFC 768).
const UDP_HEADER: u16 = 8;
/// Length of an IPv4 header without options, in bytes (RFC 791).
const IPV4_HEADER: u16 = 20;
/// The hop limit that Linux sends.
const HOPS: u8 = 64;
/// EtherType of IPv4 and of IPv6 (IANA).
const ETHERTYPE_V4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_V6: [u8; 2] = [0x86, 0xdd];

/// A UDP packet from the IP header on.
///
/// # Errors
/// When the addresses are of different families.
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: [u8; 4]) -> Result<Vec<u8>> {
    let length = UDP_HEADER + 4;
    let (mut header, addresses) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![0x45, 0]; // version 4, header of 5 words
            header.extend((IPV4_HEADER + length).to_be_bytes());
            header.extend([0, 0, 0, 0, HOPS, UDP, 0, 0]);
            (header, [from.octets(), to.octets()].concat())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([UDP, HOPS]);
            (header, [from.octets(), to.octets()].concat())
        }
        _ => bail!("{source} and {destination} are of different families"),
    };
    if source.is_ipv4() {
        let checksum = internet_checksum(&[&header[..], &addresses].concat());
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    let mut body = [source.port(), destination.port(), length, 0].map(u16::to_be_bytes).concat();
    body.extend(payload);
    let checksum = match transport_checksum(source.ip(), destination.ip(), UDP, &body) {
        0 => u16::MAX, // zero says that there is none
        sum => sum,
    };
    body[6..8].copy_from_slice(&checksum.to_be_bytes());
    Ok([header, addresses, body].concat())
}

/// Sends an IP packet in a frame from `sender`'s `eth0` to the hardware address of
/// `neighbour`'s.
///
/// # Errors
/// When an interface is missing or the frame cannot be sent.
pub fn send(sender: &Endpoint, neighbour: &Endpoint, packet: &[u8]) -> Result<()> {
    let (from, to) = (link(sender)?, link(neighbour)?);
    let hardware = |link: LinkAddr| link.addr().context("a hardware address");
    let kind =
        if packet.first().is_some_and(|byte| byte >> 4 == 6) { ETHERTYPE_V6 } else { ETHERTYPE_V4 };
    let frame = [&hardware(to)?[..], &hardware(from)?, &kind, packet].concat();
    let sent = sender.namespace.run(|| {
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        sendto(socket.as_raw_fd(), &frame, &from, MsgFlags::empty())
    })?;
    sent.with_context(|| format!("send a frame from {} to {}", sender.name, neighbour.name))?;
    Ok(())
}

/// The `eth0` of an endpoint.
fn link(endpoint: &Endpoint) -> Result<LinkAddr> {
    let found = endpoint.namespace.run(|| {
        let found = getifaddrs()?.find_map(|interface| {
            let address = interface.address.filter(|_| interface.interface_name == "eth0")?;
            address.as_link_addr().copied()
        });
        Ok::<_, nix::Error>(found)
    })??;
    found.with_context(|| format!("{} has no eth0", endpoint.name))
}
