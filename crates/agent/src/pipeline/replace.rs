//! Builds a table again that cannot become ours step by step.
//!
//! In: a snapshot. Out: our table, built from nothing, while each packet is
//! judged by at least one table. Never: a table deleted and created in one
//! batch: the look-ups of one packet would be split between the two; a table
//! built again because of the other one.

use std::sync::Arc;

use nft::SendError;
use policy::Snapshot;
use ruleset::plan::Piece;
use ruleset::{Name, NameError, Ruleset, TableFamily};

use super::attempt::{AttemptError, not_committed};
use super::change::{Step, errors, table};
use super::kernel_table::Start;
use super::own_table::OwnTable;
use super::{Difference, FAMILIES, Outcome, Pipeline, SyncError, SyncFailed};
use crate::Sink;

/// The name of the stand-in. It is one of our names, so the next start removes
/// what a crash leaves behind.
pub(crate) const STAND_IN: &str = "nftpol-0";

/// The name of a table's stand-in. Each table of one namespace has its own.
pub(crate) fn stand_in(table: &Name) -> Result<Name, NameError> {
    Name::new(table.as_str().replacen("nftpol", STAND_IN, 1))
}

impl<S: Sink> Pipeline<S> {
    /// Makes the kernel enforce the snapshot whatever others did to our tables:
    /// builds a stand-in beside a table, deletes it, builds it, deletes the
    /// stand-in. While two tables stand, what one of them drops is dropped. This
    /// is done to the tables whose last change needs it, or to both if none does.
    ///
    /// # Errors
    /// See [`SyncError`]. At least one table of the family is left.
    pub fn replace(&mut self, snapshot: &Snapshot) -> Result<Outcome, SyncFailed> {
        self.compile_next(snapshot);
        let needed = FAMILIES.map(|family| self.tables.of(family).must_be_rebuilt);
        let any = needed.contains(&true);
        let mut results = [Ok(()), Ok(())];
        for ((family, needed), result) in FAMILIES.into_iter().zip(needed).zip(&mut results) {
            if needed || !any {
                *result = self.build_again(family, snapshot);
                self.tables.of(family).stays_unowned = result.is_err();
            }
        }
        match errors(results) {
            // What others did meanwhile is looked for, too.
            None => self.sync(snapshot),
            Some(errors) => Err(self.failed(errors)),
        }
    }

    /// Builds one table again, without the policies that the kernel refuses.
    fn build_again(&mut self, family: TableFamily, snapshot: &Snapshot) -> Result<(), SyncError> {
        let own = self.tables.of(family);
        own.kernel.forget();
        own.progress.origin_is_lost();
        loop {
            self.prove(snapshot)?;
            let Self { sink, tables, .. } = self;
            let built = match table(self.engine.compiled(), family) {
                Some(ours) => tables.of(family).build_both(sink, &Arc::new(ours.clone())),
                None => tables.of(family).delete(sink).map(drop).map_err(AttemptError::from),
            };
            match built {
                Ok(()) => return Ok(()),
                Err(AttemptError::Refused(error, batch)) => {
                    self.set_aside_refused(family, error, &batch, Step::Rebuild)?;
                }
                Err(AttemptError::Failed(error)) => return Err(error),
                Err(AttemptError::Overtaken | AttemptError::LostTrack) => {
                    return Err(SyncError::TooManyRaces);
                }
                Err(AttemptError::Interrupted(_)) => return Err(SyncError::Interrupted),
            }
        }
    }
}

impl OwnTable {
    /// The stand-in, then ours in the place of what is there.
    fn build_both(
        &mut self,
        sink: &mut impl Sink,
        ours: &Arc<Ruleset>,
    ) -> Result<(), AttemptError> {
        let stand_in = Ruleset {
            table: stand_in(&ours.table).map_err(SyncError::from)?,
            ..Ruleset::clone(ours)
        };
        // A stand-in of an earlier attempt may be the only table that enforces.
        match self.build(sink, &stand_in) {
            Err(AttemptError::Failed(SyncError::Plan { .. } | SyncError::InTheWay { .. })) => {
                sink.delete_table(&stand_in.id())?;
                self.build(sink, &stand_in)?;
            }
            result => result?,
        }
        let built = self.in_place_of_ours(sink, ours, &stand_in);
        // What one of two tables drops is dropped: the stand-in is whole.
        self.progress.stopped_at(Arc::clone(ours));
        built
    }

    fn in_place_of_ours(
        &mut self,
        sink: &mut impl Sink,
        ours: &Arc<Ruleset>,
        stand_in: &Ruleset,
    ) -> Result<(), AttemptError> {
        match sink.delete_table(&self.id) {
            Err(SendError::Owned { port }) => {
                let (table, stand_in) = (self.id.clone(), Box::new(stand_in.id()));
                return Err(AttemptError::Failed(SyncError::Beside { table, port, stand_in }));
            }
            result => result?,
        };
        self.build(sink, ours)?;
        sink.delete_table(&stand_in.id())?;
        // Not exact: others may have committed meanwhile.
        self.progress.foreign.clear();
        self.reached(sink, &Some(Arc::clone(ours)), None)?;
        Ok(())
    }

    /// Makes a table of what is there of it.
    fn build(&mut self, sink: &mut impl Sink, table: &Ruleset) -> Result<(), AttemptError> {
        let (id, generation) = (table.id(), sink.generation()?);
        let (ruleset, foreign) = match sink.dump(&id)? {
            Some(dump) => (Some(Arc::new(dump.ruleset)), dump.foreign),
            None => (None, Vec::new()),
        };
        let start = Start { ruleset, foreign, generation, is_exact: true };
        let Difference { live, mut pieces, .. } = self.between(start, table)?;
        let mut sent = Vec::new();
        while let Some(Piece { batch, .. }) = pieces.next(self.pace.budget()) {
            if let Err(error) = sink.send(&id, &batch, None) {
                self.stopped(live.as_deref(), &sent);
                return Err(not_committed(error, &batch));
            }
            self.progress.committed(&batch);
            sent.push(batch);
        }
        Ok(())
    }
}
