//! Sends single TCP segments that belong to no flow, which no socket does.
//!
//! Never: a handshake. The receiving kernel answers by itself, because it knows no
//! such flow either.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ruleset::TcpFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::probe::transport_checksum;
use crate::testbed::Endpoint;

/// A segment that has not arrived by then is lost. On one machine it takes
/// microseconds.
const PATIENCE: Duration = Duration::from_millis(250);
/// Length of a TCP header without options, in bytes (RFC 9293, 3.1), and TCP's
/// protocol number (IANA).
const TCP_HEADER: usize = 20;
const TCP: u8 = 6;

/// A segment without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgement: u32,
    /// The flags.
    pub flags: TcpFlags,
}

impl Segment {
    fn to_bytes(self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TCP_HEADER);
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.destination_port.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend([0x50, self.flags.0]); // a header of 5 words
        bytes.extend([0xff, 0xff, 0, 0, 0, 0]); // window; checksum; urgent pointer
        let checksum = transport_checksum(source, destination, TCP, &bytes);
        bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// Sends a segment from one endpoint's address to the other's.
///
/// # Errors
/// When one has no address of this family, or it cannot be sent.
pub fn send(from: &Endpoint, to: &Endpoint, v6: bool, segment: Segment) -> Result<()> {
    let address = |endpoint: &Endpoint| endpoint.address(v6).context("an address of this family");
    let (source, destination) = (address(from)?, address(to)?);
    let sent = from.namespace.run(|| {
        let socket = raw(v6)?;
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
        let bytes = segment.to_bytes(source, destination);
        socket.send_to(&bytes, &SockAddr::from(SocketAddr::new(destination, 0)))
    })?;
    sent.with_context(|| format!("send a segment from {} to {}", from.name, to.name))?;
    Ok(())
}

/// Receives every TCP segment that arrives at an endpoint.
#[derive(Debug)]
pub struct SegmentListener {
    socket: UdpSocket,
    v6: bool,
}

impl SegmentListener {
    /// At an endpoint, for one family.
    ///
    /// # Errors
    /// When the raw socket cannot be opened.
    pub fn at(endpoint: &Endpoint, v6: bool) -> Result<Self> {
        let socket = endpoint.namespace.run(|| raw(v6))??;
        Ok(Self { socket: UdpSocket::from(OwnedFd::from(socket)), v6 })
    }

    /// Whether a segment with these ports arrives soon. Skips all others.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn hear(&self, source_port: u16, destination_port: u16) -> Result<bool> {
        let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 2048];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.socket.set_read_timeout(Some(left))?;
            let length = match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("hear segments"),
            };
            // IPv4 packets come with their header (raw(7)), IPv6 ones without (RFC
            // 3542, 3).
            let skip = if self.v6 { 0 } else { usize::from(buffer[0] & 0x0f) * 4 };
            if buffer.get(skip..length).is_some_and(|segment| segment.starts_with(&ports)) {
                return Ok(true);
            }
        }
    }
}

fn raw(v6: bool) -> std::io::Result<Socket> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    Socket::new(domain, Type::RAW, Some(Protocol::TCP))
}
