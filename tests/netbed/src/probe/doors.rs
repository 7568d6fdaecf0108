//! The sockets at which probes arrive.
//!
//! They are non-blocking and bound to the endpoint's own addresses, so that answers
//! have the right source.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::flow::Knock;
use crate::testbed::Endpoint;

/// More connections than one run ever opens to one port.
const BACKLOG: i32 = 4096;

/// One socket, and what arrives on it.
#[derive(Debug)]
pub(super) struct Door {
    /// Index of the endpoint.
    pub endpoint: usize,
    pub v6: bool,
    pub kind: Kind,
}

/// A socket by kind. A raw socket is held in a [`UdpSocket`], whose safe
/// `recv_from` works for any datagram socket.
#[derive(Debug)]
pub(super) enum Kind {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Sctp(UdpSocket),
    Icmp(UdpSocket),
}

/// Opens all sockets of an endpoint.
pub(super) fn open(endpoint: &Endpoint, index: usize, knocks: &[Knock]) -> Result<Vec<Door>> {
    endpoint
        .namespace
        .run(|| {
            let mut doors = Vec::new();
            for &address in &endpoint.addresses {
                let v6 = address.is_ipv6();
                for kind in kinds(address, knocks)? {
                    doors.push(Door { endpoint: index, v6, kind });
                }
            }
            anyhow::Ok(doors)
        })?
        .with_context(|| format!("open sockets of {}", endpoint.name))
}

fn kinds(address: IpAddr, knocks: &[Knock]) -> std::io::Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for &knock in knocks {
        match knock {
            Knock::Tcp(port) => kinds.push(Kind::Tcp(tcp(SocketAddr::new(address, port))?)),
            Knock::Udp(port) => kinds.push(Kind::Udp(udp(SocketAddr::new(address, port))?)),
            Knock::Sctp(_) | Knock::Icmp => {}
        }
    }
    if knocks.iter().any(|knock| matches!(knock, Knock::Sctp(_))) {
        kinds.push(Kind::Sctp(raw(address, Protocol::SCTP)?));
    }
    if knocks.contains(&Knock::Icmp) {
        let protocol = if address.is_ipv6() { Protocol::ICMPV6 } else { Protocol::ICMPV4 };
        kinds.push(Kind::Icmp(raw(address, protocol)?));
    }
    Ok(kinds)
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = bound(address, Type::STREAM, None)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A UDP socket bound to this address.
pub(super) fn udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    bound(address, Type::DGRAM, None).map(Into::into)
}

fn raw(address: IpAddr, protocol: Protocol) -> std::io::Result<UdpSocket> {
    let socket = bound(SocketAddr::new(address, 0), Type::RAW, Some(protocol))?;
    Ok(OwnedFd::from(socket).into())
}

fn bound(address: SocketAddr, kind: Type, protocol: Option<Protocol>) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, protocol)?;
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        // Connections of a door that was there before may not be over (tcp(7), SO_REUSEADDR).
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// The payload of a raw packet. IPv4 raw sockets deliver the IP header, too
/// (raw(7)). IPv6 ones do not.
pub(super) fn payload(packet: &[u8], v6: bool) -> &[u8] {
    let header = match packet.first() {
        Some(first) if !v6 => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    packet.get(header..).unwrap_or_default()
}
