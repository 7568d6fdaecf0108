//! One run: sends everything, then listens until nothing more arrives.
//!
//! Returns how far each flow came.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, SockAddr, Socket, Type};

use super::doors::{self, Door, Kind};
use super::flow::{Flow, Knock, Seen};
use super::packet::{Echo, Sctp};
use crate::testbed::Testbed;

/// A packet that does not arrive within this time after the last arrival is lost.
/// On one machine a packet takes microseconds. Also less than the 1 s after which
/// a client without an answer sends a second SYN.
pub(super) const QUIET: Duration = Duration::from_millis(250);
/// The longest run.
const LONGEST: Duration = Duration::from_secs(10);

struct Run<'a> {
    doors: &'a [Door],
    flows: &'a [Flow],
    /// The source port or echo identifier, and the upper half of each flow's
    /// number.
    number: u16,
    seen: Vec<Seen>,
    /// UDP sockets that send questions, by source and family.
    askers: BTreeMap<(usize, bool), UdpSocket>,
    connecting: Vec<(usize, Socket)>,
}

pub(super) fn run(
    cluster: &Testbed,
    doors: &[Door],
    flows: &[Flow],
    number: u16,
) -> Result<Vec<Seen>> {
    ensure!(flows.len() <= usize::from(u16::MAX), "too many flows for one run");
    let mut run = Run {
        doors,
        flows,
        number,
        seen: vec![Seen::Nothing; flows.len()],
        askers: BTreeMap::new(),
        connecting: Vec::new(),
    };
    run.send_all(cluster)?;
    run.listen()?;
    Ok(run.seen)
}

impl Run<'_> {
    /// Sends from each source in turn, inside its namespace.
    fn send_all(&mut self, cluster: &Testbed) -> Result<()> {
        for (from, endpoint) in cluster.endpoints().iter().enumerate() {
            let flows = self.flows;
            let mine = flows.iter().enumerate().filter(|(_, flow)| flow.from == from);
            endpoint.namespace.run(|| {
                for (index, flow) in mine {
                    self.send(cluster, index, *flow)
                        .with_context(|| format!("send {}", flow.describe(cluster)))?;
                }
                anyhow::Ok(())
            })??;
        }
        Ok(())
    }

    fn send(&mut self, cluster: &Testbed, index: usize, flow: Flow) -> Result<()> {
        let address = |index: usize| {
            cluster.endpoints()[index].address(flow.v6).context("no address of this family")
        };
        let (from, to) = (address(flow.from)?, address(flow.to)?);
        let number = self.flow_number(index);
        match flow.knock {
            Knock::Tcp(port) => {
                let socket = connect(SocketAddr::new(to, port))?;
                self.connecting.push((index, socket));
            }
            Knock::Udp(port) => {
                let key = (flow.from, flow.v6);
                if !self.askers.contains_key(&key) {
                    self.askers.insert(key, doors::udp(SocketAddr::new(from, self.number))?);
                }
                sent(self.askers[&key].send_to(&number.to_be_bytes(), (to, port)))?;
            }
            Knock::Sctp(port) => {
                let init = Sctp {
                    source_port: self.number,
                    destination_port: port,
                    answer: false,
                    verification_tag: 0,
                    initiate_tag: number,
                };
                sent(self.raw_door(&flow)?.send_to(&init.to_bytes(), (to, 0)))?;
            }
            Knock::Icmp => {
                let echo = Echo { v6: flow.v6, reply: false, identifier: self.number, number };
                sent(self.raw_door(&flow)?.send_to(&echo.to_bytes(), (to, 0)))?;
            }
        }
        Ok(())
    }

    fn raw_door(&self, flow: &Flow) -> Result<&UdpSocket> {
        self.doors
            .iter()
            .filter(|door| door.endpoint == flow.from && door.v6 == flow.v6)
            .find_map(|door| match (&door.kind, flow.knock) {
                (Kind::Sctp(socket), Knock::Sctp(_)) | (Kind::Icmp(socket), Knock::Icmp) => {
                    Some(socket)
                }
                _ => None,
            })
            .context("this kind of probe was not announced")
    }

    fn flow_number(&self, index: usize) -> u32 {
        u32::from(self.number) << 16 | u32::try_from(index).unwrap_or_default()
    }

    /// Records that a flow's packet arrived at an endpoint. Ignores the numbers of
    /// other runs and other programs.
    fn note(&mut self, number: u32, endpoint: usize, seen: Seen) -> Result<bool> {
        if number >> 16 != u32::from(self.number) {
            return Ok(false);
        }
        let index = (number & 0xffff) as usize;
        let Some(flow) = self.flows.get(index) else { return Ok(false) };
        let right = if seen == Seen::Answered { flow.from } else { flow.to };
        ensure!(endpoint == right, "{flow:?} arrived at endpoint {endpoint}");
        self.seen[index] = self.seen[index].max(seen);
        Ok(true)
    }

    fn listen(&mut self) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < LONGEST
            && self.seen.iter().any(|&seen| seen != Seen::Answered)
            && self.wait()?
        {}
        Ok(())
    }

    /// Handles what arrives. Returns false when nothing arrived for [`QUIET`].
    fn wait(&mut self) -> Result<bool> {
        let ready = self.poll()?;
        if ready.is_empty() {
            return Ok(false);
        }
        let doors = self.doors;
        let askers: Vec<_> = self.askers.keys().copied().collect();
        let (mut answered, first_connecting) = (Vec::new(), doors.len() + askers.len());
        for index in ready {
            if let Some(door) = doors.get(index) {
                self.at_door(door)?;
            } else if let Some(&(endpoint, v6)) = askers.get(index - doors.len()) {
                self.at_asker(endpoint, v6)?;
            } else {
                answered.push(index - first_connecting);
            }
        }
        for position in answered.into_iter().rev() {
            let (index, socket) = self.connecting.swap_remove(position);
            self.seen[index] = match socket.take_error()?.map(|error| error.kind()) {
                None => Seen::Answered,
                // The destination itself refused, so the packet arrived there.
                Some(ErrorKind::ConnectionRefused) => Seen::Arrived,
                Some(_) => Seen::Nothing,
            };
        }
        Ok(true)
    }

    /// Positions of what is ready: doors, then askers, then connections.
    fn poll(&self) -> Result<Vec<usize>> {
        let reading =
            self.doors.iter().map(Door::as_fd).chain(self.askers.values().map(AsFd::as_fd));
        let mut descriptors: Vec<PollFd<'_>> =
            reading.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        descriptors.extend(
            self.connecting
                .iter()
                .map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLOUT)),
        );
        let timeout = PollTimeout::try_from(QUIET).context("poll timeout")?;
        poll(&mut descriptors, timeout).context("poll")?;
        Ok(descriptors
            .iter()
            .enumerate()
            .filter(|(_, descriptor)| descriptor.any().unwrap_or(true))
            .map(|(position, _)| position)
            .collect())
    }

    fn at_door(&mut self, door: &Door) -> Result<()> {
        let mut buffer = [0; 256];
        match &door.kind {
            // The client notices that it is connected. This only makes room for the
            // next one.
            Kind::Tcp(listener) => while listener.accept().is_ok() {},
            Kind::Udp(socket) => {
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let question = &buffer[..length];
                    if self.note(read_number(question), door.endpoint, Seen::Arrived)? {
                        let _ = socket.send_to(question, from);
                    }
                }
            }
            Kind::Sctp(socket) => {
                while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let bytes = doors::payload(&buffer[..length], door.v6);
                    let Some(packet) = Sctp::from_bytes(bytes) else { continue };
                    let seen = if packet.answer { Seen::Answered } else { Seen::Arrived };
                    let ours = self.note(packet.initiate_tag, door.endpoint, seen)?;
                    if ours && !packet.answer {
                        let _ = socket.send_to(&answer(packet).to_bytes(), (from.ip(), 0));
                    }
                }
            }
            Kind::Icmp(socket) => {
                while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                    let bytes = doors::payload(&buffer[..length], door.v6);
                    let Some(echo) = Echo::from_bytes(bytes, door.v6) else { continue };
                    let seen = if echo.reply { Seen::Answered } else { Seen::Arrived };
                    self.note(echo.number, door.endpoint, seen)?;
                }
            }
        }
        Ok(())
    }

    fn at_asker(&mut self, endpoint: usize, v6: bool) -> Result<()> {
        let mut buffer = [0; 16];
        loop {
            let Some(asker) = self.askers.get(&(endpoint, v6)) else { return Ok(()) };
            let Ok((length, _)) = asker.recv_from(&mut buffer) else { return Ok(()) };
            self.note(read_number(&buffer[..length]), endpoint, Seen::Answered)?;
        }
    }
}

/// Starts to connect. Closing the socket sends a reset, so that nothing lingers.
fn connect(to: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&SockAddr::from(to)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(socket)
}

/// The INIT ACK to an INIT.
fn answer(init: Sctp) -> Sctp {
    Sctp {
        source_port: init.destination_port,
        destination_port: init.source_port,
        answer: true,
        verification_tag: init.initiate_tag,
        initiate_tag: init.initiate_tag,
    }
}

fn read_number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

impl Door {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(listener) => listener.as_fd(),
            Kind::Udp(socket) | Kind::Sctp(socket) | Kind::Icmp(socket) => socket.as_fd(),
        }
    }
}

/// What the sender's own output hook drops was sent, and does not arrive: the sender gets
/// EPERM (`nf_hook_slow`, net/netfilter/core.c, Linux 6.18).
fn sent(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result.map(drop),
    }
}
