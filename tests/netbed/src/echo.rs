//! Long-lived flows: numbered messages and their echoes, one after the other.
//!
//! Counts how many messages were sent, how many came back, and when the last one
//! did. Each flow has its own socket. A message counts as lost only after plenty of
//! time.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::testbed::Endpoint;

/// Time between an echo and the next message.
const PAUSE: Duration = Duration::from_millis(1);
/// Without an echo, the next message follows after this time.
const SLICE: Duration = Duration::from_millis(50);
/// How long a stream waits for echoes when it ends.
const PATIENCE: Duration = Duration::from_secs(3);

/// Echoes everything on one port, over UDP and TCP.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Listens until it is dropped.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(endpoint: &Endpoint, address: IpAddr, port: u16) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let at = SocketAddr::from((address, port));
        let bound = endpoint
            .namespace
            .run(|| std::io::Result::Ok((UdpSocket::bind(at)?, TcpListener::bind(at)?)))?;
        let (udp, tcp) = bound.context("listen")?;
        udp.set_read_timeout(Some(SLICE))?;
        tcp.set_nonblocking(true)?;
        let ended = Arc::clone(&stop);
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(&buffer[..length], from);
                }
            }
        });
        let ended = Arc::clone(&stop);
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match tcp.accept() {
                    Ok((stream, _)) => drop(thread::spawn(move || echo(stream))),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
        Ok(Self { stop })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs until the other end closes.
fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while stream.set_nonblocking(false).is_ok() {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => drop(stream.write_all(&buffer[..length])),
        }
    }
}

/// The result of a stream.
#[derive(Clone, Debug)]
pub struct Report {
    /// Messages sent.
    pub sent: u64,
    /// Messages without an echo so far.
    pub missing: BTreeSet<u64>,
    /// When the last echo arrived.
    pub last: Instant,
}

/// An open flow. Dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    report: Arc<Mutex<Report>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Stream {
    /// Over UDP.
    ///
    /// # Errors
    /// When the first message does not come back.
    pub fn udp(from: &Endpoint, to: SocketAddr) -> Result<Self> {
        let socket = from.namespace.run(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            socket.set_read_timeout(Some(SLICE))?;
            std::io::Result::Ok(socket)
        })?;
        Self::start(Link::Udp(socket?)).with_context(|| format!("{} to {to}/UDP", from.name))
    }

    /// Over TCP.
    ///
    /// # Errors
    /// When the connection fails or the first message does not come back.
    pub fn tcp(from: &Endpoint, to: SocketAddr) -> Result<Self> {
        let stream = from.namespace.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
        let stream = stream.with_context(|| format!("connect {} to {to}", from.name))?;
        stream.set_read_timeout(Some(SLICE))?;
        stream.set_nodelay(true)?;
        Self::start(Link::Tcp(stream)).with_context(|| format!("{} to {to}/TCP", from.name))
    }

    fn start(mut link: Link) -> Result<Self> {
        let report = Report { sent: 0, missing: BTreeSet::new(), last: Instant::now() };
        let (report, stop) = (Arc::new(Mutex::new(report)), Arc::new(AtomicBool::new(false)));
        let (shared, ended) = (Arc::clone(&report), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                link.step(&shared, true);
            }
            let end = Instant::now();
            while !lock(&shared).missing.is_empty() && end.elapsed() < PATIENCE {
                link.step(&shared, false);
            }
        });
        let stream = Self { report, stop, thread: Some(thread) };
        let begun = Instant::now();
        while stream.echoes() == 0 {
            ensure!(begun.elapsed() < PATIENCE, "no echo");
            thread::sleep(PAUSE);
        }
        Ok(stream)
    }

    /// How many messages have come back.
    pub fn echoes(&self) -> u64 {
        let report = lock(&self.report);
        report.sent - report.missing.len() as u64
    }

    /// Waits until this many more messages have come back. `false` if they do not
    /// within a long time.
    pub fn goes_on(&self, more: u64) -> bool {
        let (begun, wanted) = (Instant::now(), self.echoes() + more);
        while self.echoes() < wanted && begun.elapsed() < PATIENCE {
            thread::sleep(PAUSE);
        }
        self.echoes() >= wanted
    }

    /// Stops sending.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops sending, and waits for the missing echoes.
    pub fn finish(mut self) -> Report {
        self.end();
        lock(&self.report).clone()
    }

    fn end(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end();
    }
}

impl Link {
    /// Sends a message if one is due, and waits a moment for an echo.
    fn step(&mut self, report: &Mutex<Report>, send: bool) {
        if send {
            let number = {
                let mut report = lock(report);
                report.sent += 1;
                let number = report.sent;
                report.missing.insert(number);
                number
            };
            let message = number.to_be_bytes();
            // A message that cannot be sent does not come back either.
            let _ = match self {
                Self::Udp(socket) => socket.send(&message).map(|_| ()),
                Self::Tcp(stream) => stream.write_all(&message),
            };
        }
        let mut echo = [0; 8];
        let received = match self {
            Self::Udp(socket) => socket.recv(&mut echo).map(|_| ()),
            Self::Tcp(stream) => stream.read_exact(&mut echo),
        };
        match received {
            Ok(()) => {
                let mut report = lock(report);
                report.missing.remove(&u64::from_be_bytes(echo));
                report.last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => thread::sleep(SLICE),
        }
        thread::sleep(PAUSE);
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
