//! Sockets of pods, nodes and the outsider.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::testbed::Endpoint;

/// A datagram that has not arrived by then is lost.
const PATIENCE: Duration = Duration::from_millis(500);

static PORT: AtomicU16 = AtomicU16::new(20_000);

/// A port of an endpoint.
pub fn at(endpoint: &Endpoint, v6: bool, port: u16) -> Result<SocketAddr> {
    let address = endpoint.address(v6).with_context(|| format!("no address of {}", endpoint.name));
    Ok(SocketAddr::new(address?, port))
}

/// A port that no try had before.
pub fn next_port() -> u16 {
    PORT.fetch_add(1, Ordering::Relaxed)
}

/// A socket of an endpoint, which waits for [`PATIENCE`].
pub fn bind(endpoint: &Endpoint, own: SocketAddr) -> Result<UdpSocket> {
    let socket = endpoint.namespace.run(|| UdpSocket::bind(own))?;
    let socket = socket.with_context(|| format!("bind {own} in {}", endpoint.name))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Who sent the next datagram, if one arrives.
pub fn receive(socket: &UdpSocket) -> Option<SocketAddr> {
    // An ICMP error of an earlier datagram is as good as nothing.
    socket.recv_from(&mut [0; 64]).ok().map(|(_, from)| from)
}

/// An ICMP error of an earlier datagram, which the next system call reports.
pub fn refused(error: std::io::Error) -> std::io::Result<usize> {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable => Ok(0),
        _ => Err(error),
    }
}
