//! Limits how much of a core the passes over connection tracking may take.
//!
//! In: how long each pass took, and the time. Out: when the next may begin.

use std::time::{Duration, Instant};

/// One part in this many of the time.
const SHARE: u32 = 10;
/// This much may be spent at once after a quiet time, so that a single change,
/// or a few in a row, are followed without delay.
const BURST: Duration = Duration::from_millis(500);

/// The time spent that is not yet paid back.
#[derive(Debug)]
pub(super) struct Budget {
    debt: Duration,
    at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { debt: Duration::ZERO, at: now }
    }

    /// A pass has just ended, and took this long.
    pub(super) fn spend(&mut self, took: Duration, now: Instant) {
        self.debt = self.debt_at(now) + took;
        self.at = now;
    }

    /// When the next pass may begin.
    pub(super) fn ready_at(&self) -> Instant {
        self.at + self.debt.saturating_sub(BURST) * SHARE
    }

    fn debt_at(&self, now: Instant) -> Duration {
        self.debt.saturating_sub(now.saturating_duration_since(self.at) / SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_tenth_of_the_time_is_spent_when_there_is_always_something_to_do() {
        for pass in [1, 50, 400, 3000].map(|pass| pass * MS) {
            let start = Instant::now();
            let (mut now, mut spent) = (start, Duration::ZERO);
            let mut budget = Budget::new(start);
            while now < start + 1000 * 1000 * MS {
                now = now.max(budget.ready_at()) + pass;
                budget.spend(pass, now);
                spent += pass;
            }
            let share = (now - start) / SHARE;
            let expected = share..=share + BURST + pass;
            assert!(expected.contains(&spent), "{pass:?}: {spent:?}, a tenth is {share:?}");
        }
    }

    #[test]
    fn passes_after_a_quiet_time_begin_at_once() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut now = start;
        for _ in 0..5 {
            assert!(budget.ready_at() <= now);
            now += 90 * MS;
            budget.spend(90 * MS, now);
        }
        budget.spend(100 * MS, now);
        assert!(budget.ready_at() > now);
        assert!(budget.ready_at() <= now + 1000 * MS, "a burst's excess of 50 ms, ten times");
    }
}
