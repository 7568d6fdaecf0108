//! The thread that reads what the rules log.
//!
//! In: NFLOG, the rules' counters, what the enforcing thread shows. Out: entries of the
//! ring, totals, log lines, the condition `log`. Never: an end because the group is taken:
//! it is tried again.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use compiler::scaffold;
use nft::{DropCounts, DropLog, DropLogError, LoggedPacket};
use policy::{Direction, Mode};
use ruleset::Family;

use super::counts::{Counters, Counts};
use super::flood::Flood;
use super::log_lines::LogLines;
use super::names::{Names, Who};
use super::ring::{Entry, LeftOutEntry, Packet, Reason, Ring};
use crate::door::told;
use crate::metrics::Metrics;
use crate::pipeline::STAND_IN;
use crate::status::{Condition, Status};
use crate::view::{Shown, View, now_ms};

/// How often the counters are read. They live for a minute after the last packet.
const COUNT_EVERY: Duration = Duration::from_secs(2);
/// How long a wait for packets takes at most. What is shown is looked at after each.
const WAIT: Duration = Duration::from_millis(200);
/// The pause before the group is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Our table, and the one that takes its place for a while (`pipeline`).
const TABLES: [&str; 2] = ["nftpol", STAND_IN];

/// What to read, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The group of NFLOG.
    pub group: u16,
    /// The node's name.
    pub node: String,
    /// Also write lines of the log.
    pub log_lines: bool,
}

/// Where it goes.
#[derive(Clone, Debug)]
struct Out {
    ring: Arc<Ring>,
    metrics: Arc<Metrics>,
    status: Status,
}

/// Starts the thread.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    settings: Settings,
    view: View,
    ring: Arc<Ring>,
    metrics: Arc<Metrics>,
    status: Status,
) -> io::Result<()> {
    let mut reader = Reader {
        settings,
        view,
        out: Out { ring, metrics, status },
        names: Names::default(),
        counts: Counts::default(),
        log_lines: LogLines::default(),
        flood: Flood::default(),
        kernel: None,
        counted: None,
    };
    thread::Builder::new().name("drops".to_owned()).spawn(move || reader.run())?;
    Ok(())
}

#[derive(Debug)]
struct Reader {
    settings: Settings,
    view: View,
    out: Out,
    names: Names,
    counts: Counts,
    log_lines: LogLines,
    flood: Flood,
    /// To read counters.
    kernel: Option<DropCounts>,
    /// When they were last read.
    counted: Option<Instant>,
}

impl Reader {
    /// Reads as long as the process lives.
    fn run(&mut self) -> ! {
        loop {
            let problem = match DropLog::open(self.settings.group) {
                Ok(log) => {
                    self.out.status.holds(Condition::Log);
                    self.read(log).to_string()
                }
                Err(error) => error.to_string(),
            };
            let mend = "denied packets are not shown; choose another group (--log-group)";
            self.out.status.fails(Condition::Log, format!("{problem}; {mend}"));
            // The counters work even if another program reads the packets.
            let until = Instant::now() + RETRY;
            while Instant::now() < until {
                thread::sleep(WAIT);
                if self.is_time_to_count() {
                    self.count();
                }
            }
        }
    }

    /// Reads until the socket fails.
    fn read(&mut self, mut log: DropLog) -> DropLogError {
        loop {
            if let Err(error) = self.take(&mut log, WAIT) {
                return error;
            }
            if self.is_time_to_count() {
                let counters = self.counters();
                // Packets that were counted have arrived: what comes now is told first.
                if let Err(error) = self.take(&mut log, Duration::ZERO) {
                    return error;
                }
                self.compare(counters);
            }
        }
    }

    /// Waits for packets, and passes on those that arrived.
    fn take(&mut self, log: &mut DropLog, wait: Duration) -> Result<(), DropLogError> {
        let mut packets = Vec::new();
        let lost = log.wait(wait, |packet| packets.push(packet))?;
        let (now, shown) = (Instant::now(), self.view.look());
        self.names.follow(&shown.cluster, now);
        let mut entries = Vec::new();
        if lost > 0 {
            self.out.metrics.traffic.unread.inc_by(lost);
            let (pod, reason) = (Who::Unknown, Reason::NobodyRead);
            entries.push(Entry::LeftOut(LeftOutEntry {
                time_ms: now_ms(),
                packets: lost,
                pod,
                reason,
            }));
        }
        entries.extend(packets.into_iter().filter_map(|packet| {
            let packet = self.named(packet, &shown, now)?;
            if !self.flood.shows(packet.signature.is_none(), now) {
                return None;
            }
            self.tell(&packet, now);
            Some(Entry::Denied(packet))
        }));
        let (packets, time_ms) = (self.flood.left_out(), now_ms());
        if packets > 0 {
            let (pod, reason) = (Who::Unknown, Reason::RateLimit);
            entries.push(Entry::LeftOut(LeftOutEntry { time_ms, packets, pod, reason }));
        }
        if !entries.is_empty() {
            self.out.ring.push(entries);
        }
        thread::sleep(self.flood.pause(now));
        Ok(())
    }

    /// The packet with names. A packet whose addresses cannot be read names nobody.
    fn named(&mut self, packet: LoggedPacket, shown: &Shown, now: Instant) -> Option<Packet> {
        let headers = packet.headers?;
        let enforced = shown.enforced.as_ref();
        let signature = enforced.and_then(|enforced| enforced.signature(&packet.prefix)).cloned();
        if let Some(signature) = &signature {
            let own = match signature.direction {
                Direction::Egress => headers.source,
                Direction::Ingress => headers.destination,
            };
            self.counts.told((signature.mode, signature.direction), own);
        }
        Some(Packet {
            time_ms: now_ms(),
            headers,
            asked: packet.asked,
            source: self.names.of(headers.source, now),
            destination: self.names.of(headers.destination, now),
            chain: packet.prefix.into(),
            signature,
        })
    }

    fn tell(&mut self, packet: &Packet, now: Instant) {
        let (from, to) = (packet.headers.source, packet.headers.destination);
        if self.settings.log_lines && self.log_lines.is_due(&packet.chain, from, to, now) {
            let denied = told::denied(packet, &self.settings.node);
            let what = if denied.is_dropped() { "denied" } else { "would be denied" };
            tracing::info!("{what}: {}", author::live::text::denied(&denied));
        }
    }

    fn is_time_to_count(&self) -> bool {
        self.counted.is_none_or(|last| last.elapsed() >= COUNT_EVERY)
    }

    fn count(&mut self) {
        let counters = self.counters();
        self.compare(counters);
    }

    /// The counters of all pods' addresses.
    fn counters(&mut self) -> Counters {
        self.counted = Some(Instant::now());
        let mut found = Counters::new();
        if self.kernel.is_none() {
            match DropCounts::open() {
                Ok(kernel) => self.kernel = Some(kernel),
                Err(error) => tracing::debug!("count denied packets: {error}"),
            }
        }
        let Some(kernel) = &mut self.kernel else { return found };
        for side in Mode::BOTH.into_iter().flat_map(|mode| Direction::BOTH.map(|one| (mode, one))) {
            let set = |family| match side {
                (Mode::Enforce, direction) => scaffold::log_set(direction, family),
                (Mode::Audit, direction) => scaffold::audit::log_set(direction, family),
            };
            for set in Family::BOTH.map(set) {
                for (number, table) in TABLES.into_iter().enumerate() {
                    match kernel.of(table, set.as_str()) {
                        Ok(counts) => found.extend(
                            counts
                                .into_iter()
                                .map(|(address, count)| ((number, side, address), count)),
                        ),
                        Err(error) => tracing::debug!("count denied packets: {error}"),
                    }
                }
            }
        }
        found
    }

    /// Adds to the totals what was counted since the last time.
    fn compare(&mut self, counters: Counters) {
        let (now, shown) = (Instant::now(), self.view.look());
        self.names.follow(&shown.cluster, now);
        if let Some(enforced) = &shown.enforced {
            self.out.metrics.traffic.may_deny(&enforced.signatures);
        }
        let mut entries = Vec::new();
        for counted in self.counts.look(counters) {
            let pod = self.names.of(counted.address, now);
            let namespace = match &pod {
                Who::Pod(pod) => pod.key.namespace.as_str(),
                Who::Node(_) | Who::Unknown => "",
            };
            self.out.metrics.traffic.denied(counted.side, namespace, counted.packets);
            if counted.left_out > 0 {
                let (packets, reason) = (counted.left_out, Reason::RateLimit);
                let time_ms = now_ms();
                entries.push(Entry::LeftOut(LeftOutEntry { time_ms, packets, pod, reason }));
            }
        }
        if !entries.is_empty() {
            self.out.ring.push(entries);
        }
    }
}
