//! Compile, compare with the kernel, send. All commands share these steps,
//! except the last one.
//!
//! In: a snapshot. Out: a kernel that enforces it, with the fewest changes.
//! Never: a gap in which no table enforces; a refused policy that stops the
//! others.

mod attempt;
mod batch_spacing;
mod blame;
mod kernel_table;
mod outcome;
mod persist;
mod progress;
mod proof;
mod refusals;
mod replace;
mod set_aside;

pub use outcome::{Committed, Difference, Outcome, SyncError, SyncFailed};
pub use proof::{Proofs, Unproved, Verify};

use std::collections::BTreeSet;
use std::sync::Arc;

use compiler::{Compiled, Engine, Options, Place};
use nft::{ReadError, SendError};
use policy::{Diagnostic, ObjectKey, Snapshot};
use ruleset::plan::Planner;
use ruleset::{Batch, Ruleset};

use crate::Sink;
use crate::clock::{Clock, SystemClock};
use attempt::AttemptError;
use blame::RefusedBatch;
use kernel_table::KernelTable;
use progress::Progress;
use proof::Prover;
use refusals::{Consequence, RefusalHistory};
use set_aside::SetAside;

/// How often to start over after others changed the ruleset in between.
const MAX_ATTEMPTS: usize = 10;
/// The pipeline from snapshot to kernel.
#[derive(Debug)]
pub struct Pipeline<S> {
    sink: S,
    /// The place that the engine compiles for.
    place: Place,
    clock: Arc<dyn Clock>,
    engine: Engine,
    planner: Planner,
    kernel_table: KernelTable,
    progress: Progress,
    set_aside: SetAside,
    refusals: RefusalHistory,
    /// Of a table that is built again, where other batches are sent.
    rebuild_refusals: RefusalHistory,
    /// `Some` if each table must be proved before it is sent.
    prover: Option<Prover>,
}

/// What there is to do about the kernel's table, by a look that costs
/// microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: nobody committed since our own last commit.
    Nothing,
    /// Sync: policies that were set aside are due to be tried again.
    RetryRefused,
    /// [`Pipeline::distrust`] and sync, as often as a read can be afforded:
    /// others committed. Our table and its base chain are still those that we
    /// made, with as many parts, but what is in the parts was not looked at.
    ReadWhenAffordable,
    /// Sync: the table was made again by others, switched off or lost parts, or
    /// was never read.
    Restore,
}

/// What was being done when the kernel refused a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The table becomes the next one step by step.
    Change,
    /// It is built again beside the old one.
    Rebuild,
}

impl<S: Sink> Pipeline<S> {
    /// A pipeline that takes over the table it finds.
    pub fn new(sink: S, options: Options) -> Self {
        Self {
            sink,
            place: Place::forward(),
            clock: Arc::new(SystemClock),
            engine: Engine::new(options),
            planner: Planner::default(),
            kernel_table: KernelTable::default(),
            progress: Progress::default(),
            set_aside: SetAside::default(),
            refusals: RefusalHistory::default(),
            rebuild_refusals: RefusalHistory::default(),
            prover: None,
        }
    }

    /// Takes the time from this clock, and not from the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The kernel.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Looks whether others touched the table.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn check(&mut self) -> Result<Check, ReadError> {
        // First, since on some nodes others commit before each look.
        if self.set_aside.is_due(self.clock.now()) {
            return Ok(Check::RetryRefused);
        }
        let generation = self.sink.generation()?;
        if self.kernel_table.is_exact_at(generation) {
            return Ok(Check::Nothing);
        }
        self.compare_fingerprint()?;
        Ok(match self.kernel_table.is_remembered() {
            true => Check::ReadWhenAffordable,
            false => Check::Restore,
        })
    }

    /// Makes the next change read the table, unless others commit too fast for
    /// that.
    pub fn distrust(&mut self) {
        self.kernel_table.distrust();
    }

    /// Whether a policy isolates a local pod, as of the last change.
    pub fn isolates(&self, policy: &ObjectKey) -> bool {
        self.engine.compiled().isolates(policy)
    }

    /// Compiles without touching the kernel.
    pub fn compile(&self, snapshot: &Snapshot) -> Compiled {
        Engine::new(self.engine.options().clone())
            .update(snapshot, &policy::NodeNetwork::default())
            .clone()
    }

    /// Makes the kernel enforce the snapshot.
    ///
    /// # Errors
    /// See [`SyncError`]. The kernel then enforces what it did before, or a
    /// state on the way, as the difference orders it; [`SyncFailed`] says which.
    pub fn sync(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncFailed> {
        self.compile_next(snapshot);
        match self.attempts(snapshot) {
            Ok(table) => Ok(self.finished(table)),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Attempts until the kernel has the engine's table.
    fn attempts(&mut self, snapshot: &Snapshot) -> Result<Arc<Ruleset>, SyncError> {
        let mut races = 0;
        while races < MAX_ATTEMPTS {
            self.prove(snapshot)?;
            let ruleset = Arc::new(self.engine.compiled().ruleset.clone());
            let batches = self.progress.batches();
            let result = self.attempt(&ruleset, races);
            if result.as_ref().is_err_and(|error| !matches!(error, AttemptError::Overtaken)) {
                self.attempt_failed(self.progress.batches() > batches);
            }
            match result {
                Ok(()) => return Ok(ruleset),
                Err(AttemptError::Overtaken | AttemptError::LostTrack) => {
                    tracing::debug!("others committed meanwhile, starting over");
                    races += 1;
                }
                Err(AttemptError::Refused(error, batch)) => {
                    self.set_aside_refused(error, &batch, Step::Change)?;
                }
                Err(AttemptError::Failed(error)) => return Err(error),
            }
        }
        Err(SyncError::TooManyRaces)
    }

    /// Sets the policies aside that are to blame for what was refused. An
    /// error if there are none.
    fn set_aside_refused(
        &mut self,
        error: SendError,
        batch: &Batch,
        step: Step,
    ) -> Result<(), SyncError> {
        let mut set_aside = self.engine.options().set_aside.clone();
        let refused = RefusedBatch { compiled: self.engine.compiled(), batch };
        let history = match step {
            Step::Change => &mut self.refusals,
            Step::Rebuild => &mut self.rebuild_refusals,
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

    /// Compiles a snapshot. A policy that is set aside stays so until its own
    /// object changes or it is due. Other objects change all the time, and what
    /// was refused a moment ago would stop their changes.
    fn compile_next(&mut self, snapshot: &Snapshot) {
        let diff = self.engine.snapshot().diff(snapshot);
        let is_due = self.set_aside.is_due(self.clock.now());
        if diff.is_empty() && !is_due {
            return;
        }
        self.forget_proof();
        let mut keep = match is_due {
            true => BTreeSet::new(),
            false => self.engine.options().set_aside.clone(),
        };
        keep.retain(|policy| !diff.policies.contains(policy));
        self.set_aside.keep(&keep);
        self.engine.set_aside(keep);
        self.engine.update(snapshot, &policy::NodeNetwork::default());
    }

    fn finished(&mut self, table: Arc<Ruleset>) -> Outcome {
        self.enforced(&table);
        let set_aside = &self.engine.options().set_aside;
        self.refusals.succeeded(set_aside);
        self.rebuild_refusals.succeeded(set_aside);
        let foreign = std::mem::take(&mut self.progress.foreign);
        let (committed, was_touched) = self.progress.finish(table);
        let Committed { before, after, batches, operations } = committed;
        Outcome {
            before,
            after,
            batches,
            operations,
            diagnostics: self.diagnostics(),
            set_aside: self.engine.options().set_aside.clone(),
            foreign,
            was_touched,
            restored: was_touched && batches > 0,
        }
    }

    fn failed(&mut self, error: SyncError) -> SyncFailed {
        SyncFailed {
            error,
            diagnostics: self.diagnostics(),
            set_aside: self.engine.options().set_aside.clone(),
            committed: self.progress.interrupt().map(Box::new),
        }
    }

    /// Of the compiler, and about the policies that are set aside.
    fn diagnostics(&self) -> Vec<Diagnostic> {
        let compiled = self.engine.compiled().diagnostics.iter();
        compiled.chain(self.set_aside.diagnostics()).cloned().collect()
    }
}

/// The error when no policy could be set aside.
fn no_policy_to_blame(consequence: Consequence, source: SendError) -> SyncError {
    match consequence {
        Consequence::BuildAgain => SyncError::KeepsRefusing(source),
        Consequence::TryRarely => SyncError::RebuildDidNotHelp(source),
        Consequence::SetAside(_) | Consequence::TryAgain => SyncError::Send(source),
    }
}
