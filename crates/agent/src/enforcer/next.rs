//! What the loop does next, and when.
//!
//! In: what happened, and the time. Out: the next step, and how long to wait
//! for messages until then. Never: a clock, a kernel.
//!
//! ```text
//!            event                COALESCE after the last attempt
//!   Idle ──────────▶ Changed ────────────────────────────────────▶ sync
//!    │ ▲                │                                          │  │
//!    │ └────────────────┼───────────────── succeeded ──────────────┘  │ failed
//!    │                  │                                             ▼
//!    │  found touched   │              sync ◀── after a pause ───── Failed
//!    └────────┬─────────┘                └─ failed: pause doubled ────┘
//!             ▼
//!          Touched ── when the pause after the last repair is over ──▶ sync
//! ```
//!
//! Events that come in `Failed` and `Touched` wait for the sync that is planned
//! there.

use std::time::{Duration, Instant};

use super::repairs::Repairs;

/// How often to look whether others changed the ruleset.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The first event is acted on at once; those that follow an attempt within
/// this time, together.
pub const COALESCE: Duration = Duration::from_millis(3);
/// After the first failure; twice as long after each more, up to
/// [`LAST_RETRY`].
pub const FIRST_RETRY: Duration = Duration::from_millis(20);
/// The longest pause after a failure.
pub const LAST_RETRY: Duration = Duration::from_secs(1);
/// Others commit all the time on a node with kube-proxy. At most one part in
/// this many of the time is spent on reading our table after them.
pub const READ_SHARE: u32 = 20;

/// What the loop does next, and when.
#[derive(Debug, Default)]
pub struct Next {
    state: State,
    /// When the last attempt ended.
    ended: Option<Instant>,
    /// When the table may be read again after commits of others.
    may_read: Option<Instant>,
    repairs: Repairs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The kernel has what is known.
    #[default]
    Idle,
    /// Events came; the oldest at this time.
    Changed { since: Instant },
    /// The last attempt failed.
    Failed { retry_at: Instant, pause: Duration, since: Option<Instant> },
    /// Others touched the table, soon after it was repaired.
    Touched { repair_at: Instant, since: Option<Instant> },
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bring the kernel to the present state.
    Sync,
    /// Look whether others touched the table.
    Guard,
    /// Nothing.
    Wait,
}

impl Next {
    /// What to do now.
    pub fn step(&self, now: Instant) -> Step {
        let due = match self.state {
            State::Idle => return Step::Guard,
            State::Changed { .. } => self.ended.is_none_or(|ended| now >= ended + COALESCE),
            State::Failed { retry_at, .. } => now >= retry_at,
            State::Touched { repair_at, .. } => now >= repair_at,
        };
        if due { Step::Sync } else { Step::Wait }
    }

    /// How long to wait for a message before the next step.
    pub fn patience(&self, now: Instant) -> Duration {
        let until = match self.state {
            State::Idle => return LOOK_EVERY,
            State::Changed { .. } => match self.ended {
                Some(ended) => ended + COALESCE,
                None => return LOOK_EVERY,
            },
            State::Failed { retry_at, .. } => retry_at,
            State::Touched { repair_at, .. } => repair_at,
        };
        LOOK_EVERY.min(until.saturating_duration_since(now))
    }

    /// An event that changes something came at this time.
    pub fn event(&mut self, came: Instant) {
        match &mut self.state {
            State::Idle => self.state = State::Changed { since: came },
            State::Changed { .. } => {}
            State::Failed { since, .. } | State::Touched { since, .. } => {
                since.get_or_insert(came);
            }
        }
    }

    /// The kernel has what is known. Returns when the oldest event came that
    /// it did not show before.
    pub fn succeeded(&mut self, now: Instant) -> Option<Instant> {
        self.ended = Some(now);
        let since = self.since();
        self.state = State::Idle;
        since
    }

    /// An attempt failed.
    pub fn failed(&mut self, now: Instant) {
        let last = match self.state {
            State::Failed { pause, .. } => pause,
            _ => Duration::ZERO,
        };
        self.retry_after(now, (last * 2).clamp(FIRST_RETRY, LAST_RETRY));
    }

    /// An attempt failed, and another one is not likely to succeed.
    pub fn failed_for_long(&mut self, now: Instant) {
        self.retry_after(now, LAST_RETRY);
    }

    fn retry_after(&mut self, now: Instant, pause: Duration) {
        self.ended = Some(now);
        self.state = State::Failed { retry_at: now + pause, pause, since: self.since() };
    }

    /// Others touched the table. Returns whether it may be repaired at once.
    pub fn touched(&mut self, now: Instant) -> bool {
        let repair_at = self.repairs.may_repair_at(now);
        if repair_at <= now {
            return true;
        }
        self.state = State::Touched { repair_at, since: self.since() };
        false
    }

    /// The table was restored, or found to need no change after others touched
    /// it, and that took this long.
    pub fn repaired(&mut self, now: Instant, took: Duration) {
        self.repairs.repaired(now, took);
    }

    /// Whether others touched the table so recently that a sync should look
    /// first.
    pub fn must_look_first(&self, now: Instant) -> bool {
        matches!(self.state, State::Changed { .. }) && self.repairs.is_recent(now)
    }

    /// Whether others change the table again and again.
    pub fn is_fight(&self, now: Instant) -> bool {
        self.repairs.is_fight(now)
    }

    /// Whether there is nothing to do but to guard the table.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether the kernel has, or is about to get, what is known.
    pub fn is_well(&self) -> bool {
        !matches!(self.state, State::Failed { .. })
    }

    /// Whether the table may be read after commits of others.
    pub fn may_read(&self, now: Instant) -> bool {
        let is_affordable = self.may_read.is_none_or(|when| now >= when);
        is_affordable && self.repairs.may_repair_at(now) <= now
    }

    /// The table was read, and that took this long.
    pub fn read(&mut self, now: Instant, took: Duration) {
        self.may_read = Some(now + took * READ_SHARE);
    }

    fn since(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Changed { since } => Some(since),
            State::Failed { since, .. } | State::Touched { since, .. } => since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_event_is_acted_on_at_once_and_the_next_ones_together() {
        let start = Instant::now();
        let mut next = Next::default();
        assert_eq!((next.step(start), next.patience(start)), (Step::Guard, LOOK_EVERY));
        next.event(start);
        assert_eq!(next.step(start), Step::Sync);
        assert_eq!(next.succeeded(start), Some(start));
        next.event(start + MS);
        next.event(start + 2 * MS);
        assert_eq!((next.step(start + MS), next.patience(start + MS)), (Step::Wait, 2 * MS));
        assert_eq!(next.step(start + COALESCE), Step::Sync);
        assert_eq!(next.succeeded(start + COALESCE), Some(start + MS), "the oldest event");
    }

    #[test]
    fn the_pause_after_failures_doubles_up_to_a_second_and_a_success_resets_it() {
        let mut now = Instant::now();
        let mut next = Next::default();
        next.event(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            next.failed(now);
            let State::Failed { retry_at, since, .. } = next.state else { unreachable!() };
            assert!(since.is_some());
            pauses.push((retry_at - now).as_millis());
            assert_eq!(next.step(retry_at - MS), Step::Wait);
            // An event does not make it sooner.
            next.event(now + MS);
            assert_eq!(next.step(retry_at - MS), Step::Wait);
            now = retry_at;
            assert_eq!(next.step(now), Step::Sync);
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        next.succeeded(now);
        next.failed(now);
        assert_eq!(next.patience(now), FIRST_RETRY);
        next.failed_for_long(now);
        assert_eq!(next.step(now + LAST_RETRY - MS), Step::Wait);
        assert_eq!(next.step(now + LAST_RETRY), Step::Sync);
    }

    #[test]
    fn reading_takes_a_twentieth_of_the_time() {
        let now = Instant::now();
        let mut next = Next::default();
        assert!(next.may_read(now));
        next.read(now, 10 * MS);
        assert!(!next.may_read(now + 199 * MS));
        assert!(next.may_read(now + 200 * MS));
    }

    #[test]
    fn events_wait_for_a_repair_that_waits() {
        let now = Instant::now();
        let mut next = Next::default();
        assert!(next.touched(now), "the first at once");
        next.succeeded(now);
        next.repaired(now, 10 * MS);
        assert!(!next.touched(now + MS));
        next.event(now + 2 * MS);
        assert_eq!(next.step(now + 50 * MS), Step::Wait);
        let repair_at = next.repairs.may_repair_at(now + MS);
        assert_eq!(next.step(repair_at), Step::Sync);
        assert_eq!(next.succeeded(repair_at), Some(now + 2 * MS));
    }
}
