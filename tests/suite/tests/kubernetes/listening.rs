//! What a pod hears of others that may not be heard, from their start on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::testbed::Endpoint;

/// The port where upstream's test server answers datagrams, and the question.
const UDP: u16 = 8081;
const QUESTION: &[u8] = b"hostname\n";
/// Pause between two questions to the same address.
const EVERY: Duration = Duration::from_millis(10);
/// The lowest address that a node gives to a pod. Each attempt takes another one.
const LOWEST: u8 = 2;
const ATTEMPTS: usize = 3;

/// Asks and listens for as long as this value lives.
pub struct Listening {
    port: u16,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    answers: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// What was heard.
pub struct Heard {
    pods: usize,
    deleted: usize,
    sent: u64,
    answers: u64,
    asked: u64,
}

impl Heard {
    /// How many packets were wrong.
    pub const fn wrong(&self) -> u64 {
        self.sent + self.answers
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pods, deleted, sent, answers, asked } = self;
        write!(
            f,
            "{pods} pods, agents deleted {deleted} times: {sent} packets heard of them, {answers} \
             answers to {asked} questions"
        )
    }
}

impl Listening {
    /// As this pod, to the first addresses of node 1.
    pub fn start(from: &Endpoint, pods: usize) -> Result<Self> {
        let open = || from.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))?.context("a socket");
        let (hears, asks) = (open()?, open()?);
        for socket in [&hears, &asks] {
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        }
        let port = hears.local_addr()?.port();
        let stop = Arc::new(AtomicBool::new(false));
        let [sent, answers, asked] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
        let last = u8::try_from(usize::from(LOWEST) + 2 + ATTEMPTS * pods).unwrap_or(254);
        let questions = asks.try_clone()?;
        let threads = vec![
            count(hears, Arc::clone(&stop), Arc::clone(&sent), b"wrong"),
            count(asks, Arc::clone(&stop), Arc::clone(&answers), b"first-"),
            ask(questions, Arc::clone(&stop), Arc::clone(&asked), last),
        ];
        Ok(Self { port, stop, sent, answers, asked, threads })
    }

    /// Where it hears.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What was heard until now.
    pub fn end(mut self, pods: usize, deleted: usize) -> Result<Heard> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok().context("a thread panicked")?;
        }
        let [sent, answers, asked] =
            [&self.sent, &self.answers, &self.asked].map(|one| one.load(Ordering::Relaxed));
        Ok(Heard { pods, deleted, sent, answers, asked })
    }
}

fn count(
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    heard: Arc<AtomicU64>,
    start: &'static [u8],
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while !stop.load(Ordering::Relaxed) {
            let length = socket.recv(&mut buffer);
            if length.is_ok_and(|length| buffer[..length].starts_with(start)) {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}

fn ask(
    socket: UdpSocket,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    last: u8,
) -> JoinHandle<()> {
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            for host in LOWEST..last {
                // What cannot be sent now is sent later.
                let address = IpAddr::V4(Ipv4Addr::new(10, 244, 1, host));
                let sent = socket.send_to(QUESTION, SocketAddr::new(address, UDP));
                asked.fetch_add(u64::from(sent.is_ok()), Ordering::Relaxed);
            }
            sleep(EVERY);
        }
    })
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
