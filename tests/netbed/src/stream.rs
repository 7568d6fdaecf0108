//! A stream of datagrams that shows when a change took effect.
//!
//! After a moment that you choose, you learn when the stream stopped or began to
//! arrive. You also get how many datagrams were sent and how many arrived.
//! Never: an answer. Without a reply, connection tracking treats each packet of a
//! flow as new (`nf_ct_get`, IP_CT_NEW until a reply was seen), so the rules judge
//! every datagram.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::SockRef;

use crate::testbed::Endpoint;

/// Time between two datagrams.
pub const EVERY: Duration = Duration::from_micros(250);
/// A silence this long is no accident.
const SILENCE: Duration = Duration::from_millis(100);
/// Nor is the loss of this many datagrams in a row. Datagrams are counted, too,
/// because a sender that gets no CPU time is also silent.
const LOST: u64 = 100;
/// How long to wait for a change.
const PATIENCE: Duration = Duration::from_secs(60);
/// Receive buffer for waiting datagrams, in bytes.
const BUFFER: usize = 1 << 20;
/// How long to wait for the last datagram.
const TRAVEL: Duration = Duration::from_millis(300);

/// Sends datagrams until this value is dropped.
#[derive(Debug)]
pub struct Stream {
    /// Stop flags of the sender and of the receiver.
    stop: [Arc<AtomicBool>; 2],
    sent: Arc<AtomicU64>,
    /// When datagrams arrived, oldest first.
    arrived: Arc<Mutex<Vec<Instant>>>,
    sender: Option<JoinHandle<()>>,
    receiver: Option<JoinHandle<()>>,
}

/// The result of a stream, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamCount {
    /// How many were due, including those that the sender's own node refused.
    pub sent: u64,
    /// How many of them arrived.
    pub arrived: u64,
}

impl Stream {
    /// Starts to send, one datagram every [`EVERY`].
    ///
    /// # Errors
    /// When a socket cannot be opened, or the endpoints have no address of
    /// this family.
    pub fn start(from: &Endpoint, to: &Endpoint, v6: bool, port: u16) -> Result<Self> {
        Self::paced(from, to, v6, port, EVERY)
    }

    /// Starts to send, with this pause between two datagrams.
    ///
    /// # Errors
    /// As [`Stream::start`].
    pub fn paced(
        from: &Endpoint,
        to: &Endpoint,
        v6: bool,
        port: u16,
        pause: Duration,
    ) -> Result<Self> {
        let address = |endpoint: &Endpoint| endpoint.address(v6).context("no such address");
        let target = SocketAddr::new(address(to)?, port);
        let source = SocketAddr::new(address(from)?, 0);
        let receiver = to.namespace.run(|| UdpSocket::bind(target))?.context("receive")?;
        let sender = from.namespace.run(|| UdpSocket::bind(source))?.context("send")?;
        receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
        // Datagrams that arrive while this process waits for a processor are not
        // lost.
        SockRef::from(&receiver).set_recv_buffer_size(BUFFER).context("enlarge a buffer")?;
        let stop = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicU64::new(0));
        let (sending, counted) = (Arc::clone(&stop[0]), Arc::clone(&sent));
        let send = move || {
            while !sending.load(Ordering::Relaxed) {
                counted.fetch_add(1, Ordering::Relaxed);
                // A datagram that cannot be sent now is sent later.
                let _ = sender.send_to(&[0; 8], target);
                sleep(pause);
            }
        };
        let (receiving, log) = (Arc::clone(&stop[1]), Arc::clone(&arrived));
        let receive = move || {
            let mut buffer = [0; 16];
            while !receiving.load(Ordering::Relaxed) {
                if receiver.recv(&mut buffer).is_ok() {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
            }
        };
        let (sender, receiver) = (Some(thread::spawn(send)), Some(thread::spawn(receive)));
        Ok(Self { stop, sent, arrived, sender, receiver })
    }

    /// Stops sending, and waits for datagrams on their way.
    pub fn finish(mut self) -> StreamCount {
        self.stop[0].store(true, Ordering::Relaxed);
        join(self.sender.take());
        sleep(TRAVEL);
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner).len();
        StreamCount { sent: self.sent.load(Ordering::Relaxed), arrived: arrived as u64 }
    }

    /// How long after this moment the last datagram arrived before the stream
    /// stopped. Zero if none did.
    ///
    /// # Errors
    /// When the stream does not stop.
    pub fn silenced_after(&self, moment: Instant) -> Result<Duration> {
        self.quiet_after(moment, SILENCE)
    }

    /// As [`Stream::silenced_after`], with this length of silence.
    ///
    /// # Errors
    /// When there is no such silence.
    pub fn quiet_after(&self, moment: Instant, silence: Duration) -> Result<Duration> {
        let quiet = self.quiet_within(moment, silence, PATIENCE);
        quiet.with_context(|| format!("datagrams still arrive after {PATIENCE:?}"))
    }

    /// As [`Stream::silenced_after`]. `None` when datagrams still arrive after this
    /// time of waiting.
    pub fn silenced_within(&self, moment: Instant, patience: Duration) -> Option<Duration> {
        self.quiet_within(moment, SILENCE, patience)
    }

    fn quiet_within(
        &self,
        moment: Instant,
        silence: Duration,
        patience: Duration,
    ) -> Option<Duration> {
        let start = Instant::now();
        let mut last = self.last();
        let mut sent = self.sent.load(Ordering::Relaxed);
        loop {
            let quiet_since = last.unwrap_or(moment).max(moment);
            let lost = self.sent.load(Ordering::Relaxed) - sent;
            if quiet_since.elapsed() > silence && lost >= LOST {
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

    /// As above. `None` when none arrives within this time of waiting.
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

    /// When the first and the last datagram so far arrived.
    pub fn span(&self) -> Option<(Instant, Instant)> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        Some((*arrived.first()?, *arrived.last()?))
    }

    fn last(&self) -> Option<Instant> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).last().copied()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.iter().for_each(|stop| stop.store(true, Ordering::Relaxed));
        join(self.sender.take());
        join(self.receiver.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        // A thread that panicked has already printed the reason.
        let _ = thread.join();
    }
}

/// The value below which this fraction of all durations lies.
pub fn percentile(durations: &mut [Duration], part: f64) -> Duration {
    durations.sort();
    let index = (durations.len() as f64 * part).ceil() as usize;
    durations.get(index.saturating_sub(1)).copied().unwrap_or_default()
}
