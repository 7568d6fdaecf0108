//! One attempt: compare with the kernel, send what differs.
//!
//! In: the table that is to be. Out: the kernel has it, or why the attempt
//! ended. Never: a batch that depends on what was read and is sent after
//! others committed, but for the last attempts.

use std::sync::Arc;
use std::thread::sleep;

use nft::{Dump, ForeignKind, ForeignObject, Generation, ReadError, Refusal, SendError, Signs};
use ruleset::{Batch, Op, Ruleset};

use super::{Difference, Done, Live, Pipeline, SyncError, batch_spacing};
use crate::Sink;

/// Attempts that give way to whoever commits meanwhile. The later ones do not:
/// some node's others commit faster than a large difference is made.
const POLITE_ATTEMPTS: usize = 3;

/// What a difference starts from.
pub(super) struct Base {
    pub ruleset: Option<Arc<Ruleset>>,
    pub foreign: Vec<ForeignObject>,
    pub generation: Generation,
    /// From memory, though others committed: only the signs speak for it.
    pub trusted: bool,
}

impl<S: Sink> Pipeline<S> {
    /// What [`Self::sync`] would send to make the kernel's table this one.
    ///
    /// # Errors
    /// The table cannot be read, or cannot become this one step by step.
    pub fn difference(&mut self, target: &Ruleset) -> Result<Difference, SyncError> {
        let base = self.base()?;
        self.between(base, target)
    }

    pub(super) fn between(
        &mut self,
        base: Base,
        target: &Ruleset,
    ) -> Result<Difference, SyncError> {
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
    pub(super) fn shows_no_sign(&mut self) -> Result<bool, ReadError> {
        Ok(match &self.live {
            Some(Live { signs: Some(known), .. }) => signs(&mut self.sink)?.as_ref() == Some(known),
            _ => false,
        })
    }

    pub(super) fn change(
        &mut self,
        target: &Arc<Ruleset>,
        races: usize,
        done: &mut Done,
    ) -> Result<(), AttemptError> {
        let base = self.base()?;
        let trusted = base.trusted;
        let Difference { live, flags, foreign, generation, batches } =
            self.between(base, target)?;
        tracing::debug!(batches = batches.len(), "difference planned");
        done.foreign = foreign;
        let pause = batch_spacing::between(live.as_deref(), target);
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
                Err(SendError::GenerationMoved) => return Err(AttemptError::Overtaken),
                Err(SendError::Unknown) => return Err(AttemptError::Moved),
                Err(SendError::Refused(refusals)) => {
                    let by_others = trusted || self.sink.generation()? != ours;
                    return Err(match by_others {
                        true => AttemptError::Moved,
                        false => AttemptError::Refused(refusals, batch),
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

/// The signs of our table and its base chain.
pub(super) fn signs(sink: &mut impl Sink) -> Result<Option<Signs>, ReadError> {
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
pub(super) enum AttemptError {
    /// Others committed before our first batch: start over.
    Overtaken,
    /// Nobody knows what the table holds: read it and start over.
    Moved,
    /// The kernel refused a part of this batch.
    Refused(Vec<Refusal>, Batch),
    /// Give up.
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
