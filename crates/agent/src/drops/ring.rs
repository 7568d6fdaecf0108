//! The last packets that were denied, for those who ask.
//!
//! In: packets as they are read. Out: those after a place, and how many are gone that were
//! not looked at. Never: more than [`SIZE`], or a writer that waits for a reader.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use compiler::signature::Signature;
use nft::LoggedHeaders;

use super::Who;

/// How many packets are kept.
pub const SIZE: usize = 10_000;

/// A packet that was denied.
#[derive(Clone, Debug)]
pub struct Packet {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What it says.
    pub headers: LoggedHeaders,
    /// What its sender asked for, if that was translated.
    pub asked: Option<(IpAddr, Option<u16>)>,
    /// Who sent it.
    pub source: Who,
    /// To whom.
    pub destination: Who,
    /// The chain that dropped it, as the log says.
    pub chain: Arc<str>,
    /// The policies behind that chain, if it is one of ours.
    pub signature: Option<Arc<Signature>>,
}

/// Why packets are not told one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They were more than the rules log.
    RateLimit,
    /// The log's socket was full.
    NobodyRead,
}

/// Packets that are not told one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOutEntry {
    /// When they were counted, in milliseconds since 1970.
    pub time_ms: u64,
    /// How many.
    pub packets: u64,
    /// Of which pod.
    pub pod: Who,
    /// Why.
    pub reason: Reason,
}

/// What is kept.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A packet.
    Denied(Packet),
    /// Others.
    LeftOut(LeftOutEntry),
}

impl Entry {
    /// When, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        match self {
            Self::Denied(packet) => packet.time_ms,
            Self::LeftOut(left_out) => left_out.time_ms,
        }
    }
}

/// The last entries.
#[derive(Debug, Default)]
pub struct Ring {
    kept: Mutex<Kept>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    /// How many came since the start.
    count: u64,
}

impl Kept {
    /// The number of the oldest entry.
    fn first(&self) -> u64 {
        self.count - self.entries.len() as u64
    }
}

/// Entries after a place.
#[derive(Debug)]
pub struct News {
    /// They, in order.
    pub entries: Vec<Arc<Entry>>,
    /// The place after them.
    pub next: u64,
    /// How many before them are gone.
    pub missed: u64,
}

impl Ring {
    /// Adds entries.
    pub fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut kept = self.lock();
        for entry in entries {
            if kept.entries.len() >= SIZE {
                kept.entries.pop_front();
            }
            kept.entries.push_back(Arc::new(entry));
            kept.count += 1;
        }
        drop(kept);
        self.came.notify_all();
    }

    /// All that is kept.
    pub fn all(&self) -> News {
        let kept = self.lock();
        let entries = kept.entries.iter().cloned().collect();
        News { entries, next: kept.count, missed: 0 }
    }

    /// Those after a place, this many at most. Waits for one, for this long at most.
    pub fn after(&self, place: u64, at_most: usize, timeout: Duration) -> News {
        let waited = self.came.wait_timeout_while(self.lock(), timeout, |kept| kept.count <= place);
        let (kept, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let from = place.max(kept.first());
        let skip = usize::try_from(from - kept.first()).unwrap_or(usize::MAX);
        let entries: Vec<_> = kept.entries.iter().skip(skip).take(at_most).cloned().collect();
        News { next: from + entries.len() as u64, missed: from - place, entries }
    }

    /// A thread that panicked while it held the lock left no half-written value.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(packets: u64) -> Entry {
        let reason = Reason::RateLimit;
        Entry::LeftOut(LeftOutEntry { time_ms: 0, packets, pod: Who::Unknown, reason })
    }

    fn numbers(news: &News) -> Vec<u64> {
        let number = |one: &Arc<Entry>| match &**one {
            Entry::LeftOut(left_out) => left_out.packets,
            Entry::Denied(_) => 0,
        };
        news.entries.iter().map(number).collect()
    }

    #[test]
    fn a_reader_gets_what_came_after_its_place() {
        let ring = Ring::default();
        let none = ring.after(0, 10, Duration::from_millis(1));
        assert_eq!((numbers(&none), none.next, none.missed), (vec![], 0, 0));
        ring.push((0..5).map(entry));
        let some = ring.after(0, 3, Duration::ZERO);
        assert_eq!((numbers(&some), some.next, some.missed), (vec![0, 1, 2], 3, 0));
        assert_eq!(numbers(&ring.after(some.next, 3, Duration::ZERO)), [3, 4]);
    }

    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        let ring = Ring::default();
        ring.push((0..SIZE as u64 + 7).map(entry));
        let news = ring.after(2, 2, Duration::ZERO);
        assert_eq!((numbers(&news), news.next, news.missed), (vec![7, 8], 9, 5));
        assert_eq!(ring.all().entries.len(), SIZE);
    }
}
