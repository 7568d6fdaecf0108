//! What is told of denied packets, by whichever socket they came.
//!
//! In: packets that rules logged, counters, what is known and in force. Out: entries of the
//! ring, totals, log lines. Never: a socket, a wait.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::scaffold;
use nft::{DropCounts, LoggedPacket};
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
use crate::view::{Shown, now_ms};

/// Our table, and the one that takes its place for a while (`pipeline`).
const TABLES: [&str; 2] = ["nftpol", STAND_IN];

/// Whose rules logged.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    /// The node's, which nobody else can write to the group of.
    Node,
    /// Those in the namespace of a pod with these addresses. It may write to the group, too:
    /// what is not about it and a chain of its own is not told.
    Pod(&'a BTreeSet<IpAddr>),
}

/// Names packets, and tells of them.
#[derive(Debug)]
pub struct Teller {
    /// The node's name.
    node: String,
    /// Also write lines of the log.
    has_log_lines: bool,
    ring: Arc<Ring>,
    metrics: Arc<Metrics>,
    names: Names,
    log_lines: LogLines,
    flood: Flood,
}

impl Teller {
    /// Tells these.
    pub fn new(node: String, has_log_lines: bool, ring: Arc<Ring>, metrics: Arc<Metrics>) -> Self {
        let (names, log_lines) = (Names::default(), LogLines::default());
        Self { node, has_log_lines, ring, metrics, names, log_lines, flood: Flood::default() }
    }

    /// How long nothing is to be read.
    pub fn pause(&self) -> Duration {
        self.flood.pause(Instant::now())
    }

    /// Tells of these packets, and of how many were lost before them.
    pub fn packets(
        &mut self,
        (packets, lost): (Vec<LoggedPacket>, u64),
        by: By<'_>,
        shown: &Shown,
        counts: &mut Counts,
    ) {
        let now = Instant::now();
        self.names.follow(&shown.cluster, now);
        let mut entries = Vec::new();
        if lost > 0 {
            self.metrics.traffic.unread.inc_by(lost);
            let (pod, reason) = (Who::Unknown, Reason::NobodyRead);
            entries.push(Entry::LeftOut(LeftOutEntry {
                time_ms: now_ms(),
                packets: lost,
                pod,
                reason,
            }));
        }
        entries.extend(packets.into_iter().filter_map(|packet| {
            let packet = self.named(packet, by, (shown, now), counts)?;
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
            self.ring.push(entries);
        }
    }

    /// The packet with names. A packet whose addresses cannot be read names nobody.
    fn named(
        &mut self,
        packet: LoggedPacket,
        by: By<'_>,
        (shown, now): (&Shown, Instant),
        counts: &mut Counts,
    ) -> Option<Packet> {
        let headers = packet.headers?;
        let enforced = shown.enforced.as_ref();
        let signature = enforced.and_then(|enforced| enforced.signature(&packet.prefix)).cloned();
        let own = signature.as_ref().map(|signature| match signature.direction {
            Direction::Egress => headers.source,
            Direction::Ingress => headers.destination,
        });
        if let By::Pod(addresses) = by
            && own.is_none_or(|own| !addresses.contains(&own))
        {
            return None;
        }
        if let (Some(signature), Some(own)) = (&signature, own) {
            counts.told((signature.mode, signature.direction), own);
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
        if self.has_log_lines && self.log_lines.is_due(&packet.chain, from, to, now) {
            let denied = told::denied(packet, &self.node);
            let what = if denied.is_dropped() { "denied" } else { "would be denied" };
            tracing::info!("{what}: {}", author::live::text::denied(&denied));
        }
    }

    /// Adds to the totals what was counted since the last time.
    pub fn counters(&mut self, counters: Counters, shown: &Shown, counts: &mut Counts) {
        let now = Instant::now();
        self.names.follow(&shown.cluster, now);
        if let Some(enforced) = &shown.enforced {
            self.metrics.traffic.may_deny(&enforced.signatures);
        }
        let mut entries = Vec::new();
        for counted in counts.look(counters) {
            let pod = self.names.of(counted.address, now);
            let namespace = match &pod {
                Who::Pod(pod) => pod.key.namespace.as_str(),
                Who::Node(_) | Who::Unknown => "",
            };
            self.metrics.traffic.denied(counted.side, namespace, counted.packets);
            if counted.left_out > 0 {
                let (packets, reason) = (counted.left_out, Reason::RateLimit);
                let time_ms = now_ms();
                entries.push(Entry::LeftOut(LeftOutEntry { time_ms, packets, pod, reason }));
            }
        }
        if !entries.is_empty() {
            self.ring.push(entries);
        }
    }
}

/// The counters of all pods' addresses in these modes.
pub fn counters(kernel: &mut DropCounts, modes: &[Mode]) -> Counters {
    let mut found = Counters::new();
    for side in modes.iter().flat_map(|mode| Direction::BOTH.map(|one| (*mode, one))) {
        let set = |family| match side {
            (Mode::Enforce, direction) => scaffold::log_set(direction, family),
            (Mode::Audit, direction) => scaffold::audit::log_set(direction, family),
        };
        for set in Family::BOTH.map(set) {
            for (number, table) in TABLES.into_iter().enumerate() {
                match kernel.of(table, set.as_str()) {
                    Ok(counts) => found.extend(
                        counts.into_iter().map(|(address, count)| ((number, side, address), count)),
                    ),
                    Err(error) => tracing::debug!("count denied packets: {error}"),
                }
            }
        }
    }
    found
}
