//! Compile, compare with the kernel, send: the steps that every command
//! shares but for the last.
//!
//! In: a snapshot. Out: a kernel that enforces it, in the fewest changes.
//! Never: a table deleted to be made anew; a policy that the kernel refuses
//! stopping the others.

mod outcome;

pub use outcome::{Difference, Outcome, SyncError};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use compiler::{Compiled, Options, compile};
use nft::{ForeignKind, ForeignObject, Generation, ReadError, Refusal, SendError};
use policy::{Diagnostic, ObjectKey, Severity, Snapshot};
use ruleset::plan::plan;
use ruleset::{Batch, Op, Ruleset};

use crate::Sink;

/// How often to start over after others changed the ruleset in between.
const MAX_ATTEMPTS: usize = 10;
/// How long a policy that the kernel refused stays set aside while nothing
/// else changes; what it lacked, such as memory, may be there again.
const SET_ASIDE_FOR: Duration = Duration::from_secs(60);
/// A rule takes a packet about 22 ns; twice that, to be sure.
const PACKET_NANOSECONDS_A_RULE: u64 = 50;
/// A commit takes at least this long, so faster packets meet only one.
const COMMIT: Duration = Duration::from_micros(20);

/// The pipeline from snapshot to kernel.
#[derive(Debug)]
pub struct Pipeline<S> {
    sink: S,
    options: Options,
    /// The table as of our last commit, until others commit.
    live: Option<Live>,
    /// What was compiled last, until the snapshot changes.
    target: Option<Target>,
    /// The table as it was found when the first change began that has not come
    /// to its end; within, `None` is a kernel without the table.
    before: Option<Option<Arc<Ruleset>>>,
}

#[derive(Debug)]
struct Live {
    ruleset: Arc<Ruleset>,
    generation: Generation,
}

/// What the attempts of one change did.
#[derive(Debug, Default)]
struct Done {
    batches: usize,
    operations: usize,
    foreign: Vec<ForeignObject>,
}

#[derive(Debug)]
struct Target {
    snapshot: Snapshot,
    compiled: Compiled,
    /// That of `compiled`, to be shared.
    ruleset: Arc<Ruleset>,
    /// About the policies that are set aside.
    refused: Vec<Diagnostic>,
    since: Instant,
}

impl<S: Sink> Pipeline<S> {
    /// A pipeline that adopts the table it finds.
    pub fn new(sink: S, options: Options) -> Self {
        Self { sink, options, live: None, target: None, before: None }
    }

    /// The kernel.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Whether there is nothing to do while the snapshot stays: nobody
    /// committed since our own last commit, no policy waits to be tried again.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn is_current(&mut self) -> Result<bool, ReadError> {
        let generation = self.sink.generation()?;
        let is_live = self.live.as_ref().is_some_and(|live| live.generation == generation);
        Ok(is_live && self.target.as_ref().is_some_and(|target| !target.is_due()))
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
        let mut done = Done::default();
        let mut races = 0;
        while races < MAX_ATTEMPTS {
            let mut target = self.target(snapshot);
            let result = self.change(&target.ruleset, &mut done);
            if result.is_err() {
                self.live = None;
            }
            match result {
                Ok(()) => {
                    let diagnostics = target.compiled.diagnostics.iter().chain(&target.refused);
                    let outcome = Outcome {
                        before: self.before.take().flatten(),
                        after: Arc::clone(&target.ruleset),
                        batches: done.batches,
                        operations: done.operations,
                        diagnostics: diagnostics.cloned().collect(),
                        set_aside: self.options.set_aside.clone(),
                        foreign: done.foreign,
                    };
                    self.target = Some(target);
                    return Ok(outcome);
                }
                Err(ChangeError::Moved) => {
                    tracing::debug!("others committed meanwhile, reading the table again");
                    races += 1;
                    self.target = Some(target);
                }
                Err(ChangeError::Refused(refusals, batch)) => {
                    let found = self.set_aside(&target.compiled, &refusals, &batch);
                    if found.is_empty() {
                        return Err(SendError::Refused(refusals).into());
                    }
                    target.refused.extend(found);
                    target.compiled = self.compile(snapshot);
                    target.ruleset = Arc::new(target.compiled.ruleset.clone());
                    self.target = Some(target);
                }
                Err(ChangeError::Failed(error)) => return Err(error),
            }
        }
        Err(SyncError::KeepsChanging)
    }

    /// What was compiled last, if it was this snapshot and no policy that was
    /// set aside is due; else this snapshot compiled, with all its policies.
    fn target(&mut self, snapshot: &Snapshot) -> Target {
        let known = self.target.take();
        known.filter(|known| known.snapshot == *snapshot && !known.is_due()).unwrap_or_else(|| {
            self.options.set_aside.clear();
            let compiled = self.compile(snapshot);
            Target {
                snapshot: snapshot.clone(),
                ruleset: Arc::new(compiled.ruleset.clone()),
                compiled,
                refused: Vec::new(),
                since: Instant::now(),
            }
        })
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
        let mut batches = plan(live.as_deref(), target)
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
    fn live(
        &mut self,
    ) -> Result<(Option<Arc<Ruleset>>, Vec<ForeignObject>, Generation), ReadError> {
        // Before the dump: what is made after it must not pass for read.
        let generation = self.sink.generation()?;
        if let Some(live) = self.live.as_ref().filter(|live| live.generation == generation) {
            return Ok((Some(Arc::clone(&live.ruleset)), Vec::new(), generation));
        }
        Ok(match self.sink.dump(&compiler::scaffold::table())? {
            Some(dump) => (Some(Arc::new(dump.ruleset)), dump.foreign, dump.generation),
            None => (None, Vec::new(), generation),
        })
    }

    fn change(&mut self, target: &Arc<Ruleset>, done: &mut Done) -> Result<(), ChangeError> {
        let Difference { live, foreign, generation, batches, .. } = self.difference(target)?;
        tracing::debug!(batches = batches.len(), "difference planned");
        done.foreign = foreign;
        let pause = pause_between(live.as_deref(), target);
        self.before.get_or_insert(live);
        // Each commit moves the generation by one, whoever makes it.
        let mut ours = generation;
        for (index, batch) in batches.into_iter().enumerate() {
            if index > 0 {
                sleep(pause);
            }
            // Only the first batch depends on what was read; after it the
            // table is as we left it, or a refusal shows that it is not.
            let expected = (index == 0).then_some(generation);
            match self.sink.send(&target.table, &batch, expected) {
                Ok(()) => {
                    ours = ours.next();
                    done.batches += 1;
                    done.operations += batch.ops.len();
                }
                Err(SendError::GenerationMoved | SendError::Unknown) => {
                    return Err(ChangeError::Moved);
                }
                Err(SendError::Refused(refusals)) => {
                    let by_others = self.sink.generation()? != ours;
                    return Err(match by_others {
                        true => ChangeError::Moved,
                        false => ChangeError::Refused(refusals, batch),
                    });
                }
                Err(error) => return Err(SyncError::from(error).into()),
            }
        }
        // Somebody who committed since the first batch may have changed the
        // table again: it must be read before it is believed.
        let generation = self.sink.generation()?;
        let known = || Live { ruleset: Arc::clone(target), generation };
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

impl Target {
    /// Whether policies were set aside long enough ago to be tried again.
    fn is_due(&self) -> bool {
        !self.refused.is_empty() && self.since.elapsed() > SET_ASIDE_FOR
    }
}

/// How long to wait between batches so that a packet meets at most one
/// commit: nothing, unless chains are so long that packets are slow.
fn pause_between(live: Option<&Ruleset>, target: &Ruleset) -> Duration {
    let rules = live.map_or(0, Ruleset::longest_chain).max(target.longest_chain());
    let packet = Duration::from_nanos(rules as u64 * PACKET_NANOSECONDS_A_RULE);
    if packet > COMMIT { packet } else { Duration::ZERO }
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
