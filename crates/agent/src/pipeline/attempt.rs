//! One attempt: compare with the kernel, send what differs.
//!
//! In: the wanted table. Out: the kernel has it, or why the attempt ended.
//! Never, except in the last attempts: a batch that depends on a read and is
//! sent after others committed.

use std::sync::Arc;

use compiler::Place;
use nft::{
    Cause, Dump, Errno, ForeignKind, ForeignObject, ReadError, Refusal, SendError, TableFingerprint,
};
use ruleset::{Batch, Op, Ruleset, TableId};

use super::kernel_table::{Remembered, Start};
use super::{Difference, MAX_ATTEMPTS, Pipeline, SyncError, batch_spacing};
use crate::Sink;

/// This many attempts give way to others who commit meanwhile. Later ones do not:
/// on some nodes others commit faster than a large difference is planned.
const POLITE_ATTEMPTS: usize = 3;

/// Why one attempt ended.
pub(super) enum AttemptError {
    /// Others committed before our first batch, so nothing was changed: start
    /// over from what is known.
    Overtaken,
    /// What the table holds is not known any more: read it and start over.
    LostTrack,
    /// The kernel refused this batch or a part of it, or lacked what it takes.
    Refused(SendError, Batch),
    /// Give up.
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl<S: Sink> Pipeline<S> {
    /// What [`Self::sync`] would send to make the kernel's table this one.
    ///
    /// # Errors
    /// The table cannot be read, or cannot become this one step by step.
    pub fn difference(&mut self, target: &Ruleset) -> Result<Difference, SyncError> {
        let start = self.start()?;
        self.between(start, target)
    }

    pub(super) fn between(
        &mut self,
        start: Start,
        target: &Ruleset,
    ) -> Result<Difference, SyncError> {
        let Start { ruleset: live, mut foreign, generation, .. } = start;
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
            // Creating the table again clears them.
            batches.insert(0, Batch { ops: vec![Op::CreateTable] });
        }
        Ok(Difference { live, flags, foreign, generation, batches })
    }

    /// Takes the table from memory, or reads it where it must be. Reading it
    /// costs with its size, and on a node with kube-proxy others commit all day.
    fn start(&mut self) -> Result<Start, ReadError> {
        // Ask before the dump: a later commit must not count as read.
        let generation = self.sink.generation()?;
        if self.kernel_table.must_be_compared(generation) {
            let found = fingerprint(&mut self.sink, &self.place)?;
            self.kernel_table.others_committed(found.as_ref());
        }
        if let Some(start) = self.kernel_table.start(generation) {
            return Ok(start);
        }
        if self.kernel_table.is_touched() {
            self.progress.found_touched();
        }
        let dump = match self.sink.dump(&TableId::inet(self.place.table.clone())) {
            Err(ReadError::KeepsChanging(attempts)) => {
                self.compare_fingerprint()?;
                let memory = self.kernel_table.remembered_start(generation);
                return memory.ok_or(ReadError::KeepsChanging(attempts));
            }
            dump => dump?,
        };
        Ok(match dump {
            Some(Dump { ruleset, foreign, generation }) => {
                Start { ruleset: Some(Arc::new(ruleset)), foreign, generation, is_exact: true }
            }
            None => Start { ruleset: None, foreign: Vec::new(), generation, is_exact: true },
        })
    }

    /// Others committed: looks whether the table is still the one that is
    /// remembered, which costs microseconds.
    pub(super) fn compare_fingerprint(&mut self) -> Result<(), ReadError> {
        if self.kernel_table.is_remembered() {
            let found = fingerprint(&mut self.sink, &self.place)?;
            self.kernel_table.others_committed(found.as_ref());
        }
        Ok(())
    }

    /// An attempt failed: remembers how it left the table, so that the next one
    /// notices what others do meanwhile.
    pub(super) fn attempt_failed(&mut self, committed: bool) {
        match fingerprint(&mut self.sink, &self.place) {
            Ok(found) => self.kernel_table.failed(found, committed),
            Err(_) => self.kernel_table.forget(),
        }
    }

    /// Makes the kernel's table this one. `races`: how many attempts before
    /// this one lost against commits of others.
    pub(super) fn attempt(
        &mut self,
        target: &Arc<Ruleset>,
        races: usize,
    ) -> Result<(), AttemptError> {
        let start = self.start()?;
        let (generation, is_exact) = (start.generation, start.is_exact);
        let Difference { live, flags, foreign, batches, .. } = self.between(start, target)?;
        tracing::debug!(batches = batches.len(), "difference planned");
        self.progress.foreign = foreign;
        let spacing = batch_spacing::between(live.as_deref(), target);
        // A table that was switched off enforced nothing.
        self.progress.begins_at(live.clone().filter(|_| flags.is_none()));
        // Each commit increments the generation, also those of others.
        let mut ours = generation;
        for (index, batch) in batches.iter().enumerate() {
            if index > 0 {
                self.clock.sleep(spacing);
            }
            // Only the first batch depends on what was read. After it the table
            // is as we left it, or a refusal shows that it is not. With a
            // trusted table others have committed anyway.
            let is_polite = index == 0 && is_exact && races < POLITE_ATTEMPTS;
            let expected = is_polite.then_some(generation);
            if let Err(error) = self.sink.send(&target.id(), batch, expected) {
                self.stopped(live.as_deref(), target, &batches[..index]);
                if matches!(error, SendError::Unknown) {
                    // If the batch is in force, it changed the fingerprint.
                    self.kernel_table.forget();
                }
                // Where others commit without a pause, each refusal comes after a
                // commit of theirs.
                let is_last = races + 1 >= MAX_ATTEMPTS;
                if is_last && is_certain(&error, batch) {
                    return Err(not_committed(error, batch));
                }
                let others_committed = || Ok(!is_exact || self.sink.generation()? != ours);
                return Err(why(error, batch, others_committed));
            }
            ours = ours.next();
            self.progress.committed(batch);
        }
        self.progress.stopped_at(Arc::clone(target));
        let fingerprint = fingerprint(&mut self.sink, &self.place)?;
        // Somebody who committed since the table was read may have changed it.
        let is_exact = is_exact && self.sink.generation()? == ours;
        let foreign = self.progress.foreign.clone();
        let table = Remembered { ruleset: Arc::clone(target), foreign, fingerprint };
        self.kernel_table.committed(table, is_exact.then_some(ours));
        Ok(())
    }

    /// Remembers what is in force after a change that broke off.
    pub(super) fn stopped(
        &mut self,
        live: Option<&Ruleset>,
        target: &Ruleset,
        committed: &[Batch],
    ) {
        if self.progress.batches() > 0 {
            let nothing = Ruleset::new(target.table.clone());
            self.progress.stopped(live.unwrap_or(&nothing), committed);
        }
    }
}

/// Why a batch that was not committed ends the attempt.
fn why(
    error: SendError,
    batch: &Batch,
    others_committed: impl FnOnce() -> Result<bool, ReadError>,
) -> AttemptError {
    match error {
        SendError::GenerationMoved => AttemptError::Overtaken,
        SendError::Unknown => AttemptError::LostTrack,
        // A shortage has nothing to do with what others committed.
        SendError::Refused(_) if !error.is_transient() => match others_committed() {
            Ok(true) => AttemptError::LostTrack,
            Ok(false) => not_committed(error, batch),
            Err(error) => error.into(),
        },
        error => not_committed(error, batch),
    }
}

/// Whether a refusal is about an object, whatever others did to the table.
fn is_certain(error: &SendError, batch: &Batch) -> bool {
    let is_certain = |refusal: &Refusal| {
        let depends_on_others = matches!(refusal.errno, Errno::ENOENT | Errno::EEXIST);
        refusal.cause(batch) == Cause::Object && !depends_on_others
    };
    matches!(error, SendError::Refused(refusals) if refusals.iter().any(is_certain))
}

/// Ends an attempt after a batch that was not committed.
pub(super) fn not_committed(error: SendError, batch: &Batch) -> AttemptError {
    match error {
        SendError::Refused(_) | SendError::RefusedWhole(_) => {
            AttemptError::Refused(error, batch.clone())
        }
        error if error.is_transient() => AttemptError::Refused(error, batch.clone()),
        error => error.into(),
    }
}

/// The fingerprint of a place's table and its base chain.
pub(super) fn fingerprint(
    sink: &mut impl Sink,
    place: &Place,
) -> Result<Option<TableFingerprint>, ReadError> {
    sink.fingerprint(&TableId::inet(place.table.clone()), &place.chain)
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
