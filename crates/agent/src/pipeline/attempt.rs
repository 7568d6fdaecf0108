//! One attempt: compare with the kernel, send what differs.
//!
//! In: the wanted table. Out: the kernel has it, or why the attempt ended.
//! Never, except in the last attempts: a batch that depends on a read and is
//! sent after others committed.

use std::sync::Arc;
use std::time::Duration;

use nft::{Cause, Errno, Generation, ReadError, Refusal, SendError};
use ruleset::plan::Piece;
use ruleset::{Batch, Ruleset};

use super::own_table::{OwnTable, Wanted};
use super::progress::after;
use super::{Difference, MAX_ATTEMPTS, SyncError, batch_spacing};
use crate::Sink;
use crate::clock::Clock;

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
    /// Something is more urgent. What the table holds is known. The generations are
    /// those of an attempt that reaches its end.
    Interrupted(Option<Ours>),
    /// Give up.
    Failed(SyncError),
}

/// Asks whether something is more urgent than the rest of a change.
pub(super) struct Interrupt<'a> {
    /// How long it took to prove the tables.
    pub(super) proving: Duration,
    pub(super) is_urgent: &'a mut dyn FnMut() -> bool,
}

impl Interrupt<'_> {
    /// An interrupted change is proved and planned again. At least half of the time is
    /// spent on commits.
    fn is_due(&mut self, planning: Duration, committing: Duration) -> bool {
        committing >= self.proving + planning && (self.is_urgent)()
    }
}

impl<E: Into<SyncError>> From<E> for AttemptError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The generations between which nobody but an attempt committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ours {
    pub(super) from: Generation,
    pub(super) to: Generation,
}

impl OwnTable {
    /// Makes the kernel's table this one. `races`: how many attempts before
    /// this one lost against commits of others. Returns the generations that
    /// it led from and to, if nobody else committed meanwhile.
    pub(super) fn attempt(
        &mut self,
        sink: &mut impl Sink,
        clock: &dyn Clock,
        wanted: &Wanted,
        races: usize,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Option<Ours>, AttemptError> {
        match wanted {
            Some(target) => self.become_this(sink, clock, target, races, interrupt),
            None => self.vanish(sink),
        }
    }

    /// Deletes the table, if there is one.
    fn vanish(&mut self, sink: &mut impl Sink) -> Result<Option<Ours>, AttemptError> {
        let start = self.start(sink)?;
        let (from, is_exact) = (start.generation, start.is_exact);
        self.progress.foreign.clear();
        self.progress.begins_at(start.ruleset.clone());
        let mut to = from;
        if start.ruleset.is_some() && self.delete(sink)? {
            // It is switched off, and then deleted.
            to = from.next().next();
        }
        self.progress.stopped_at(Arc::new(self.nothing()));
        let is_exact = self.reached(sink, &None, is_exact.then_some(to))?;
        Ok(is_exact.then_some(Ours { from, to }))
    }

    fn become_this(
        &mut self,
        sink: &mut impl Sink,
        clock: &dyn Clock,
        target: &Arc<Ruleset>,
        races: usize,
        interrupt: &mut Interrupt<'_>,
    ) -> Result<Option<Ours>, AttemptError> {
        let start = self.start(sink)?;
        let (from, is_exact) = (start.generation, start.is_exact);
        let begins = clock.now();
        let Difference { live, flags, foreign, mut pieces, .. } = self.between(start, target)?;
        let planned = clock.now();
        let planning = planned.saturating_duration_since(begins);
        self.progress.foreign = foreign;
        let spacing = batch_spacing::between(live.as_deref(), target);
        // A table that was switched off enforced nothing.
        self.progress.begins_at(live.clone().filter(|_| flags.is_none()));
        let mut way = Way { live, from, to: from, is_exact, races, sent: Vec::new() };
        while let Some(piece) = pieces.next(self.pace.budget()) {
            if !way.sent.is_empty() {
                clock.sleep(spacing);
            }
            self.send(sink, clock, &mut way, piece)?;
            let committing = clock.now().saturating_duration_since(planned);
            if !pieces.is_empty() && interrupt.is_due(planning, committing) {
                return Err(AttemptError::Interrupted(self.interrupted(sink, &way)?));
            }
        }
        tracing::debug!(table = %self.id, batches = way.sent.len(), "difference sent");
        self.progress.stopped_at(Arc::clone(target));
        let wanted = Some(Arc::clone(target));
        let is_exact = self.reached(sink, &wanted, way.exact())?;
        Ok(is_exact.then_some(way.ours()))
    }

    fn send(
        &mut self,
        sink: &mut impl Sink,
        clock: &dyn Clock,
        way: &mut Way,
        Piece { batch, estimate }: Piece,
    ) -> Result<(), AttemptError> {
        // Only the first batch depends on what was read. After it the table
        // is as we left it, or a refusal shows that it is not. With a
        // trusted table others have committed anyway.
        let is_polite = way.sent.is_empty() && way.is_exact && way.races < POLITE_ATTEMPTS;
        let begins = clock.now();
        if let Err(error) = sink.send(&self.id, &batch, is_polite.then_some(way.from)) {
            self.stopped(way.live.as_deref(), &way.sent);
            if matches!(error, SendError::Unknown) {
                // If the batch is in force, it changed the fingerprint.
                self.kernel.forget();
            }
            // Where others commit without a pause, each refusal comes after a
            // commit of theirs.
            let is_last = way.races + 1 >= MAX_ATTEMPTS;
            if is_last && is_certain(&error, &batch) {
                return Err(not_committed(error, &batch));
            }
            let others_committed = || Ok(!way.is_exact || sink.generation()? != way.to);
            return Err(why(error, &batch, others_committed));
        }
        self.pace.committed(estimate, clock.now().saturating_duration_since(begins));
        way.to = way.to.next();
        self.progress.committed(&batch);
        way.sent.push(batch);
        Ok(())
    }

    /// Remembers the table as it is between two commits, so that the next change
    /// starts from it.
    fn interrupted(
        &mut self,
        sink: &mut impl Sink,
        way: &Way,
    ) -> Result<Option<Ours>, AttemptError> {
        let nothing = self.nothing();
        let Some(table) = after(way.live.as_deref().unwrap_or(&nothing), &way.sent) else {
            return Err(AttemptError::LostTrack);
        };
        let table = Arc::new(table);
        self.progress.stopped_at(Arc::clone(&table));
        let is_exact = self.reached(sink, &Some(table), way.exact())?;
        Ok(is_exact.then_some(way.ours()))
    }
}

/// How far an attempt came.
struct Way {
    live: Option<Arc<Ruleset>>,
    from: Generation,
    /// Each commit increments the generation, also those of others.
    to: Generation,
    /// Whether it started from an exact table.
    is_exact: bool,
    races: usize,
    sent: Vec<Batch>,
}

impl Way {
    fn ours(&self) -> Ours {
        Ours { from: self.from, to: self.to }
    }

    fn exact(&self) -> Option<Generation> {
        self.is_exact.then_some(self.to)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_time_is_spent_on_commits_however_much_is_urgent() {
        let ms = Duration::from_millis;
        let mut asked = 0;
        let mut is_urgent = || {
            asked += 1;
            true
        };
        let mut interrupt = Interrupt { proving: ms(15), is_urgent: &mut is_urgent };
        let mut is_due = |committing| interrupt.is_due(ms(5), ms(committing));
        assert_eq!([is_due(0), is_due(19), is_due(20)], [false, false, true]);
        assert_eq!(asked, 1);
    }
}
