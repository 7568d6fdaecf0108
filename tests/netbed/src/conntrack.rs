//! Writes entries into the kernel's connection tracking, thousands at a time.
//!
//! The entries go into the network namespace of the calling thread. To read or
//! delete entries, use the crate `nft`.

use std::io::{IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use nft::{Tuple, TupleId};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvmsg, sendmsg,
    setsockopt, socket, sockopt,
};

/// NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
/// (include/uapi/linux/netfilter/nfnetlink_conntrack.h, as all numbers here).
const CT_NEW: u16 = 1 << 8;
/// NLM_F_REQUEST, NLM_F_EXCL, NLM_F_CREATE (include/uapi/linux/netlink.h).
const NEW_FLAGS: u16 = 0x1 | 0x200 | 0x400;
const NLA_F_NESTED: u16 = 1 << 15;
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const TIMEOUT: u16 = 7;
const MASTER: u16 = 14;
/// IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED
/// (include/uapi/linux/netfilter/nf_conntrack_common.h).
const LIVE: u32 = 0x2 | 0x4 | 0x8;
/// TCP_CONNTRACK_ESTABLISHED (.../nf_conntrack_tcp.h).
const ESTABLISHED: u8 = 3;
const TIMEOUT_SECONDS: u32 = 3600;
const MESSAGES_AT_ONCE: usize = 256;

/// A flow to create.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Direction of the first packet.
    pub original: Tuple,
    /// Direction of the reply.
    pub reply: Tuple,
    /// The flow that announced this one.
    pub master: Option<Tuple>,
}

impl Entry {
    /// A flow without address translation.
    pub fn plain(source: (IpAddr, u16), destination: (IpAddr, u16), protocol: u8) -> Self {
        Self::translated(source, destination, destination, protocol)
    }

    /// A flow to `destination` that is translated to `behind`.
    pub fn translated(
        source: (IpAddr, u16),
        destination: (IpAddr, u16),
        behind: (IpAddr, u16),
        protocol: u8,
    ) -> Self {
        let tuple = |from: (IpAddr, u16), to: (IpAddr, u16)| Tuple {
            source: from.0,
            destination: to.0,
            protocol,
            transport: TupleId::Ports { source: from.1, destination: to.1 },
        };
        Self { original: tuple(source, destination), reply: tuple(behind, source), master: None }
    }
}

/// Creates these flows. Each counts as answered.
///
/// # Errors
/// When the kernel refuses one: it already exists, or the table is full.
pub fn create(entries: &[Entry]) -> Result<()> {
    let (family, kind) = (AddressFamily::Netlink, SockType::Raw);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)
        .context("open a netlink socket")?;
    setsockopt(&socket, sockopt::SndBufForce, &(1 << 20))?;
    for entries in entries.chunks(MESSAGES_AT_ONCE) {
        let messages: Vec<u8> = entries.iter().flat_map(message).collect();
        let to = NetlinkAddr::new(0, 0);
        let parts = [IoSlice::new(&messages)];
        let sent = sendmsg(socket.as_raw_fd(), &parts, &[], MsgFlags::empty(), Some(&to))?;
        ensure!(sent == messages.len(), "sent {sent} bytes of {}", messages.len());
        check(&socket)?;
    }
    Ok(())
}

/// Without NLM_F_ACK the kernel answers only errors, before `sendmsg` returns.
fn check(socket: &OwnedFd) -> Result<()> {
    let mut buffer = [0; 8192];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    match recvmsg::<NetlinkAddr>(socket.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT) {
        Err(Errno::EAGAIN) => return Ok(()),
        Err(errno) => bail!("receive from the kernel: {errno}"),
        Ok(received) => ensure!(received.bytes >= 20, "the answer of the kernel is cut short"),
    }
    let code = i32::from_ne_bytes(buffer[16..20].try_into()?);
    bail!("the kernel refuses an entry: {}", Errno::from_raw(-code))
}

fn message(entry: &Entry) -> Vec<u8> {
    let mut attributes = tuple(ORIGINAL, &entry.original);
    attributes.extend(tuple(REPLY, &entry.reply));
    attributes.extend(attribute(STATUS, &LIVE.to_be_bytes()));
    attributes.extend(attribute(TIMEOUT, &TIMEOUT_SECONDS.to_be_bytes()));
    if entry.original.protocol == 6 {
        // CTA_PROTOINFO_TCP, CTA_PROTOINFO_TCP_STATE.
        let state = nested(1, &attribute(1, &[ESTABLISHED]));
        attributes.extend(nested(PROTOCOL_INFO, &state));
    }
    attributes.extend(entry.master.iter().flat_map(|master| tuple(MASTER, master)));
    // AF_INET, AF_INET6; NFNETLINK_V0; no resource.
    let family = if entry.original.source.is_ipv4() { 2 } else { 10 };
    let mut message = Vec::new();
    message.extend((20 + attributes.len() as u32).to_ne_bytes());
    message.extend(CT_NEW.to_ne_bytes());
    message.extend(NEW_FLAGS.to_ne_bytes());
    message.extend([0; 8]); // number, port
    message.extend([family, 0, 0, 0]);
    message.extend(attributes);
    message
}

fn tuple(kind: u16, tuple: &Tuple) -> Vec<u8> {
    let (first, source, destination) = match (tuple.source, tuple.destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (1, from.octets().to_vec(), to.octets().to_vec()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (3, from.octets().to_vec(), to.octets().to_vec()),
        _ => unreachable!("both ends are of one family"),
    };
    let mut addresses = attribute(first, &source);
    addresses.extend(attribute(first + 1, &destination));
    let mut protocol = attribute(1, &[tuple.protocol]);
    if let TupleId::Ports { source, destination } = tuple.transport {
        protocol.extend(attribute(2, &source.to_be_bytes()));
        protocol.extend(attribute(3, &destination.to_be_bytes()));
    }
    nested(kind, &[nested(1, &addresses), nested(2, &protocol)].concat())
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, value)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 7);
    bytes.extend((value.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
