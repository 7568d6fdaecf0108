//! Sends probes as fast as one processor can.
//!
//! All probes are interleaved, each packet from another source port. It counts the
//! packets that the kernel accepted. It reads no answers and sends no packet twice.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, MultiHeaders, SockFlag, SockProtocol, SockType,
    SockaddrIn, sendmmsg, socket,
};

use super::packet::Packet;
use super::{Probe, Range};

/// Packets per system call. Few, so that a commit waits only briefly.
const BURST: usize = 16;

/// The source ports in use: all except the privileged ones.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=u16::MAX;

/// The state of the fire, as other threads see it.
#[derive(Debug, Default)]
pub struct Fire {
    burning: AtomicBool,
    /// Packets that the kernel took.
    sent: AtomicU64,
    /// System calls that returned.
    bursts: AtomicU64,
}

impl Fire {
    /// Starts or stops the fire.
    pub fn burn(&self, burning: bool) {
        self.burning.store(burning, Ordering::Release);
    }

    /// Whether packets are being sent.
    pub fn burns(&self) -> bool {
        self.burning.load(Ordering::Acquire)
    }

    /// Packets sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// A moment to pass to [`Fire::landed`].
    pub fn moment(&self) -> u64 {
        self.bursts.load(Ordering::Acquire)
    }

    /// Waits until all packets sent before that moment have ended. A packet travels
    /// its whole way inside the system call that sends it, on the sender's
    /// processor.
    pub fn landed(&self, moment: u64) {
        while self.burns() && self.moment() == moment {
            std::hint::spin_loop();
        }
    }
}

/// Fires until it is stopped. The packets of probe `n` carry the tag `n + 1`.
///
/// # Errors
/// When a socket cannot be opened, or when the kernel refuses a packet for any
/// reason but a full queue.
pub fn shoot(range: &Range, probes: &[Probe], fire: &Fire) -> Result<()> {
    let mut magazines = Vec::new();
    for pod in 0..range.pods().len() {
        let own = probes.iter().zip(1..).filter(|(probe, _)| probe.source == pod);
        let own: Vec<(&Probe, u16)> = own.collect();
        if !own.is_empty() {
            magazines.push(Magazine::load(range, pod, &own)?);
        }
    }
    let mut ports = PORTS.cycle();
    while fire.burns() {
        for magazine in &mut magazines {
            let taken = magazine.fire(&mut ports)?;
            fire.sent.fetch_add(taken as u64, Ordering::AcqRel);
            fire.bursts.fetch_add(1, Ordering::AcqRel);
        }
    }
    Ok(())
}

/// What one pod sends with one system call.
#[derive(Debug)]
struct Magazine {
    socket: OwnedFd,
    packets: Vec<Packet>,
    targets: Vec<Option<SockaddrIn>>,
    headers: MultiHeaders<SockaddrIn>,
}

impl Magazine {
    fn load(range: &Range, pod: usize, probes: &[(&Probe, u16)]) -> Result<Self> {
        let source: Ipv4Addr = range.source(pod);
        // Whole rounds, so that every probe of this pod is sent equally often.
        let rounds = BURST.div_ceil(probes.len());
        let round = probes.iter().cycle().take(rounds * probes.len());
        let (packets, targets): (Vec<_>, Vec<_>) = round
            .map(|(probe, tag)| {
                let packet = Packet::new(source, probe.destination, probe.port, *tag);
                let target = SocketAddrV4::new(probe.destination, 0);
                (packet, Some(SockaddrIn::from(target)))
            })
            .unzip();
        // IPPROTO_RAW: we write the IPv4 header ourselves (raw(7)).
        let open = || {
            let (family, kind) = (AddressFamily::Inet, SockType::Raw);
            socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)
        };
        let socket = range.pods()[pod].run(open)?.context("open a raw socket")?;
        let headers = MultiHeaders::preallocate(packets.len(), None);
        Ok(Self { socket, packets, targets, headers })
    }

    /// Makes one system call. Returns how many packets the kernel took.
    fn fire(&mut self, ports: &mut impl Iterator<Item = u16>) -> Result<usize> {
        for (packet, port) in self.packets.iter_mut().zip(ports) {
            packet.set_source_port(port);
        }
        let slices: Vec<[IoSlice; 1]> =
            self.packets.iter().map(|packet| [IoSlice::new(packet.bytes())]).collect();
        let nothing: [ControlMessage; 0] = [];
        let (socket, flags) = (self.socket.as_raw_fd(), MsgFlags::empty());
        match sendmmsg(socket, &mut self.headers, &slices, &self.targets, nothing, flags) {
            Ok(taken) => Ok(taken.count()),
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error).context("send packets"),
        }
    }
}
