//! Compile, compare with the kernel, send: the steps that every command
//! shares but for the last.
//!
//! In: a snapshot. Out: a kernel that enforces it, in the fewest changes.
//! Never: a table deleted to be made anew; a policy that the kernel refuses
//! stopping the others.

mod outcome;
mod pause;
mod refused;
mod replace;

pub use outcome::{Difference, Outcome, SyncError};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use compiler::{Changed, Compiled, Engine, Options, compile};
use nft::{Dump, ForeignKind, ForeignObject, Generation, ReadError, Refusal, SendError, Signs};
use policy::{Diagnostic, ObjectKey, Snapshot};
use ruleset::plan::Planner;
use ruleset::{Batch, Op, Ruleset};

use crate::Sink;

/// How often to start over after others changed the ruleset in between.
const MAX_ATTEMPTS: usize = 10;
/// Attempts that give way to whoever commits meanwhile. The later ones do not:
/// some node's others commit faster than a large difference is made.
const POLITE_ATTEMPTS: usize = 3;
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

/// What a difference starts from.
struct Base {
    ruleset: Option<Arc<Ruleset>>,
    foreign: Vec<ForeignObject>,
    generation: Generation,
    /// From memory, though others committed: only the signs speak for it.
    trusted: bool,
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
            let ruleset = Arc::new(self.engine.compiled().ruleset.clone());
            let result = self.change(&ruleset, races, &mut done);
            if result.as_ref().is_err_and(|error| !matches!(error, ChangeError::Overtaken)) {
                self.live = None;
            }
            match result {
                Ok(()) => {
                    let outcome = self.outcome(&target, ruleset, done);
                    self.target = Some(target);
                    return Ok(outcome);
                }
                Err(ChangeError::Overtaken | ChangeError::Moved) => {
                    tracing::debug!("others committed meanwhile, starting over");
                    races += 1;
                }
                Err(ChangeError::Refused(refusals, batch)) => {
                    self.blame(&mut target, refusals, &batch)?;
                }
                Err(ChangeError::Failed(error)) => return Err(error),
            }
        }
        Err(SyncError::KeepsChanging)
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
        Ok(())
    }

    /// Goes on to a snapshot, with all its policies. Those that are set aside
    /// stay so while nothing changes and they are not due.
    fn target(&mut self, snapshot: &Snapshot, changed: &Changed) -> Target {
        let known = self.target.take();
        let known = known.filter(|known| changed.is_empty() && !known.is_due());
        known.unwrap_or_else(|| {
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

    /// What [`Self::sync`] would send to make the kernel's table this one.
    ///
    /// # Errors
    /// The table cannot be read, or cannot become this one step by step.
    pub fn difference(&mut self, target: &Ruleset) -> Result<Difference, SyncError> {
        let base = self.base()?;
        self.between(base, target)
    }

    fn between(&mut self, base: Base, target: &Ruleset) -> Result<Difference, SyncError> {
        let Base { ruleset: live, mut foreign, generation, .. } = base;
        if let Some(ForeignObject { name, why, .. }) = in_the_way(target, &foreign) {
            let (table, name, why) = (target.table.clone(), name.clone(), why.clone());
            return Err(SyncError::InTheWay { table, name, why });
        }
        let mut batches = self
            .planner
            .plan(live.as_deref(), target)
            .map_err(|source| SyncError::Plan { table: target.table.clone(), source })?;
        let is_flags = |object: &ForeignObject| object.kind == ForeignKind::Table;
        let flags = foreign.iter().position(is_flags).map(|index| foreign.remove(index).why);
        if flags.is_some() {
            // They go when the table is created once more.
            batches.insert(0, Batch { ops: vec![Op::CreateTable] });
        }
        Ok(Difference { live, flags, foreign, generation, batches })
    }

    /// Reads the table, or takes it from memory while it shows no sign that
    /// others touched it. Reading it costs with its size, and on a node with
    /// kube-proxy others commit all day.
    fn base(&mut self) -> Result<Base, ReadError> {
        // Before the dump: what is made after it must not pass for read.
        let generation = self.sink.generation()?;
        let live = self.live.as_ref();
        let is_known = live.is_some_and(|live| live.known == Some(generation));
        let is_doubted = live.is_some_and(|live| live.doubted);
        if (is_known || !is_doubted && self.shows_no_sign()?)
            && let Some(base) = self.remembered(generation)
        {
            return Ok(base);
        }
        self.touched |= self.live.is_some() && !is_doubted;
        Ok(match self.sink.dump(&compiler::scaffold::table()) {
            // Others commit faster than the table can be read.
            Err(ReadError::KeepsChanging(_))
                if self.shows_no_sign()?
                    && let Some(base) = self.remembered(generation) =>
            {
                base
            }
            dump => match dump? {
                Some(Dump { ruleset, foreign, generation }) => {
                    let ruleset = Some(Arc::new(ruleset));
                    Base { ruleset, foreign, generation, trusted: false }
                }
                None => Base { ruleset: None, foreign: Vec::new(), generation, trusted: false },
            },
        })
    }

    fn remembered(&self, generation: Generation) -> Option<Base> {
        self.live.as_ref().map(|live| Base {
            ruleset: Some(Arc::clone(&live.ruleset)),
            foreign: live.foreign.clone(),
            generation,
            trusted: live.known != Some(generation),
        })
    }

    /// Whether the table is the one that is remembered, as far as a look tells
    /// that costs microseconds.
    fn shows_no_sign(&mut self) -> Result<bool, ReadError> {
        Ok(match &self.live {
            Some(Live { signs: Some(known), .. }) => signs(&mut self.sink)?.as_ref() == Some(known),
            _ => false,
        })
    }

    fn change(
        &mut self,
        target: &Arc<Ruleset>,
        races: usize,
        done: &mut Done,
    ) -> Result<(), ChangeError> {
        let base = self.base()?;
        let trusted = base.trusted;
        let Difference { live, flags, foreign, generation, batches } =
            self.between(base, target)?;
        tracing::debug!(batches = batches.len(), "difference planned");
        done.foreign = foreign;
        let pause = pause::between(live.as_deref(), target);
        // A table that was switched off enforced nothing.
        self.before.get_or_insert(live.filter(|_| flags.is_none()));
        // Each commit moves the generation by one, whoever makes it.
        let mut ours = generation;
        for (index, batch) in batches.into_iter().enumerate() {
            if index > 0 {
                sleep(pause);
            }
            // Only the first batch depends on what was read; after it the
            // table is as we left it, or a refusal shows that it is not.
            // Where only signs speak for it, others have committed anyway.
            let is_polite = index == 0 && !trusted && races < POLITE_ATTEMPTS;
            let expected = is_polite.then_some(generation);
            match self.sink.send(&target.table, &batch, expected) {
                Ok(()) => {
                    ours = ours.next();
                    done.batches += 1;
                    done.operations += batch.ops.len();
                }
                // Ours changed nothing.
                Err(SendError::GenerationMoved) => return Err(ChangeError::Overtaken),
                Err(SendError::Unknown) => return Err(ChangeError::Moved),
                Err(SendError::Refused(refusals)) => {
                    let by_others = trusted || self.sink.generation()? != ours;
                    return Err(match by_others {
                        true => ChangeError::Moved,
                        false => ChangeError::Refused(refusals, batch),
                    });
                }
                Err(error) => return Err(SyncError::from(error).into()),
            }
        }
        // Somebody who committed since the table was read may have changed it.
        let signs = signs(&mut self.sink)?;
        let known = !trusted && self.sink.generation()? == ours;
        let known = known.then_some(ours);
        let foreign = done.foreign.clone();
        self.live =
            Some(Live { ruleset: Arc::clone(target), foreign, known, signs, doubted: false });
        Ok(())
    }
}

impl Target {
    /// Whether policies were set aside long enough ago to be tried again.
    fn is_due(&self) -> bool {
        !self.refused.is_empty() && self.since.elapsed() > SET_ASIDE_FOR
    }
}

/// The signs of our table and its base chain.
fn signs(sink: &mut impl Sink) -> Result<Option<Signs>, ReadError> {
    sink.signs(&compiler::scaffold::table(), &compiler::scaffold::base_chain())
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

/// Why one attempt ended.
enum ChangeError {
    /// Others committed before our first batch: start over.
    Overtaken,
    /// Nobody knows what the table holds: read it and start over.
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
