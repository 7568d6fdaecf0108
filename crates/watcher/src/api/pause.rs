//! How long to wait before the next try.
//!
//! In: that a try failed, or that one held.
//! Out: pauses that grow from 100-200 ms to 2.5-5 s, never the same in any two
//! agents: what breaks all watches at once must not bring them back at once.
//! Never: a clock; who asks waits.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The shortest pause; up to twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest pause; up to twice as long.
const LAST: Duration = Duration::from_millis(2500);
/// Lists that follow a lost history are spread over this time.
const RELISTS: Duration = Duration::from_secs(2);

/// The pauses of one watch.
#[derive(Debug)]
pub(super) struct Pauses {
    next: Duration,
    /// Whether a lost history has had its pause since the last reset.
    relisted: bool,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { next: FIRST, relisted: false }
    }

    /// A try failed: how long to wait.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next + random(self.next);
        self.next = LAST.min(self.next * 2);
        pause
    }

    /// A watch lost its history, maybe as all others did when the API server
    /// began anew. That it answers ends the growth of the pauses, once.
    pub(super) fn relist(&mut self) -> Duration {
        if std::mem::replace(&mut self.relisted, true) {
            return self.next();
        }
        self.next = FIRST;
        random(RELISTS)
    }

    /// A try held.
    pub(super) fn reset(&mut self) {
        *self = Self::new();
    }
}

/// A random time below a limit. The standard library seeds its hash maps from
/// the system's random numbers, and more than that is not needed here.
pub(super) fn random(limit: Duration) -> Duration {
    let share = (RandomState::new().hash_one(()) >> 32) as f64 / f64::from(u32::MAX);
    limit.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again() {
        let mut pauses = Pauses::new();
        let first = pauses.next();
        assert!(first >= FIRST && first <= FIRST * 2, "{first:?}");
        let all: Vec<Duration> = (0..20).map(|_| pauses.next()).collect();
        assert!(all.iter().all(|pause| *pause <= Duration::from_secs(5)), "{all:?}");
        assert!(all[10..].iter().all(|pause| *pause >= LAST), "{all:?}");
        assert!(all[10] != all[11] || all[11] != all[12], "no jitter: {all:?}");
        pauses.reset();
        assert!(pauses.next() <= FIRST * 2);
        let last = (0..8).map(|_| pauses.next()).last();
        assert!(last >= Some(LAST) && pauses.relist() <= RELISTS, "{last:?}");
        assert!(pauses.relist() <= FIRST * 2 && pauses.relist() >= FIRST * 2);
    }
}
