//! Sends single datagrams to addresses of every kind: link-local, broadcast and
//! multicast. Sends ICMPv6 messages of every type.
//!
//! Each datagram starts a new flow. The result is whether it arrived.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::frame;
use crate::testbed::Endpoint;

/// A datagram that has not arrived by then is lost. On one machine it takes
/// microseconds.
const PATIENCE: Duration = Duration::from_millis(250);

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// An IPv6 link-local unicast address of an endpoint's `eth0`, with its scope.
///
/// # Errors
/// When the endpoint has none.
pub fn link_local(endpoint: &Endpoint) -> Result<(Ipv6Addr, u32)> {
    // Address, index, prefix length, scope, flags, name
    // (if6_seq_show in net/ipv6/addrconf.c, Linux 6.18).
    let table =
        endpoint.namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6"))??;
    table
        .lines()
        .find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [address, index, _, _, _, "eth0"] = fields[..] else { return None };
            let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
            let index = u32::from_str_radix(index, 16).ok()?;
            address.is_unicast_link_local().then_some((address, index))
        })
        .with_context(|| format!("{} has no link-local address:\n{table}", endpoint.name))
}

/// An IPv6 socket address with the scope of an endpoint's `eth0`.
///
/// # Errors
/// As [`link_local`].
pub fn scoped(endpoint: &Endpoint, address: Ipv6Addr, port: u16) -> Result<SocketAddr> {
    let (_, scope) = link_local(endpoint)?;
    Ok(SocketAddrV6::new(address, port, 0, scope).into())
}

/// A socket of an endpoint that receives what is sent to `port`. It joins `group`
/// when that is a multicast address.
///
/// # Errors
/// When the socket cannot be bound or cannot join.
pub fn receiver(endpoint: &Endpoint, group: IpAddr, port: u16) -> Result<UdpSocket> {
    let (_, scope) = link_local(endpoint)?;
    let own = endpoint.address(false);
    let socket = endpoint.namespace.run(|| {
        let any: IpAddr = match group {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, port))?;
        match (group, own) {
            (IpAddr::V4(group), Some(IpAddr::V4(own))) if group.is_multicast() => {
                socket.join_multicast_v4(&group, &own)?;
            }
            (IpAddr::V6(group), _) if group.is_multicast() => {
                socket.join_multicast_v6(&group, scope)?;
            }
            _ => {}
        }
        socket.set_read_timeout(Some(PATIENCE))?;
        std::io::Result::Ok(socket)
    })?;
    socket.with_context(|| format!("receive {group} port {port} at {}", endpoint.name))
}

/// Sends one datagram and waits until it arrives.
///
/// # Errors
/// When it cannot be sent. A datagram that does not arrive is no error.
pub fn arrives(
    sender: &Endpoint,
    source: SocketAddr,
    destination: SocketAddr,
    receiver: &UdpSocket,
) -> Result<bool> {
    let number = next_number();
    sender
        .namespace
        .run(|| {
            let socket = UdpSocket::bind(source)?;
            if source.is_ipv4() {
                socket.set_broadcast(true)?;
            }
            socket.send_to(&number, destination)
        })?
        .with_context(|| format!("send from {} {source} to {destination}", sender.name))?;
    Ok(comes(receiver, number))
}

/// Sends one datagram in a frame for `neighbour` alone, whatever its destination
/// is. Waits until it arrives.
///
/// # Errors
/// As [`frame::send`].
pub fn arrives_in_frame(
    sender: &Endpoint,
    neighbour: &Endpoint,
    source: SocketAddr,
    destination: SocketAddr,
    receiver: &UdpSocket,
) -> Result<bool> {
    let number = next_number();
    frame::send(sender, neighbour, &frame::udp(source, destination, number)?)?;
    Ok(comes(receiver, number))
}

fn next_number() -> [u8; 4] {
    NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

fn comes(receiver: &UdpSocket, number: [u8; 4]) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 16];
    while Instant::now() < deadline {
        match receiver.recv_from(&mut buffer) {
            Ok((4, _)) if buffer[..4] == number => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Sends an ICMPv6 message of each type with this hop limit from one endpoint to
/// the other. Returns the types that arrive, in order.
///
/// # Errors
/// When an endpoint has no IPv6 address, or a message cannot be sent.
pub fn icmpv6(from: &Endpoint, to: &Endpoint, hops: u8, types: &[u8]) -> Result<Vec<u8>> {
    let number = next_number();
    let source = from.address(true).context("an IPv6 address")?;
    let destination = to.address(true).context("an IPv6 address")?;
    let ears = to.namespace.run(icmpv6_socket)??;
    ears.set_read_timeout(Some(PATIENCE))?;
    let ears = UdpSocket::from(OwnedFd::from(ears));
    let sent = from.namespace.run(|| {
        let socket = icmpv6_socket()?;
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        socket.set_unicast_hops_v6(hops.into())?;
        for kind in types {
            // Type, code, checksum (the kernel fills it in: RFC 3542, 3.1), four
            // bytes that depend on the type, then our data.
            let message = [&[*kind, 0, 0, 0, 0, 0, 0, 0], &number[..]].concat();
            socket.send_to(&message, &SockAddr::from(SocketAddr::new(destination, 0)))?;
        }
        std::io::Result::Ok(())
    })?;
    sent.with_context(|| format!("send ICMPv6 from {} to {}", from.name, to.name))?;
    let mut arrived = Vec::new();
    let mut buffer = [0; 1500];
    let deadline = Instant::now() + PATIENCE;
    while arrived.len() < types.len() && Instant::now() < deadline {
        let Ok((length, _)) = ears.recv_from(&mut buffer) else { break };
        if length == 12 && buffer[8..12] == number {
            arrived.push(buffer[0]);
        }
    }
    arrived.sort_unstable();
    Ok(arrived)
}

fn icmpv6_socket() -> std::io::Result<Socket> {
    Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))
}
