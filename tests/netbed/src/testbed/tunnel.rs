//! A TUN device whose packets travel to other nodes in UDP.
//!
//! It sends packets that a node routes to the device to the node of the destination
//! pod. Packets from other nodes leave the device. It works like flannel's UDP
//! backend (v0.27, pkg/backend/udp), but in a thread of the tests. It looks only at
//! the destination.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::socket::{setsockopt, sockopt};
use samples::testbed_spec::{TestbedSpec, pod_address};
use tappers::{Interface, Tun};

use super::build::add_address;
use super::overlay::TUN;
use crate::net::Namespace;

/// flannel's port.
const PORT: u16 = 8285;
/// What fits into a frame of 1500 bytes beside headers of IPv4 and UDP.
const MTU: usize = 1472;
/// Tests send thousands of packets at once.
const QUEUE: usize = 20_000;
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

/// Forwards until it is dropped. That removes the device.
#[derive(Debug)]
pub(super) struct Tunnel {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

struct Forwarder {
    device: Tun,
    socket: UdpSocket,
    /// Other nodes: the first address of their pods in each family, and the node's
    /// address.
    nodes: Vec<([IpAddr; 2], SocketAddr)>,
}

impl Tunnel {
    /// Creates a device in the node's namespace.
    pub(super) fn new(spec: &TestbedSpec, node: usize, namespace: &Namespace) -> Result<Self> {
        let local = SocketAddr::new(spec.node_address(node, false), PORT);
        let (device, socket) = namespace
            .run(|| {
                let mut device = Tun::new_named(Interface::new(TUN)?)?;
                device.set_nonblocking(true)?;
                let socket = UdpSocket::bind(local)?;
                socket.set_nonblocking(true)?;
                std::io::Result::Ok((device, socket))
            })?
            .context("make a TUN device")?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
        let mut lines = format!("link set {TUN} mtu {MTU} txqueuelen {QUEUE} up\n");
        for v6 in [false, true] {
            let length = if v6 { 128 } else { 32 };
            lines.push_str(&add_address(pod_address(node, 0, v6), length, TUN));
        }
        namespace.ip(&lines)?;
        let others = (0..spec.nodes.len()).filter(|&other| other != node);
        let nodes = others.map(|other| {
            let at = SocketAddr::new(spec.node_address(other, false), PORT);
            ([false, true].map(|v6| pod_address(other, 0, v6)), at)
        });
        let forwarder = Forwarder { device, socket, nodes: nodes.collect() };
        let stop = Arc::new(EventFd::new()?);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            if let Err(error) = forwarder.run(&stopped) {
                eprintln!("a tunnel ended: {error:#}");
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

impl Forwarder {
    fn run(&self, stop: &EventFd) -> Result<()> {
        let mut buffer = [0; 65_536];
        loop {
            let ready = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut descriptors =
                [ready(stop.as_fd()), ready(self.device.as_fd()), ready(self.socket.as_fd())];
            poll(&mut descriptors, PollTimeout::NONE).context("poll")?;
            if descriptors[0].any().unwrap_or(true) {
                return Ok(());
            }
            while let Some(length) = some(self.device.recv(&mut buffer))? {
                let packet = &buffer[..length];
                if let Some(node) = destination(packet).and_then(|to| self.node_of(to)) {
                    some(self.socket.send_to(packet, node))?;
                }
            }
            while let Some(length) = some(self.socket.recv(&mut buffer))? {
                some(self.device.send(&buffer[..length]))?;
            }
        }
    }

    /// The node whose pods have addresses like this one. The addresses of one
    /// node's pods share their first half in IPv6 and their first three quarters in
    /// IPv4.
    fn node_of(&self, address: IpAddr) -> Option<SocketAddr> {
        let is_alike = |first: &IpAddr| match (first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                first.octets()[..3] == address.octets()[..3]
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                first.octets()[..8] == address.octets()[..8]
            }
            _ => false,
        };
        self.nodes.iter().find(|(pods, _)| pods.iter().any(is_alike)).map(|(_, node)| *node)
    }
}

/// The destination of a packet (RFC 791, 3.1; RFC 8200, 3).
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => packet.get(16..20)?.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        6 => packet.get(24..40)?.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

/// The result, or `None` if the call would have blocked. A packet is lost where
/// there is no room for it or no neighbour, as everywhere. A TUN device takes nothing
/// but IP packets: others are lost, too.
fn some(result: std::io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(None),
        Err(error) => Err(error).context("move a packet"),
    }
}
