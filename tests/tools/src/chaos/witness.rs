//! Packets that are sent all the time, and whether they arrive.
//!
//! Each way is a stream of datagrams without answers, so that connection tracking takes
//! each for the first one of its flow, and the rules judge it.
//! Never: a way that is right in one state of the plan and wrong in another.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use netbed::testbed::Endpoint;

/// Time between two packets of a way.
const EVERY: Duration = Duration::from_millis(2);
/// How long a packet may be on its way, on a machine that is busy.
const TRAVEL: Duration = Duration::from_millis(500);
const PORT: u16 = 9000;

/// Whether packets of a way may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// Never.
    NotArrive,
    /// Always.
    Arrive,
}

/// One way. Dropping it ends it.
#[derive(Debug)]
struct Way {
    name: String,
    must: Must,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    arrived: AtomicU64,
    last: Mutex<Option<Instant>>,
    /// When packets arrived that must not.
    wrong: Mutex<Vec<Instant>>,
}

/// All ways.
#[derive(Debug, Default)]
pub struct Witness {
    ways: Vec<Way>,
    /// Times in which a program of others had deleted the rules.
    excused: Vec<(Instant, Instant)>,
    /// The longest time that a way was open in them.
    pub longest_excused: Duration,
    /// How many packets got through in them.
    pub excused_packets: usize,
}

impl Witness {
    /// Sends from one to the other, over each family that both have.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn watch(&mut self, from: &Endpoint, to: &Endpoint, must: Must) -> Result<()> {
        for v6 in [false, true] {
            let (Some(source), Some(target)) = (from.address(v6), to.address(v6)) else { continue };
            let number = u16::try_from(self.ways.len()).unwrap_or(0);
            let target = SocketAddr::new(target, PORT + number);
            let receiver = to.namespace.run(|| UdpSocket::bind(target))?.context("receive")?;
            let sender = from.namespace.run(|| UdpSocket::bind(SocketAddr::new(source, 0)))?;
            let name = format!("{} to {}, {target}", from.name, to.name);
            self.ways.push(Way::start(name, must, (sender.context("send")?, target), receiver)?);
        }
        Ok(())
    }

    /// Packets may get through in this time.
    pub fn excuse(&mut self, from: Instant, to: Instant) {
        self.excused.push((from, to));
    }

    /// Whether no packet arrived that must not.
    ///
    /// # Errors
    /// One did. The error names the way and the times.
    pub fn nothing_got_through(&mut self, start: Instant) -> Result<()> {
        for way in &self.ways {
            let wrong = std::mem::take(&mut *lock(&way.shared.wrong));
            let (excused, wrong): (Vec<Instant>, Vec<Instant>) = wrong
                .into_iter()
                .partition(|at| self.excused.iter().any(|(from, to)| from <= at && *at <= *to));
            self.excused_packets += excused.len();
            if let (Some(first), Some(last)) = (excused.first(), excused.last()) {
                self.longest_excused = self.longest_excused.max(*last - *first);
            }
            if let (Some(first), Some(last)) = (wrong.first(), wrong.last()) {
                bail!(
                    "an isolated pod was open: {} packets from {}, from {:.3} s to {:.3} s after \
                     the start; now it is {:.3} s",
                    wrong.len(),
                    way.name,
                    (*first - start).as_secs_f64(),
                    (*last - start).as_secs_f64(),
                    start.elapsed().as_secs_f64(),
                );
            }
        }
        Ok(())
    }

    /// The ways by which packets must arrive and have not lately.
    pub fn blocked(&self) -> Vec<&str> {
        let open = self.ways.iter().filter(|way| way.must == Must::Arrive);
        let is_blocked = |way: &&Way| lock(&way.shared.last).is_none_or(|at| at.elapsed() > TRAVEL);
        open.filter(is_blocked).map(|way| way.name.as_str()).collect()
    }

    /// Packets sent by ways that must be closed, and by ways that must be open; and how
    /// many arrived by the latter.
    pub fn counts(&self) -> [u64; 3] {
        let sum = |must, of: fn(&Shared) -> &AtomicU64| -> u64 {
            let ways = self.ways.iter().filter(|way| way.must == must);
            ways.map(|way| of(&way.shared).load(Ordering::Relaxed)).sum()
        };
        [
            sum(Must::NotArrive, |shared| &shared.sent),
            sum(Must::Arrive, |shared| &shared.sent),
            sum(Must::Arrive, |shared| &shared.arrived),
        ]
    }
}

impl Way {
    fn start(
        name: String,
        must: Must,
        (sender, target): (UdpSocket, SocketAddr),
        receiver: UdpSocket,
    ) -> Result<Self> {
        receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
        let shared = Arc::new(Shared::default());
        let (sending, receiving) = (Arc::clone(&shared), Arc::clone(&shared));
        let send = move || {
            while !sending.stop.load(Ordering::Relaxed) {
                // One that cannot be sent now is sent later.
                if sender.send_to(&[0; 8], target).is_ok() {
                    sending.sent.fetch_add(1, Ordering::Relaxed);
                }
                sleep(EVERY);
            }
        };
        let receive = move || {
            let mut buffer = [0; 16];
            while !receiving.stop.load(Ordering::Relaxed) {
                if receiver.recv(&mut buffer).is_ok() {
                    receiving.arrived.fetch_add(1, Ordering::Relaxed);
                    *lock(&receiving.last) = Some(Instant::now());
                    if must == Must::NotArrive {
                        lock(&receiving.wrong).push(Instant::now());
                    }
                }
            }
        };
        let threads = vec![thread::spawn(send), thread::spawn(receive)];
        Ok(Self { name, must, shared, threads })
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has printed its panic.
            let _ = thread.join();
        }
    }
}

/// A panic cannot leave these values half changed.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
