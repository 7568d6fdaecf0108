//! A stream of datagrams that shows when a change took hold.
//!
//! In: two endpoints and a port. Out: when the stream stopped arriving, or
//! began to, after a moment. Never: an answer; connection tracking takes a
//! flow without one for new at each packet (`nf_ct_get`, IP_CT_NEW until a
//! reply was seen), so every datagram is judged by the rules.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cluster::Endpoint;

/// Between two datagrams.
pub const EVERY: Duration = Duration::from_micros(250);
/// As long a silence is no accident,
const SILENCE: Duration = Duration::from_millis(100);
/// nor are so many datagrams lost in a row: a sender that nobody lets run is
/// silent, too.
const LOST: u64 = 100;
/// How long to wait for a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream, as long as this value lives.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    /// How many datagrams were sent.
    sent: Arc<AtomicU64>,
    /// When datagrams arrived, oldest first.
    arrived: Arc<Mutex<Vec<Instant>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Begins to send.
    ///
    /// # Errors
    /// When a socket cannot be opened, or the endpoints have no address of
    /// this family.
    pub fn start(from: &Endpoint, to: &Endpoint, v6: bool, port: u16) -> Result<Self> {
        let address = |endpoint: &Endpoint| endpoint.address(v6).context("no such address");
        let target = SocketAddr::new(address(to)?, port);
        let source = SocketAddr::new(address(from)?, 0);
        let receiver = to.namespace.run(|| UdpSocket::bind(target))?.context("receive")?;
        let sender = from.namespace.run(|| UdpSocket::bind(source))?.context("send")?;
        receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let (sending, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let send = move || {
            while !sending.load(Ordering::Relaxed) {
                // What cannot be sent now, is later.
                let _ = sender.send_to(&[0; 8], target);
                count.fetch_add(1, Ordering::Relaxed);
                sleep(EVERY);
            }
        };
        let (receiving, log) = (Arc::clone(&stop), Arc::clone(&arrived));
        let receive = move || {
            let mut buffer = [0; 16];
            while !receiving.load(Ordering::Relaxed) {
                if receiver.recv(&mut buffer).is_ok() {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
            }
        };
        let threads = vec![thread::spawn(send), thread::spawn(receive)];
        Ok(Self { stop, sent, arrived, threads })
    }

    /// How long after this moment the last datagram arrived before they stayed
    /// away; zero if none did.
    ///
    /// # Errors
    /// When they do not stay away.
    pub fn silenced_after(&self, moment: Instant) -> Result<Duration> {
        let silenced = self.silenced_within(moment, PATIENCE);
        silenced.with_context(|| format!("datagrams still arrive after {PATIENCE:?}"))
    }

    /// The same; `None` when they still arrive after so much time of waiting.
    pub fn silenced_within(&self, moment: Instant, patience: Duration) -> Option<Duration> {
        let start = Instant::now();
        let mut last = self.last();
        let mut sent = self.sent.load(Ordering::Relaxed);
        loop {
            let quiet_since = last.unwrap_or(moment).max(moment);
            let lost = self.sent.load(Ordering::Relaxed) - sent;
            if quiet_since.elapsed() > SILENCE && lost >= LOST {
                return Some(last.map_or(Duration::ZERO, |last| last.duration_since(moment)));
            }
            if start.elapsed() > patience {
                return None;
            }
            sleep(Duration::from_millis(5));
            let now = self.last();
            if now != last {
                (last, sent) = (now, self.sent.load(Ordering::Relaxed));
            }
        }
    }

    /// How long after this moment the first datagram arrived.
    ///
    /// # Errors
    /// When none does.
    pub fn heard_after(&self, moment: Instant) -> Result<Duration> {
        let heard = self.heard_within(moment, PATIENCE);
        heard.with_context(|| format!("no datagram arrives within {PATIENCE:?}"))
    }

    /// The same; `None` when none does in so much time of waiting.
    pub fn heard_within(&self, moment: Instant, patience: Duration) -> Option<Duration> {
        let start = Instant::now();
        loop {
            if let Some(first) = self.first_since(moment) {
                return Some(first.duration_since(moment));
            }
            if start.elapsed() > patience {
                return None;
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// When the first datagram since this moment arrived.
    pub fn first_since(&self, moment: Instant) -> Option<Instant> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.get(arrived.partition_point(|one| *one < moment)).copied()
    }

    fn last(&self) -> Option<Instant> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).last().copied()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// The value below which this part of all durations lie.
pub fn percentile(durations: &mut [Duration], part: f64) -> Duration {
    durations.sort();
    let index = (durations.len() as f64 * part).ceil() as usize;
    durations.get(index.saturating_sub(1)).copied().unwrap_or_default()
}
