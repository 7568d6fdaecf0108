//! When to look at the node's links, and at what.
//!
//! In: events, the results of looks, the time. Out: the next look, or how long to
//! wait. Never: a clock, a kernel.
//!
//! | why | when | what |
//! |---|---|---|
//! | nothing is known | at once | everything |
//! | a look failed | after a pause that doubles | everything |
//! | a link or an address of the node changed | [`SETTLE`] later | the node's links, and new ports |
//! | a pod's address is at no port | at once, then after a pause that doubles | ports that may lead to it |
//! | time passed: inside a pod addresses change without an event | [`FULL_EVERY`] | everything |
//!
//! Each kind of look takes at most one part in [`LOOK_SHARE`] of the time. A pod
//! can cause events, and can make its namespace slow to list.

use std::time::{Duration, Instant};

/// How long links change before it is looked: a CNI plugin makes a port in
/// several steps.
pub const SETTLE: Duration = Duration::from_millis(3);
/// How often to look at everything.
pub const FULL_EVERY: Duration = Duration::from_secs(5);
/// After the first failure, or the first look that did not find a pod's address;
/// twice as long after each more, up to [`LAST_RETRY`].
pub const FIRST_RETRY: Duration = Duration::from_millis(20);
/// The longest pause before a retry.
pub const LAST_RETRY: Duration = Duration::from_secs(1);
/// Each kind of look takes at most one part in this many of the time.
pub const LOOK_SHARE: u32 = 10;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The node's links and all other ends.
    Everything,
    /// The node's links and the other ends of new ports.
    Links,
    /// The other ends of ports that may have what is missing.
    Missing,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look.
    Look(Scope),
    /// Wait this long, or until something happens.
    Wait(Duration),
}

/// When to look, and at what.
#[derive(Debug, Default)]
pub struct Schedule {
    everything: Pace,
    links: Pace,
    missing: Pace,
    /// The oldest event that no look has seen.
    event: Option<Instant>,
    /// When to look for what is missing.
    search: Option<Retry>,
    /// When to look after a failure.
    failure: Option<Retry>,
}

/// The last look of a kind.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    ended: Option<Instant>,
    took: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

impl Schedule {
    /// What to do now.
    pub fn step(&self, now: Instant) -> Step {
        let due = self.due(now);
        let first = due.into_iter().flatten().min_by_key(|(at, _)| *at);
        match first {
            Some((at, scope)) if at <= now => Step::Look(scope),
            Some((at, _)) => Step::Wait(at.saturating_duration_since(now)),
            None => Step::Wait(LAST_RETRY),
        }
    }

    /// When each kind of look is due. Of those that are due at the same time, the
    /// first counts.
    fn due(&self, now: Instant) -> [Option<(Instant, Scope)>; 3] {
        let everything = match (self.failure, self.everything.ended) {
            (Some(retry), _) => retry.at,
            (None, None) => now,
            (None, Some(ended)) => (ended + FULL_EVERY).max(self.everything.next_or(ended)),
        };
        // After a failure nothing but everything will do.
        let is_well = self.failure.is_none();
        let links = self.event.map(|event| (event + SETTLE).max(self.links.next_or(event)));
        let missing = self.search.map(|search| search.at.max(self.missing.next_or(search.at)));
        [
            Some((everything, Scope::Everything)),
            links.filter(|_| is_well).map(|at| (at, Scope::Links)),
            missing.filter(|_| is_well).map(|at| (at, Scope::Missing)),
        ]
    }

    /// A link, or an address of the node, changed.
    pub fn event(&mut self, now: Instant) {
        self.event.get_or_insert(now);
    }

    /// Other addresses of pods are looked for now. Say whether one of them is
    /// missing.
    pub fn wanted(&mut self, now: Instant, is_missing: bool) {
        let search = Retry { at: now, pause: Duration::ZERO };
        self.search = is_missing.then_some(search);
    }

    /// A look at the node's links begins. It shows what earlier events told of.
    pub fn begins(&mut self) {
        self.event = None;
    }

    /// A look ended. Say whether an address of a pod is missing.
    pub fn looked(&mut self, scope: Scope, start: Instant, end: Instant, is_missing: bool) {
        let pace = Pace { ended: Some(end), took: end.saturating_duration_since(start) };
        match scope {
            Scope::Everything => (self.everything, self.failure) = (pace, None),
            Scope::Links => self.links = pace,
            Scope::Missing => self.missing = pace,
        }
        self.search = match self.search {
            _ if !is_missing => None,
            Some(search) if scope == Scope::Missing => Some(search.again(end)),
            Some(search) => Some(search),
            None => Some(Retry { at: end, pause: Duration::ZERO }.again(end)),
        };
    }

    /// A look failed.
    pub fn failed(&mut self, end: Instant) {
        let last = self.failure.unwrap_or(Retry { at: end, pause: Duration::ZERO });
        self.failure = Some(last.again(end));
    }
}

impl Pace {
    /// When the next look of this kind is affordable; this time if there was none.
    fn next_or(self, without: Instant) -> Instant {
        self.ended.map_or(without, |ended| ended + self.took * (LOOK_SHARE - 1))
    }
}

impl Retry {
    fn again(self, now: Instant) -> Self {
        let pause = (self.pause * 2).clamp(FIRST_RETRY, LAST_RETRY);
        Self { at: now + pause, pause }
    }
}

#[cfg(test)]
mod tests;
