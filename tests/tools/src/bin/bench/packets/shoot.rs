//! Sends packets and measures how long one takes.
//!
//! A packet travels its whole way to the receiver's device inside the system call that
//! sends it, on the sender's processor. So do the packets of a TCP connection, in both
//! directions: its two ends are sockets of one thread.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use netbed::fire::packet::Packet;
use netbed::net::Namespace;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType,
    SockaddrIn, sendmmsg, socket,
};
use nix::unistd::Pid;

use super::bed::{ESTABLISHED, SENDER};
use crate::figures::measured;

/// Packets per system call.
const BURST: usize = 50;
/// System calls per slice.
const BURSTS: usize = 80;
/// Packets per slice.
pub const SLICE: usize = BURST * BURSTS;
/// TCP connects per slice.
const CONNECTS: usize = 200;
/// The first source port of new flows. No two flows of a slice have the same one.
const FIRST: u16 = 41_000;

/// The flows of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// Each packet opens one.
    New,
    /// All packets belong to one.
    Established,
}

/// What a pod sends.
pub struct Gun {
    socket: OwnedFd,
}

impl Gun {
    pub fn new(sender: &Namespace) -> Result<Self> {
        // IPPROTO_RAW: we write the IPv4 header ourselves (raw(7)).
        let open = || {
            let (family, kind) = (AddressFamily::Inet, SockType::Raw);
            socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
        };
        Ok(Self { socket: sender.run(open)?.context("open a raw socket")? })
    }

    /// Sends a slice. Returns nanoseconds of CPU time per packet.
    pub fn fire(&self, flows: Flows, target: Ipv4Addr) -> Result<f64> {
        let (result, cost) = measured(|| self.slice(flows, target))?;
        result.map(|()| cost.cpu.as_nanos() as f64 / SLICE as f64)
    }

    fn slice(&self, flows: Flows, target: Ipv4Addr) -> Result<()> {
        let to = Some(SockaddrIn::from(SocketAddrV4::new(target, 0)));
        let targets = [to; BURST];
        let mut headers = MultiHeaders::preallocate(BURST, None);
        let mut packets = vec![Packet::new(SENDER, target, ESTABLISHED, 1); BURST];
        let mut ports = FIRST..;
        for _ in 0..BURSTS {
            for packet in &mut packets {
                packet.set_source_port(match flows {
                    Flows::New => ports.next().context("out of ports")?,
                    Flows::Established => ESTABLISHED,
                });
            }
            let slices: Vec<[IoSlice; 1]> =
                packets.iter().map(|packet| [IoSlice::new(packet.bytes())]).collect();
            let nothing: [ControlMessage; 0] = [];
            let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::empty());
            let sent = sendmmsg(socket, &mut headers, &slices, targets, nothing, flags)?;
            ensure!(sent.count() == BURST, "the kernel did not take all packets");
        }
        Ok(())
    }
}

/// Opens and closes a slice of TCP connections, each in full. Returns nanoseconds of CPU
/// time per connection, of both ends together.
pub fn connect(sender: &Namespace, listener: &TcpListener, target: Ipv4Addr) -> Result<f64> {
    let connects = || -> Result<()> {
        for _ in 0..CONNECTS {
            let near = TcpStream::connect((target, ESTABLISHED)).context("connect")?;
            let (far, _) = listener.accept().context("accept")?;
            // In this order: the port that stays in use is one of many.
            drop(near);
            drop(far);
        }
        Ok(())
    };
    let (result, cost) = sender.run(|| measured(connects))??;
    result.map(|()| cost.cpu.as_nanos() as f64 / CONNECTS as f64)
}

/// Keeps this thread on one processor.
pub fn stay() -> Result<()> {
    let this = Pid::from_raw(0);
    let usable = sched_getaffinity(this).context("ask for the processors")?;
    let last = (0..CpuSet::count()).rev().find(|&cpu| usable.is_set(cpu).unwrap_or(false));
    let mut only = CpuSet::new();
    only.set(last.context("no processor")?)?;
    sched_setaffinity(this, &only).context("choose a processor")
}
