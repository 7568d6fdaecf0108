//! The thread: which passes are pending, and when they begin.
//!
//! In: changes from the inbox. Out: passes within the budget, and counters.
//! Never: suspects lost after an error; the same error logged twice in a row.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ruleset::Ruleset;

use super::budget::Budget;
use super::suspects::{Suspects, suspects};
use super::sweep::{Sweeper, Swept};
use super::{AGAIN_AFTER, Shared, TableChange};

/// A failed pass is repeated after this long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A second pass waits this long for a first one to join. While pods come and go all
/// the time, none is made for itself.
const TOGETHER: Duration = Duration::from_millis(250);

/// The state of the thread.
pub(super) struct Worker {
    shared: Arc<Shared>,
    sweeper: Sweeper,
    budget: Budget,
    due: Vec<PendingPass>,
    /// The newest table.
    table: Option<Arc<Ruleset>>,
    /// The error of the last pass; `None` once one succeeds.
    error: Option<String>,
}

/// Suspects to be checked.
struct PendingPass {
    /// They are checked in any pass that begins after this.
    at: Instant,
    /// A pass begins by now.
    latest: Instant,
    suspects: Suspects,
    /// Whether to check them once more after this.
    again: bool,
}

impl PendingPass {
    fn at_once(suspects: Suspects, again: bool) -> Self {
        let now = Instant::now();
        Self { at: now, latest: now, suspects, again }
    }

    /// The second check of suspects whose first one ended now.
    fn second(now: Instant, suspects: Suspects) -> Self {
        let at = now + AGAIN_AFTER;
        Self { at, latest: at + TOGETHER, suspects, again: false }
    }
}

/// When the next pass begins at the latest.
fn begin_by(due: &[PendingPass]) -> Option<Instant> {
    due.iter().map(|due| due.latest).min()
}

/// What a pass that begins now checks.
fn take_ready(due: &mut Vec<PendingPass>, now: Instant) -> Vec<PendingPass> {
    due.extract_if(.., |due| due.at <= now).collect()
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, sweeper: Sweeper) -> Self {
        let budget = Budget::new(Instant::now());
        Self { shared, sweeper, budget, due: Vec::new(), table: None, error: None }
    }

    /// Runs until asked to stop.
    pub(super) fn run(mut self) {
        while let Some((changes, bound)) = self.shared.wait(self.next_pass()) {
            changes.into_iter().for_each(|change| self.take(change));
            self.take_bound(bound);
            let now = Instant::now();
            if self.next_pass().is_some_and(|next| next <= now) {
                self.pass(now);
            }
        }
    }

    fn take(&mut self, change: TableChange) {
        let suspects = suspects(change.before.as_deref(), &change.after);
        tracing::debug!(addresses = suspects.addresses.len(), "connections suspected");
        self.table = Some(change.after);
        if !suspects.is_empty() {
            self.due.push(PendingPass::at_once(suspects, true));
        }
    }

    /// Nobody can forge these any more, so one pass is enough.
    fn take_bound(&mut self, forgeable: BTreeSet<IpAddr>) {
        if !forgeable.is_empty() {
            let suspects = Suspects { forgeable, ..Suspects::default() };
            self.due.push(PendingPass::at_once(suspects, false));
        }
    }

    /// When the next pass begins, if nothing changes until then.
    fn next_pass(&self) -> Option<Instant> {
        Some(begin_by(&self.due)?.max(self.budget.ready_at()))
    }

    /// Checks all suspects whose time has come, in one pass.
    fn pass(&mut self, start: Instant) {
        let Some(table) = self.table.clone() else { return };
        let ready = take_ready(&mut self.due, start);
        let mut once_more = Suspects::default();
        let mut all = Suspects::default();
        for due in ready {
            if due.again {
                once_more.merge(due.suspects.clone());
            }
            all.merge(due.suspects);
        }
        once_more.forgeable.clear();
        let shared = &self.shared;
        let newer = || shared.state().inbox.last().map(|change| Arc::clone(&change.after));
        shared.state().counters.begun += 1;
        let (swept, result) = self.sweeper.sweep(&all, &table, &newer);
        let end = Instant::now();
        self.budget.spend(end - start, end);
        self.count(swept, end - start, result.is_err());
        match result {
            Ok(()) => {
                tracing::debug!(swept.entries, swept.deleted, took = ?(end - start), "connections judged");
                if self.error.take().is_some() {
                    tracing::info!("connections are judged again");
                }
                if !once_more.is_empty() {
                    self.due.push(PendingPass::second(end, once_more));
                }
            }
            Err(error) => {
                let text = error.to_string();
                if self.error.as_ref() != Some(&text) {
                    tracing::warn!("denied connections may continue: {text}; trying again");
                }
                self.error = Some(text);
                let at = end + RETRY_AFTER;
                self.due.push(PendingPass { at, latest: at, suspects: all, again: true });
            }
        }
    }

    fn count(&self, swept: Swept, took: Duration, failed: bool) {
        let counters = &mut self.shared.state().counters;
        counters.sweeps += 1;
        counters.entries += swept.entries;
        counters.deleted += swept.deleted;
        counters.errors += u64::from(failed);
        counters.last = took;
        counters.total += took;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_pass_joins_a_first_one_and_does_not_wait_for_long() {
        const MS: Duration = Duration::from_millis(1);
        let suspects = Suspects::default();
        let now = Instant::now();
        let mut due = vec![PendingPass::second(now, suspects.clone())];
        let (at, latest) = (now + AGAIN_AFTER, now + AGAIN_AFTER + TOGETHER);
        assert_eq!(begin_by(&due), Some(latest), "nothing else to do");
        assert!(take_ready(&mut due, at - MS).is_empty(), "too early for late packets");
        let first = PendingPass { at: at + MS, latest: at + MS, suspects, again: true };
        due.push(first);
        assert_eq!(begin_by(&due), Some(at + MS), "a first pass begins at once");
        assert_eq!((take_ready(&mut due, at + MS).len(), due.len()), (2, 0));
        assert_eq!(begin_by(&due), None);
    }
}
