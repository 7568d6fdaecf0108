//! How long a watch waits before its next request, and how long it lasts.
//!
//! In: what happened to the last request.
//! Out: a pause. It grows while the same thing repeats, and has a random part:
//! what breaks the watches of all agents must not bring them back together.
//! Never: a clock. The caller waits.
//!
//! ```text
//! what happened                  first pause    each further one    at most
//! a request failed               100-200 ms     twice as long       2.5-5 s
//! history was lost (410)         0-2 s          as after a failure  2.5-5 s
//! a watch ended within a minute  0-2 s          a second longer     3-5 s
//! ```
//!
//! A server that asks for more time gets it, up to a minute.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The least pause after the first failure.
const FAILURE_FIRST: Duration = Duration::from_millis(100);
/// The least pause after many failures.
const FAILURE_LAST: Duration = Duration::from_millis(2500);
/// What happens to all agents in one moment is spread over this time.
const SPREAD: Duration = Duration::from_secs(2);
/// How much the least pause grows with each watch that ends early, and how far.
const EARLY_END_STEP: Duration = Duration::from_secs(1);
const EARLY_END_LAST: Duration = Duration::from_secs(3);
/// A watch that was open this long ends the growth after failures.
pub(super) const WORKING: Duration = Duration::from_secs(5);
/// A watch that ends before this ends early. A server that closes watches for
/// its own reasons does so after 30 minutes or more (kube-apiserver,
/// `--min-request-timeout`), so an early end means that it shuts down or is
/// overloaded.
pub(super) const EARLY: Duration = Duration::from_secs(60);

/// The shortest time that a watch lasts, in seconds, and how much longer it may
/// last.
const WATCH_SECONDS: u32 = 220;
const WATCH_SPREAD: Duration = Duration::from_secs(70);

/// The shortest time between two lists of a kind while nothing is wrong, and how much
/// longer it may be. A list costs the server as much as a start of the agent.
const LIST_EVERY: Duration = Duration::from_secs(4 * 60 * 60);
const LIST_SPREAD: Duration = LIST_EVERY;
/// The longest pause that a server may ask for.
const ASKED: Duration = Duration::from_secs(60);

/// The pauses of one watch.
#[derive(Debug)]
pub(super) struct Backoff {
    /// The least pause after the next failure.
    failure: Duration,
    /// The least pause after the next early end.
    early_end: Duration,
    /// Whether a lost history was spread since a watch last worked.
    spread: bool,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { failure: FAILURE_FIRST, early_end: Duration::ZERO, spread: false }
    }

    /// A request failed, or a watch broke.
    pub(super) fn failed(&mut self) -> Duration {
        let pause = self.failure + random(self.failure);
        self.failure = FAILURE_LAST.min(self.failure * 2);
        pause
    }

    /// A watch lost its history. The API server answers again, so the growth
    /// after failures ends, once.
    pub(super) fn lost_history(&mut self) -> Duration {
        if std::mem::replace(&mut self.spread, true) {
            return self.failed();
        }
        self.failure = FAILURE_FIRST;
        random(SPREAD)
    }

    /// The server ended a watch before [`EARLY`].
    pub(super) fn ended_early(&mut self) -> Duration {
        let pause = self.early_end + random(SPREAD);
        self.early_end = EARLY_END_LAST.min(self.early_end + EARLY_END_STEP);
        pause
    }

    /// A watch has been open for this long.
    pub(super) fn open_for(&mut self, time: Duration) {
        if time >= WORKING {
            self.failure = FAILURE_FIRST;
            self.spread = false;
        }
        if time >= EARLY {
            self.early_end = Duration::ZERO;
        }
    }
}

/// How long a watch lasts: a random time, so that agents that started together do
/// not come back together. In seconds for the server, and as a duration.
pub(super) fn watch_duration() -> (u32, Duration) {
    let seconds = WATCH_SECONDS + random(WATCH_SPREAD).as_secs() as u32;
    (seconds, Duration::from_secs(seconds.into()))
}

/// How long until everything is listed again while nothing is wrong, so that an
/// event that was lost for whatever reason is not lost for good.
pub(super) fn list_again() -> Duration {
    LIST_EVERY + random(LIST_SPREAD)
}

/// The pause that a server asks for, and up to half of it more.
pub(super) fn asked_for(pause: Duration) -> Duration {
    let pause = pause.min(ASKED);
    pause + random(pause / 2)
}

/// A random time below a limit. The standard library seeds its hash maps with
/// random numbers of the system, which is good enough here.
pub(super) fn random(limit: Duration) -> Duration {
    let share = (RandomState::new().hash_one(()) >> 32) as f64 / f64::from(u32::MAX);
    limit.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(5);

    #[test]
    fn pauses_grow_to_a_limit_and_begin_again() {
        let mut backoff = Backoff::new();
        let first = backoff.failed();
        assert!(first >= FAILURE_FIRST && first <= FAILURE_FIRST * 2, "{first:?}");
        let all: Vec<Duration> = (0..20).map(|_| backoff.failed()).collect();
        assert!(all.iter().all(|pause| *pause <= LONGEST), "{all:?}");
        assert!(all[10..].iter().all(|pause| *pause >= FAILURE_LAST), "{all:?}");
        assert!(all[10] != all[11] || all[11] != all[12], "no jitter: {all:?}");
        backoff.open_for(WORKING);
        assert!(backoff.failed() <= FAILURE_FIRST * 2);
        let last = (0..8).map(|_| backoff.failed()).last();
        assert!(last >= Some(FAILURE_LAST) && backoff.lost_history() <= SPREAD, "{last:?}");
        let again = backoff.lost_history();
        assert!((FAILURE_FIRST..=FAILURE_FIRST * 2).contains(&again), "{again:?}");
    }

    #[test]
    fn pauses_after_early_ends_grow_until_a_watch_lasts() {
        let mut backoff = Backoff::new();
        for seconds in [0, 1, 2, 3, 3, 3] {
            let pause = backoff.ended_early();
            let least = Duration::from_secs(seconds);
            assert!(pause >= least && pause <= least + SPREAD && pause <= LONGEST, "{pause:?}");
            // Working, and still early.
            backoff.open_for(EARLY - Duration::from_millis(1));
        }
        backoff.open_for(EARLY);
        assert!(backoff.ended_early() <= SPREAD);
    }
}
