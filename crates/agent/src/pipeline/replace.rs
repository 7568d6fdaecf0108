//! Builds a table again that cannot become ours step by step.
//!
//! In: a snapshot. Out: our table, built from nothing, while each packet is
//! judged by at least one table. Never: a table deleted and created in one
//! batch: the look-ups of one packet would be split between the two.

use std::sync::Arc;

use policy::Snapshot;
use ruleset::{Name, Ruleset, TableId};

use super::attempt::{AttemptError, fingerprint, not_committed};
use super::kernel_table::{Remembered, Start};
use super::{Difference, Outcome, Pipeline, Step, SyncError, SyncFailed};
use crate::Sink;

/// The name of the stand-in. It is one of our names, so the next start removes
/// what a crash leaves behind.
const STAND_IN: &str = "nftpol-0";

impl<S: Sink> Pipeline<S> {
    /// Makes the kernel enforce the snapshot whatever others did to our table:
    /// builds a stand-in beside it, deletes it, builds it, deletes the
    /// stand-in. While two tables stand, what one of them drops is dropped.
    ///
    /// # Errors
    /// See [`SyncError`]. At least one table is left.
    pub fn replace(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncFailed> {
        self.kernel_table.forget();
        self.progress.origin_is_lost();
        self.compile_next(snapshot);
        match self.build_both_unless_refused(snapshot) {
            // What others did meanwhile is looked for, too.
            Ok(()) => self.sync(snapshot),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Builds both tables without the policies that the kernel refuses.
    fn build_both_unless_refused(&mut self, snapshot: &Snapshot) -> Result<(), SyncError> {
        loop {
            self.prove(snapshot)?;
            match self.build_both() {
                Ok(()) => return Ok(()),
                Err(AttemptError::Refused(error, batch)) => {
                    self.set_aside_refused(error, &batch, Step::Rebuild)?;
                }
                Err(AttemptError::Failed(error)) => return Err(error),
                Err(AttemptError::Overtaken | AttemptError::LostTrack) => {
                    return Err(SyncError::TooManyRaces);
                }
            }
        }
    }

    /// The stand-in, then ours in the place of what is there.
    fn build_both(&mut self) -> Result<(), AttemptError> {
        let ours = Arc::new(self.engine.compiled().ruleset.clone());
        let stand_in = Ruleset {
            table: Name::new(STAND_IN).map_err(SyncError::from)?,
            ..Ruleset::clone(&ours)
        };
        // A stand-in of an earlier attempt may be the only table that enforces.
        match self.build(&stand_in) {
            Err(AttemptError::Failed(SyncError::Plan { .. } | SyncError::InTheWay { .. })) => {
                self.sink.delete_table(&stand_in.id())?;
                self.build(&stand_in)?;
            }
            result => result?,
        }
        let built = self.in_place_of_ours(&ours, &stand_in.id());
        // What one of two tables drops is dropped: the stand-in is whole.
        self.progress.stopped_at(ours);
        built
    }

    fn in_place_of_ours(
        &mut self,
        ours: &Arc<Ruleset>,
        stand_in: &TableId,
    ) -> Result<(), AttemptError> {
        self.sink.delete_table(&ours.id())?;
        self.build(ours)?;
        self.sink.delete_table(stand_in)?;
        let fingerprint = fingerprint(&mut self.sink, &self.place)?;
        let table = Remembered { ruleset: Arc::clone(ours), foreign: Vec::new(), fingerprint };
        // Not exact: others may have committed meanwhile.
        self.kernel_table.committed(table, None);
        Ok(())
    }

    /// Makes a table of what is there of it.
    fn build(&mut self, table: &Ruleset) -> Result<(), AttemptError> {
        let generation = self.sink.generation()?;
        let (ruleset, foreign) = match self.sink.dump(&table.id())? {
            Some(dump) => (Some(Arc::new(dump.ruleset)), dump.foreign),
            None => (None, Vec::new()),
        };
        let start = Start { ruleset, foreign, generation, is_exact: true };
        let Difference { live, batches, .. } = self.between(start, table)?;
        let id = table.id();
        for (index, batch) in batches.iter().enumerate() {
            if let Err(error) = self.sink.send(&id, batch, None) {
                self.stopped(live.as_deref(), table, &batches[..index]);
                return Err(not_committed(error, batch));
            }
            self.progress.committed(batch);
        }
        Ok(())
    }
}
