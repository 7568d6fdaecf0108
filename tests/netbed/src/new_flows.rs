//! Asks a server every millisecond, each time in a new flow.
//!
//! The UDP server must echo what follows `echo `, as agnhost's netexec does. You
//! get the times at which the answered questions were sent.
//! Never: one port for two questions within 50 s. Connection tracking keeps such a
//! flow for 30 s (`nf_conntrack_udp_timeout`) and lets its packets pass whatever
//! the rules are now.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::net::Namespace;
use crate::testbed::Endpoint;

/// Time between two questions.
pub const EVERY: Duration = Duration::from_millis(1);
/// The source ports, used in turn. The kernel's own choice is random and would soon
/// repeat a port that was answered.
const PORTS: std::ops::Range<u16> = 10_000..60_000;
/// How long to wait for an answer.
const WINDOW: Duration = Duration::from_millis(100);

/// Asks questions until this value is dropped.
#[derive(Debug)]
pub struct NewFlows {
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Progress>>,
    thread: Option<JoinHandle<()>>,
}

/// The result of the questions so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// How many questions were sent.
    pub sent: u64,
    /// How many were answered.
    pub answered: u64,
    /// How many were sent after the last answered one.
    pub unanswered: u64,
    /// When the first answered question was sent.
    pub first: Option<Instant>,
    /// When the last answered question was sent.
    pub last: Option<Instant>,
}

struct Question {
    socket: UdpSocket,
    number: u64,
    sent: Instant,
}

impl NewFlows {
    /// Starts to ask. Stops after `enough` answers.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn start(from: &Endpoint, to: SocketAddr, enough: u64) -> Result<Self> {
        let namespace = Namespace::lent(from.namespace.path())?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(Mutex::new(Progress::default()));
        let (ended, shared) = (Arc::clone(&stop), Arc::clone(&asked));
        let name = from.name.clone();
        let thread = thread::spawn(move || {
            let done = namespace.run(|| ask(to, enough, &ended, &shared)).and_then(|done| done);
            if let Err(error) = done {
                eprintln!("{name} stopped asking {to}: {error:#}");
            }
        });
        Ok(Self { stop, asked, thread: Some(thread) })
    }

    /// The result of the questions so far.
    pub fn asked(&self) -> Progress {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NewFlows {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already printed the reason.
            let _ = thread.join();
        }
    }
}

/// Runs in the namespace. Asks until it must stop.
fn ask(to: SocketAddr, enough: u64, stop: &AtomicBool, asked: &Mutex<Progress>) -> Result<()> {
    let mut open: Vec<Question> = Vec::new();
    let mut next = Instant::now();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        open.retain(|question| question.sent + WINDOW > now);
        let answered = asked.lock().unwrap_or_else(PoisonError::into_inner).answered;
        if answered >= enough {
            sleep(EVERY);
            continue;
        }
        if now >= next {
            number += 1;
            let question = Question::send(to, number).context("ask")?;
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.sent += u64::from(question.is_some());
            asked.unanswered += u64::from(question.is_some());
            drop(asked);
            open.extend(question);
            // Missed questions are not sent later.
            next = (next + EVERY).max(now);
        }
        hear(&mut open, number, asked)?;
    }
    Ok(())
}

/// Waits a moment for answers.
fn hear(open: &mut Vec<Question>, newest: u64, asked: &Mutex<Progress>) -> Result<()> {
    let mut waiting: Vec<PollFd<'_>> =
        open.iter().map(|one| PollFd::new(one.socket.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut waiting, PollTimeout::from(1u8)).context("wait for answers")?;
    let ready: Vec<bool> = waiting.iter().map(|one| one.any().unwrap_or(false)).collect();
    drop(waiting);
    let mut ready = ready.into_iter();
    // A refusal by ICMP counts as a refusal.
    let done = open.extract_if(.., |_| ready.next().unwrap_or(false));
    for question in done.filter(Question::is_answered) {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.answered += 1;
        asked.unanswered = asked.unanswered.min(newest - question.number);
        asked.first.get_or_insert(question.sent);
        asked.last = asked.last.max(Some(question.sent));
    }
    Ok(())
}

impl Question {
    /// `None` when it cannot be sent now.
    fn send(to: SocketAddr, number: u64) -> std::io::Result<Option<Self>> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let port = PORTS.start + (number % PORTS.len() as u64) as u16;
        let socket = match UdpSocket::bind((any, port)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(None),
            socket => socket?,
        };
        socket.set_nonblocking(true)?;
        let sent = Instant::now();
        // Without a route or a neighbour it fails. That counts as no answer.
        let done =
            socket.connect(to).and_then(|()| socket.send(format!("echo {number}").as_bytes()));
        Ok(done.is_ok().then_some(Self { socket, number, sent }))
    }

    fn is_answered(&self) -> bool {
        let mut answer = [0; 32];
        let length = self.socket.recv(&mut answer).unwrap_or(0);
        answer[..length] == *self.number.to_string().as_bytes()
    }
}
