//! How large the pieces of a change are.
//!
//! In: how long each commit was estimated to take, and how long it took.
//! Out: the budget of the next one. Never: one that depends on a single commit.

use std::time::Duration;

use ruleset::plan::Budget;

/// How long a commit shall take. It shall never take more than 10 ms.
const GOAL: Duration = Duration::from_millis(6);
/// Shorter commits tell nothing: what is the same for each of them outweighs the rest.
const SHORTEST: Duration = Duration::from_millis(1);
/// The kernel counts as this many times faster than estimated at most ...
const FASTEST: f64 = 0.5;
/// ... and as this many times slower.
const SLOWEST: f64 = 16.0;

/// How fast the kernel is.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long commits take, relative to the estimate.
    slowness: f64,
    /// The size of all pieces, however long they take.
    fixed: Option<Budget>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { slowness: 1.0, fixed: None }
    }
}

impl Pace {
    /// All pieces have this size.
    pub(super) fn fixed(budget: Budget) -> Self {
        Self { fixed: Some(budget), ..Self::default() }
    }

    /// Of the next piece.
    pub(super) fn budget(&self) -> Budget {
        self.fixed.unwrap_or_else(|| Budget::of(GOAL.div_f64(self.slowness)))
    }

    /// A piece was committed. A slow one counts at once. A fast one counts by half:
    /// the next one may be slow again.
    pub(super) fn committed(&mut self, estimate: Duration, took: Duration) {
        if estimate.max(took) < SHORTEST || estimate.is_zero() {
            return;
        }
        let seen = took.div_duration_f64(estimate);
        let next = if seen > self.slowness { seen } else { (self.slowness + seen) / 2.0 };
        // A thread that had to wait for its CPU can take any time.
        let at_most = self.slowness * 2.0;
        self.slowness = next.min(at_most).clamp(FASTEST, SLOWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pieces_become_smaller_on_a_slow_kernel_and_larger_again() {
        let mut pace = Pace::default();
        assert_eq!(pace.budget(), Budget::of(6 * MS));
        for _ in 0..4 {
            pace.committed(2 * MS, 12 * MS);
        }
        assert_eq!(pace.budget(), Budget::of(MS));
        for _ in 0..40 {
            pace.committed(MS, MS);
        }
        assert!(pace.budget() > Budget::of(5 * MS), "{pace:?}");
    }

    #[test]
    fn one_commit_halves_the_size_at_most_and_there_are_bounds() {
        let mut pace = Pace::default();
        pace.committed(MS, 1_000 * MS);
        assert_eq!(pace.budget(), Budget::of(3 * MS));
        for _ in 0..40 {
            pace.committed(MS, 1_000 * MS);
        }
        assert_eq!(pace.budget(), Budget::of(GOAL.div_f64(SLOWEST)));
        for _ in 0..40 {
            pace.committed(6 * MS, Duration::ZERO);
        }
        assert_eq!(pace.budget(), Budget::of(GOAL.div_f64(FASTEST)));
    }

    #[test]
    fn short_commits_do_not_count() {
        let mut pace = Pace::default();
        pace.committed(Duration::from_micros(5), Duration::from_micros(100));
        assert_eq!(pace.budget(), Budget::of(6 * MS));
    }
}
