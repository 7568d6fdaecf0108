//! Compile, compare with the kernel, send: the steps that every command
//! shares but for the last.
//!
//! In: a snapshot. Out: a kernel that enforces it, in the fewest changes.
//! Never: a table deleted to be made anew; a policy that the kernel refuses
//! stopping the others.

use std::collections::BTreeSet;

use compiler::{Compiled, Options, compile};
use nft::{ForeignKind, ForeignObject, Generation, ReadError, Refusal, SendError};
use policy::{Diagnostic, ObjectKey, Severity, Snapshot};
use ruleset::plan::{PlanError, plan};
use ruleset::{Batch, Name, Op, Ruleset};

use crate::Sink;

/// How often to start over after others changed the ruleset in between or
/// the kernel refused a part.
const MAX_ATTEMPTS: usize = 10;

/// The pipeline from snapshot to kernel.
#[derive(Debug)]
pub struct Pipeline<S> {
    sink: S,
    options: Options,
    /// The table as of our last commit, until others commit.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    ruleset: Ruleset,
    generation: Generation,
}

/// What a change did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Batches that were committed; none if there was nothing to do.
    pub batches: usize,
    /// Operations in them.
    pub operations: usize,
    /// About the objects: of the compiler, and policies set aside.
    pub diagnostics: Vec<Diagnostic>,
    /// What others put into our table and is still in it.
    pub foreign: Vec<ForeignObject>,
}

/// Between the kernel's table and the one that it shall have.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The kernel's table as far as our words can say it.
    pub live: Option<Ruleset>,
    /// Flags that others gave the table, such as `dormant`.
    pub flags: Option<String>,
    /// What others put into it.
    pub foreign: Vec<ForeignObject>,
    /// The generation that this was read in.
    pub generation: Generation,
    /// What to send.
    pub batches: Vec<Batch>,
}

/// Why the kernel does not enforce the snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The table could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch failed for a reason that no policy is to blame for.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The kernel's table cannot become ours step by step.
    #[error(
        "table inet {table} was made by another version or changed by hand: {source}; `nftpol cleanup` removes it"
    )]
    Plan {
        /// The table.
        table: Name,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// Others have put something into the table where ours belongs.
    #[error(
        "table inet {table} holds {name}, which is not ours ({why}) and in the way; remove it, \
         or all of the table with `nftpol cleanup`"
    )]
    InTheWay {
        /// The table.
        table: Name,
        /// The name that both have.
        name: String,
        /// Why it is not ours.
        why: String,
    },
    /// Others kept changing the table.
    #[error("the ruleset changed under each of {MAX_ATTEMPTS} attempts; try again")]
    KeepsChanging,
}

impl<S: Sink> Pipeline<S> {
    /// A pipeline that adopts the table it finds.
    pub fn new(sink: S, options: Options) -> Self {
        Self { sink, options, live: None }
    }

    /// The kernel.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Whether nobody committed since our own last commit.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn is_current(&mut self) -> Result<bool, ReadError> {
        let generation = self.sink.generation()?;
        Ok(self.live.as_ref().is_some_and(|live| live.generation == generation))
    }

    /// Compiles without touching the kernel.
    pub fn compile(&self, snapshot: &Snapshot) -> Compiled {
        compile(snapshot, &self.options)
    }

    /// Makes the kernel enforce the snapshot.
    ///
    /// # Errors
    /// See [`SyncError`]. The kernel then enforces what it did before, or a
    /// state on the way, as the difference orders it.
    pub fn sync(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncError> {
        self.options.set_aside.clear();
        let mut refused: Vec<Diagnostic> = Vec::new();
        let mut outcome = Outcome::default();
        for _ in 0..MAX_ATTEMPTS {
            let compiled = self.compile(snapshot);
            outcome.diagnostics = compiled.diagnostics.iter().chain(&refused).cloned().collect();
            match self.change(&compiled.ruleset, &mut outcome) {
                Ok(()) => return Ok(outcome),
                Err(ChangeError::Moved) => self.live = None,
                Err(ChangeError::Refused(refusals, batch)) => {
                    self.live = None;
                    let found = self.set_aside(&compiled, &refusals, &batch);
                    if found.is_empty() {
                        return Err(SendError::Refused(refusals).into());
                    }
                    refused.extend(found);
                }
                Err(ChangeError::Failed(error)) => {
                    self.live = None;
                    return Err(error);
                }
            }
        }
        Err(SyncError::KeepsChanging)
    }

    /// What [`Self::sync`] would send to make the kernel's table this one.
    ///
    /// # Errors
    /// The table cannot be read, or cannot become this one step by step.
    pub fn difference(&mut self, target: &Ruleset) -> Result<Difference, SyncError> {
        let (live, mut foreign, generation) = self.live()?;
        if let Some(ForeignObject { name, why, .. }) = in_the_way(target, &foreign) {
            let (table, name, why) = (target.table.clone(), name.clone(), why.clone());
            return Err(SyncError::InTheWay { table, name, why });
        }
        let mut batches = plan(live.as_ref(), target)
            .map_err(|source| SyncError::Plan { table: target.table.clone(), source })?;
        let is_flags = |object: &ForeignObject| object.kind == ForeignKind::Table;
        let flags = foreign.iter().position(is_flags).map(|index| foreign.remove(index).why);
        if flags.is_some() {
            // They go when the table is created once more.
            batches.insert(0, Batch { ops: vec![Op::CreateTable] });
        }
        Ok(Difference { live, flags, foreign, generation, batches })
    }

    /// Reads the table, or takes it from memory while nobody else committed.
    fn live(&mut self) -> Result<(Option<Ruleset>, Vec<ForeignObject>, Generation), ReadError> {
        // Before the dump: what is made after it must not pass for read.
        let generation = self.sink.generation()?;
        if let Some(live) = self.live.as_ref().filter(|live| live.generation == generation) {
            return Ok((Some(live.ruleset.clone()), Vec::new(), generation));
        }
        Ok(match self.sink.dump(&compiler::scaffold::table())? {
            Some(dump) => (Some(dump.ruleset), dump.foreign, dump.generation),
            None => (None, Vec::new(), generation),
        })
    }

    fn change(&mut self, target: &Ruleset, outcome: &mut Outcome) -> Result<(), ChangeError> {
        let Difference { foreign, generation, batches, .. } = self.difference(target)?;
        outcome.foreign = foreign;
        // Each commit moves the generation by one, whoever makes it.
        let ours = Generation(generation.0.wrapping_add(batches.len() as u32));
        // Only the first batch depends on what was read; after it the table
        // is known to be as we left it.
        let mut expected = Some(generation);
        for batch in batches {
            match self.sink.send(&target.table, &batch, expected.take()) {
                Ok(()) => {
                    outcome.batches += 1;
                    outcome.operations += batch.ops.len();
                }
                Err(SendError::GenerationMoved | SendError::Unknown) => {
                    return Err(ChangeError::Moved);
                }
                Err(SendError::Refused(refusals)) => {
                    return Err(ChangeError::Refused(refusals, batch));
                }
                Err(error) => return Err(SyncError::from(error).into()),
            }
        }
        // Somebody who committed since the first batch may have changed the
        // table again: it must be read before it is believed.
        let generation = self.sink.generation()?;
        let known = || Live { ruleset: target.clone(), generation };
        self.live = (generation == ours).then(known);
        Ok(())
    }

    /// Sets aside the policies behind what was refused; says which and why.
    fn set_aside(
        &mut self,
        compiled: &Compiled,
        refusals: &[Refusal],
        batch: &Batch,
    ) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        for refusal in refusals {
            for policy in behind(compiled, refusal, batch) {
                if self.options.set_aside.insert(policy.clone()) {
                    diagnostics.push(Diagnostic {
                        severity: Severity::Error,
                        kind: "NetworkPolicy",
                        object: policy,
                        field: String::new(),
                        message: format!(
                            "the kernel refused it ({refusal}); its pods stay isolated and it \
                             allows nothing"
                        ),
                    });
                }
            }
        }
        diagnostics
    }
}

/// A foreign object with a name that the table needs for itself.
fn in_the_way<'a>(target: &Ruleset, foreign: &'a [ForeignObject]) -> Option<&'a ForeignObject> {
    foreign.iter().find(|object| match object.kind {
        ForeignKind::Chain => target.chains.keys().any(|name| name.as_str() == object.name),
        ForeignKind::Set => {
            let mut names = target.sets.keys().chain(target.maps.keys());
            names.any(|name| name.as_str() == object.name)
        }
        ForeignKind::Table | ForeignKind::Object | ForeignKind::Flowtable => false,
    })
}

fn behind(compiled: &Compiled, refusal: &Refusal, batch: &Batch) -> BTreeSet<ObjectKey> {
    let Some(object) = &refusal.object else { return BTreeSet::new() };
    let rule = match batch.ops.get(refusal.op) {
        Some(Op::AddRule(_, rule)) => Some(rule.matches.as_slice()),
        _ => None,
    };
    compiled.policies_behind(object, rule)
}

/// Why one attempt ended.
enum ChangeError {
    /// Read again and start over.
    Moved,
    /// The kernel refused a part of this batch.
    Refused(Vec<Refusal>, Batch),
    /// Give up.
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for ChangeError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
