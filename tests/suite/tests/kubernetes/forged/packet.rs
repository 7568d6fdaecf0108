//! Forged packets, and how they leave a pod.
//!
//! A tunnel's datagram is sent by the pod's own program, whose user has no capability.
//! A packet with a forged source needs CAP_NET_RAW; this process sends it in the pod's
//! network namespace. Never: a frame, or a second copy of a packet.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::testbed::Endpoint;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::scene::CONNECT;

/// `IPPROTO_RAW`: the caller writes the IP header (raw(7), ipv6(7)).
const RAW: i32 = 255;
/// VXLAN header with the network that flannel uses: flags with the bit I, VNI 1 (RFC
/// 7348, section 5; `defaultVNI` in pkg/backend/vxlan of flannel 0.28).
const VXLAN: [u8; 8] = [0x08, 0, 0, 0, 0, 0, 1, 0];
/// A hardware address of no device.
const NOBODY: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// What a node's VXLAN device with this hardware address unwraps to the packet.
pub fn vxlan(device: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let v6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
    let kind: [u8; 2] = if v6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    [&VXLAN[..], &device, &NOBODY, &kind, packet].concat()
}

/// A pod's `netexec` sends one datagram from a socket of its own. The request comes
/// from the pod's node, which always reaches its pods. The program waits some seconds
/// for an answer: it ends early when the stream is dropped.
pub fn dial(node: &Namespace, pod: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Result<TcpStream> {
    let mut request = String::new();
    bytes.iter().try_for_each(|byte| write!(request, "%{byte:02x}"))?;
    let path = format!("/dial?protocol=udp&host={}&port={}&request={request}", to.ip(), to.port());
    let stream = node.run(|| TcpStream::connect_timeout(&pod, CONNECT))?;
    let mut stream = stream.with_context(|| format!("reach a pod's program at {pod}"))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").context("ask a pod to send")?;
    Ok(stream)
}

/// Sends an IP packet as it is.
pub fn raw(from: &Endpoint, packet: &[u8], to: IpAddr) -> Result<()> {
    let sent = from.namespace.run(|| {
        let domain = if to.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(RAW)))?;
        socket.send_to(packet, &SockAddr::from(SocketAddr::new(to, 0)))
    })?;
    sent.with_context(|| format!("send a forged packet from {}", from.name)).map(drop)
}

/// Fails unless a program of the pod runs as this user, and no program of this user has
/// a capability (proc_pid_status(5)).
pub fn without_capabilities(pod: &Endpoint, user: u32) -> Result<()> {
    let mut found = 0;
    for process in pod.namespace.processes() {
        // A program that has ended meanwhile cannot send.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else {
            continue;
        };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.split_whitespace().next().unwrap_or_default().to_owned())
        };
        if field("Uid:") == Some(user.to_string()) {
            found += 1;
            for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
                let set = field(set).context("no capabilities in the status")?;
                ensure!(set.bytes().all(|digit| digit == b'0'), "{} has {set}", pod.name);
            }
        }
    }
    ensure!(found > 0, "no program of {} runs as user {user}", pod.name);
    Ok(())
}
