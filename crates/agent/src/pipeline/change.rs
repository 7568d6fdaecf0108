//! Brings one table after the other to what is compiled.
//!
//! In: the engine's tables. Out: a kernel that has them, if need be without the
//! policies that it refuses. Never: a table that waits for the other one.

use std::sync::Arc;

use compiler::Compiled;
use nft::SendError;
use policy::Snapshot;
use ruleset::{Batch, Ruleset, TableFamily};

use super::attempt::{AttemptError, Interrupt};
use super::blame::RefusedBatch;
use super::own_table::Wanted;
use super::refusals::Consequence;
use super::{MAX_ATTEMPTS, Pipeline, SyncError};
use crate::Sink;

/// What was being done when the kernel refused a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The table becomes the next one step by step.
    Change,
    /// It is built again beside the old one.
    Rebuild,
}

impl<S: Sink> Pipeline<S> {
    /// What the engine wants a table to be.
    pub(super) fn wanted(&self, family: TableFamily) -> Wanted {
        table(self.engine.compiled(), family).cloned().map(Arc::new)
    }

    /// Attempts until the kernel has the engine's table.
    pub(super) fn attempts(
        &mut self,
        family: TableFamily,
        snapshot: &Snapshot,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<(), SyncError> {
        let result = self.attempts_at(family, snapshot, interrupt);
        let table = self.tables.of(family);
        table.must_be_rebuilt = result.as_ref().is_err_and(SyncError::needs_rebuild);
        if result.is_ok() {
            let set_aside = &self.engine.options().set_aside;
            table.refusals.succeeded(set_aside);
            table.rebuild_refusals.succeeded(set_aside);
        }
        result
    }

    fn attempts_at(
        &mut self,
        family: TableFamily,
        snapshot: &Snapshot,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<(), SyncError> {
        let mut races = 0;
        while races < MAX_ATTEMPTS {
            let begins = self.clock.now();
            self.prove(snapshot)?;
            interrupt.proving += self.clock.now().saturating_duration_since(begins);
            let wanted = self.wanted(family);
            match self.attempt(family, &wanted, races, interrupt) {
                Ok(()) => return Ok(()),
                Err(AttemptError::Overtaken | AttemptError::LostTrack) => {
                    tracing::debug!("others committed meanwhile, starting over");
                    races += 1;
                }
                Err(AttemptError::Refused(error, batch)) => {
                    self.set_aside_refused(family, error, &batch, Step::Change)?;
                }
                Err(AttemptError::Interrupted(_)) => return Err(SyncError::Interrupted),
                Err(AttemptError::Failed(error)) => return Err(error),
            }
        }
        Err(SyncError::TooManyRaces)
    }

    /// One attempt at one table.
    pub(super) fn attempt(
        &mut self,
        family: TableFamily,
        wanted: &Wanted,
        races: usize,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<(), AttemptError> {
        let Self { sink, clock, tables, .. } = self;
        let table = tables.of(family);
        let batches = table.progress.batches();
        let result = table.attempt(sink, &**clock, wanted, races, interrupt);
        if let Ok(Some(ours)) | Err(AttemptError::Interrupted(Some(ours))) = &result {
            tables.other(family).kernel.ours_committed_elsewhere(ours.from, ours.to);
        }
        match result {
            Ok(_) => Ok(()),
            Err(AttemptError::Interrupted(ours)) => Err(AttemptError::Interrupted(ours)),
            Err(AttemptError::Overtaken) => Err(AttemptError::Overtaken),
            Err(error) => {
                let table = tables.of(family);
                let committed = table.progress.batches() > batches;
                table.attempt_failed(sink, committed);
                Err(error)
            }
        }
    }

    /// Sets the policies aside that are to blame for what was refused. An
    /// error if there are none.
    pub(super) fn set_aside_refused(
        &mut self,
        family: TableFamily,
        error: SendError,
        batch: &Batch,
        step: Step,
    ) -> Result<(), SyncError> {
        let mut set_aside = self.engine.options().set_aside.clone();
        let compiled = match family {
            TableFamily::Inet => Some(self.engine.compiled()),
            // What is bound comes from no policy.
            TableFamily::Bridge => None,
        };
        let refused = RefusedBatch { compiled, batch };
        let table = self.tables.of(family);
        let history = match step {
            Step::Change => &mut table.refusals,
            Step::Rebuild => &mut table.rebuild_refusals,
        };
        match history.refused(refused, &error, &mut set_aside) {
            Consequence::SetAside(found) => {
                self.set_aside.add(found, self.clock.now());
                self.engine.set_aside(set_aside);
                self.forget_proof();
                Ok(())
            }
            _ if step == Step::Rebuild && !error.is_transient() => {
                Err(SyncError::RebuildDidNotHelp(error))
            }
            consequence => Err(no_policy_to_blame(consequence, error)),
        }
    }
}

/// The compiled table of this family, if there shall be one.
pub(super) fn table(compiled: &Compiled, family: TableFamily) -> Option<&Ruleset> {
    match family {
        TableFamily::Inet => Some(&compiled.ruleset),
        TableFamily::Bridge => compiled.bridge.as_ref(),
    }
}

/// The errors of both tables, each once.
pub(super) fn errors(
    results: impl IntoIterator<Item = Result<(), SyncError>>,
) -> Option<(SyncError, Option<SyncError>)> {
    let mut errors = results.into_iter().filter_map(Result::err);
    let first = errors.next()?;
    let text = first.to_string();
    Some((first, errors.find(|error| error.to_string() != text)))
}

/// The error when no policy could be set aside.
fn no_policy_to_blame(consequence: Consequence, source: SendError) -> SyncError {
    match consequence {
        Consequence::BuildAgain => SyncError::KeepsRefusing(source),
        Consequence::TryRarely => SyncError::RebuildDidNotHelp(source),
        Consequence::SetAside(_) | Consequence::TryAgain => SyncError::Send(source),
    }
}
