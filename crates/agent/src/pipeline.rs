//! Compile, compare with the kernel, send: the steps that every command
//! shares but for the last.
//!
//! In: a snapshot. Out: a kernel that enforces it, in the fewest changes.
//! Never: a table deleted to be made anew; a policy that the kernel refuses
//! stopping the others.

mod attempt;
mod batch_spacing;
mod outcome;
mod proof;
mod refused;
mod replace;

pub use outcome::{Difference, Outcome, SyncError};
pub use proof::{Proofs, Unproved, Verify};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiler::{Changed, Compiled, Engine, Options, compile};
use nft::{ForeignObject, Generation, ReadError, Refusal, SendError, Signs};
use policy::{Diagnostic, ObjectKey, Snapshot};
use ruleset::plan::Planner;
use ruleset::{Batch, Ruleset};

use crate::Sink;
use attempt::AttemptError;
use proof::Prover;

/// How often to start over after others changed the ruleset in between.
const MAX_ATTEMPTS: usize = 10;
/// How long a policy that the kernel refused stays set aside while nothing
/// else changes; what it lacked, such as memory, may be there again.
const SET_ASIDE_FOR: Duration = Duration::from_secs(60);

/// The pipeline from snapshot to kernel.
#[derive(Debug)]
pub struct Pipeline<S> {
    sink: S,
    engine: Engine,
    planner: Planner,
    /// The table as of our last commit, until others commit.
    live: Option<Live>,
    /// What the engine's snapshot shall become, once there is one.
    target: Option<Target>,
    /// The table as it was found when the first change began that has not come
    /// to its end; within, `None` is a kernel without the table.
    before: Option<Option<Arc<Ruleset>>>,
    /// Whether the table had been touched when it was read.
    touched: bool,
    /// If no table is to be sent without a proof.
    prover: Option<Prover>,
}

#[derive(Debug)]
struct Live {
    ruleset: Arc<Ruleset>,
    /// What others have in it. A name that they took is no policy's fault.
    foreign: Vec<ForeignObject>,
    /// The generation as of which all of it is known; `None` once others
    /// committed between our own commits.
    known: Option<Generation>,
    signs: Option<Signs>,
    /// To be read again as soon as that can be done.
    doubted: bool,
}

/// What the kernel's table is, by a look that costs microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nobody committed since our own last commit.
    Current,
    /// The same, and policies that were set aside are to be tried again.
    Due,
    /// Others committed; our table and its base chain are still those that we
    /// made, with as many parts. What is in the parts was not looked at.
    Moved,
    /// The table was made anew, switched off or lost parts, or was never read.
    Touched,
}

/// What the attempts of one change did.
#[derive(Debug, Default)]
struct Done {
    batches: usize,
    operations: usize,
    foreign: Vec<ForeignObject>,
}

/// About the policies of a snapshot that are set aside.
#[derive(Debug)]
struct Target {
    refused: Vec<Diagnostic>,
    since: Instant,
}

impl<S: Sink> Pipeline<S> {
    /// A pipeline that adopts the table it finds.
    pub fn new(sink: S, options: Options) -> Self {
        let engine = Engine::new(options);
        Self {
            sink,
            engine,
            planner: Planner::default(),
            live: None,
            target: None,
            before: None,
            touched: false,
            prover: None,
        }
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
        let generation = self.sink.generation()?;
        if self.live.as_ref().is_none_or(|live| live.known != Some(generation)) {
            return Ok(if self.shows_no_sign()? { Check::Moved } else { Check::Touched });
        }
        let is_due = self.target.as_ref().is_none_or(Target::is_due);
        Ok(if is_due { Check::Due } else { Check::Current })
    }

    /// Lets the next change read the table, if others let it.
    pub fn distrust(&mut self) {
        if let Some(live) = &mut self.live {
            live.known = None;
            live.doubted = true;
        }
    }

    /// Whether a policy isolates a local pod, as of the last change.
    pub fn isolates(&self, policy: &ObjectKey) -> bool {
        let signatures = &self.engine.compiled().signatures;
        signatures.values().any(|signature| signature.policies.contains(policy))
    }

    /// Compiles without touching the kernel.
    pub fn compile(&self, snapshot: &Snapshot) -> Compiled {
        compile(snapshot, self.engine.options())
    }

    /// Makes the kernel enforce the snapshot.
    ///
    /// # Errors
    /// See [`SyncError`]. The kernel then enforces what it did before, or a
    /// state on the way, as the difference orders it.
    pub fn sync(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncError> {
        let changed = Changed::between(self.engine.snapshot(), snapshot);
        self.sync_changed(snapshot, &changed)
    }

    /// The same where it is known what changed since the last snapshot, whether
    /// or not the kernel came to enforce that one: the objects named and no
    /// other.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub fn sync_changed(
        &mut self,
        snapshot: &Snapshot,
        changed: &Changed,
    ) -> Result<Outcome, SyncError> {
        let mut target = self.target(snapshot, changed);
        let mut done = Done::default();
        let mut races = 0;
        while races < MAX_ATTEMPTS {
            self.prove(snapshot)?;
            let ruleset = Arc::new(self.engine.compiled().ruleset.clone());
            let result = self.change(&ruleset, races, &mut done);
            if result.as_ref().is_err_and(|error| !matches!(error, AttemptError::Overtaken)) {
                self.live = None;
            }
            match result {
                Ok(()) => {
                    self.enforced(&ruleset);
                    let outcome = self.outcome(&target, ruleset, done);
                    self.target = Some(target);
                    return Ok(outcome);
                }
                Err(AttemptError::Overtaken | AttemptError::Moved) => {
                    tracing::debug!("others committed meanwhile, starting over");
                    races += 1;
                }
                Err(AttemptError::Refused(refusals, batch)) => {
                    self.blame(&mut target, refusals, &batch)?;
                }
                Err(AttemptError::Failed(error)) => return Err(error),
            }
        }
        Err(SyncError::TooManyRaces)
    }

    /// Sets the policies aside that are behind what was refused.
    fn blame(
        &mut self,
        target: &mut Target,
        refusals: Vec<Refusal>,
        batch: &Batch,
    ) -> Result<(), SyncError> {
        let mut set_aside = self.engine.options().set_aside.clone();
        let compiled = self.engine.compiled();
        let found = refused::set_aside(compiled, &refusals, batch, &mut set_aside);
        if found.is_empty() {
            return Err(SendError::Refused(refusals).into());
        }
        target.refused.extend(found);
        self.engine.set_aside(set_aside);
        self.reopen();
        Ok(())
    }

    /// Goes on to a snapshot, with all its policies. Those that are set aside
    /// stay so while nothing changes and they are not due.
    fn target(&mut self, snapshot: &Snapshot, changed: &Changed) -> Target {
        let known = self.target.take();
        let known = known.filter(|known| changed.is_empty() && !known.is_due());
        known.unwrap_or_else(|| {
            if !changed.is_empty() || !self.engine.options().set_aside.is_empty() {
                self.reopen();
            }
            self.engine.set_aside(BTreeSet::new());
            self.engine.update_changed(snapshot, changed);
            Target { refused: Vec::new(), since: Instant::now() }
        })
    }

    fn outcome(&mut self, target: &Target, after: Arc<Ruleset>, done: Done) -> Outcome {
        let diagnostics = self.engine.compiled().diagnostics.iter().chain(&target.refused);
        Outcome {
            before: self.before.take().flatten(),
            after,
            batches: done.batches,
            operations: done.operations,
            diagnostics: diagnostics.cloned().collect(),
            set_aside: self.engine.options().set_aside.clone(),
            foreign: done.foreign,
            restored: std::mem::take(&mut self.touched) && done.batches > 0,
        }
    }
}

impl Target {
    /// Whether policies were set aside long enough ago to be tried again.
    fn is_due(&self) -> bool {
        !self.refused.is_empty() && self.since.elapsed() > SET_ASIDE_FOR
    }
}
