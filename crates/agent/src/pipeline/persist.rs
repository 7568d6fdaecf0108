//! Tries again while the kernel refuses, for commands that have no loop of their own.
//!
//! In: a snapshot. Out: a kernel that enforces it, if need be without the
//! policies that it keeps refusing. Never: a command that stays here for ever.

use std::time::Duration;

use nft::SendError;
use policy::Snapshot;

use super::outcome::Committed;
use super::{Outcome, Pipeline, SyncError, SyncFailed, TableOutcome};
use crate::Sink;

/// A refused change is tried this many times. A policy that meets the same refusal
/// each time is set aside before.
const MAX_TRIES: u32 = 20;
/// After the first refusal; twice as long after each more, up to
/// [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause after a refusal.
const LAST_PAUSE: Duration = Duration::from_secs(1);

impl<S: Sink> Pipeline<S> {
    /// As [`Self::sync`], and builds the table again if the kernel keeps
    /// refusing to change it.
    ///
    /// # Errors
    /// See [`SyncError`].
    pub fn sync_or_rebuild(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncFailed> {
        match self.sync(snapshot) {
            Err(failure) if keeps_refusing(&failure) => {
                let committed = failure.committed;
                let outcome = self.replace(snapshot)?;
                Ok(with_earlier(outcome, committed.as_deref()))
            }
            result => result,
        }
    }

    /// As [`Self::sync_or_rebuild`], again and again while the kernel refuses,
    /// with growing pauses, for a quarter of a minute at most.
    ///
    /// # Errors
    /// The last one, see [`SyncError`].
    pub fn sync_persistently(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncFailed> {
        let mut pause = FIRST_PAUSE;
        let mut earlier = Vec::new();
        for _ in 1..MAX_TRIES {
            match self.sync_or_rebuild(snapshot) {
                Err(failure) if failure.errors().all(is_refusal) => {
                    earlier.extend(failure.committed)
                }
                Err(failure) => return Err(failure),
                Ok(outcome) => {
                    let each = earlier.iter().map(|one| Some(&**one));
                    return Ok(each.fold(outcome, with_earlier));
                }
            }
            self.clock.sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
        self.sync_or_rebuild(snapshot)
    }
}

fn keeps_refusing(failure: &SyncFailed) -> bool {
    failure.errors().any(|error| matches!(error, SyncError::KeepsRefusing(_)))
}

/// Whether the kernel refused, so that it may take the same a moment later.
fn is_refusal(error: &SyncError) -> bool {
    let (SyncError::Send(source) | SyncError::RebuildDidNotHelp(source)) = error else {
        return false;
    };
    matches!(source, SendError::Refused(_) | SendError::RefusedWhole(_))
}

/// Also counts what an earlier attempt committed.
fn with_earlier(outcome: Outcome, committed: Option<&Committed>) -> Outcome {
    let (batches, operations) = committed.map_or((0, 0), |one| (one.batches, one.operations));
    let [inet, bridge] = outcome.tables;
    let inet = TableOutcome {
        batches: inet.batches + batches,
        operations: inet.operations + operations,
        ..inet
    };
    Outcome { tables: [inet, bridge], ..outcome }
}
