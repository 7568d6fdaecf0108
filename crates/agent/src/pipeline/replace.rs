//! A table that cannot become ours step by step, built anew.
//!
//! In: a snapshot. Out: our table, made from nothing, without a packet that
//! no table judges. Never: a table deleted and made in one batch; look-ups of
//! one packet would fall between the two.

use std::sync::Arc;

use compiler::Changed;
use nft::SendError;
use policy::Snapshot;
use ruleset::{Name, Ruleset};

use super::attempt::{AttemptError, Base, signs};
use super::{Difference, Done, Live, Outcome, Pipeline, SyncError};
use crate::Sink;

/// The name of the table that stands in meanwhile. It is one of ours, so that
/// whatever a crash leaves behind goes at the next start.
const STAND_IN: &str = "nftpol-0";

impl<S: Sink> Pipeline<S> {
    /// Makes the kernel enforce the snapshot whatever others did to our table:
    /// builds a stand-in beside it, deletes it, builds it, deletes the
    /// stand-in. While two tables stand, what one of them drops is dropped.
    ///
    /// # Errors
    /// See [`SyncError`]. At least one table is left.
    pub fn replace(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncError> {
        self.live = None;
        let changed = Changed::between(self.engine.snapshot(), snapshot);
        let mut target = self.target(snapshot, &changed);
        let done = loop {
            self.prove(snapshot)?;
            match self.build_both() {
                Ok(done) => break done,
                Err(AttemptError::Refused(refusals, batch)) => {
                    self.blame(&mut target, refusals, &batch)?;
                }
                Err(AttemptError::Failed(error)) => return Err(error),
                Err(AttemptError::Overtaken | AttemptError::Moved) => {
                    return Err(SyncError::TooManyRaces);
                }
            }
        };
        self.target = Some(target);
        let mut outcome = self.sync(snapshot)?;
        outcome.before = None;
        outcome.operations += done.operations;
        outcome.batches += done.batches;
        Ok(outcome)
    }

    /// The stand-in, then ours in the place of what is there.
    fn build_both(&mut self) -> Result<Done, AttemptError> {
        let ours = Arc::new(self.engine.compiled().ruleset.clone());
        let stand_in = Ruleset {
            table: Name::new(STAND_IN).map_err(SyncError::from)?,
            ..Ruleset::clone(&ours)
        };
        let mut done = Done::default();
        // One that an earlier attempt left behind may be all that enforces.
        match self.build(&stand_in, &mut done) {
            Err(AttemptError::Failed(SyncError::Plan { .. } | SyncError::InTheWay { .. })) => {
                self.sink.delete_table(&stand_in.table)?;
                self.build(&stand_in, &mut done)?;
            }
            result => result?,
        }
        self.sink.delete_table(&ours.table)?;
        self.build(&ours, &mut done)?;
        self.sink.delete_table(&stand_in.table)?;
        let signs = signs(&mut self.sink)?;
        // Not known, only trusted: others may have committed meanwhile.
        self.live =
            Some(Live { ruleset: ours, foreign: Vec::new(), known: None, signs, doubted: false });
        self.before = None;
        Ok(done)
    }

    /// Makes a table of what is there of it.
    fn build(&mut self, table: &Ruleset, done: &mut Done) -> Result<(), AttemptError> {
        let generation = self.sink.generation()?;
        let (ruleset, foreign) = match self.sink.dump(&table.table)? {
            Some(dump) => (Some(Arc::new(dump.ruleset)), dump.foreign),
            None => (None, Vec::new()),
        };
        let base = Base { ruleset, foreign, generation, trusted: false };
        let Difference { batches, .. } = self.between(base, table)?;
        for batch in batches {
            match self.sink.send(&table.table, &batch, None) {
                Ok(()) => {}
                Err(SendError::Refused(refusals)) => {
                    return Err(AttemptError::Refused(refusals, batch));
                }
                Err(error) => return Err(error.into()),
            }
            done.batches += 1;
            done.operations += batch.ops.len();
        }
        Ok(())
    }
}
