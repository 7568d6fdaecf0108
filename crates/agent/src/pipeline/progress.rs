//! What was done to a table since the last change that reached its end.
//!
//! In: each step of the attempts. Out: the committed batches, for the report of
//! a success or a failure. Never: a committed batch that no report contains.

use std::sync::Arc;

use nft::ForeignObject;
use ruleset::{Batch, Ruleset};

use super::outcome::Committed;

/// What was done since the last change that reached its end.
#[derive(Debug, Default)]
pub(super) struct Progress {
    origin: Origin,
    was_touched: bool,
    batches: usize,
    operations: usize,
    /// What the kernel enforces after an attempt that failed on the way.
    reached: Option<Arc<Ruleset>>,
    pub(super) foreign: Vec<ForeignObject>,
}

/// What was done to a table until its change reached the end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) committed: Committed,
    /// Whether others had touched the table.
    pub(super) was_touched: bool,
    /// What others have put into it.
    pub(super) foreign: Vec<ForeignObject>,
}

/// What the kernel enforced before the first attempt.
#[derive(Debug, Default)]
enum Origin {
    /// No attempt got as far as to know.
    #[default]
    NotRead,
    /// Nothing, or it is not known what.
    NoTable,
    Table(Arc<Ruleset>),
}

impl Progress {
    /// The table was found to be touched by others.
    pub(super) fn found_touched(&mut self) {
        self.was_touched = true;
    }

    /// An attempt begins with this in force. Only the first one counts.
    pub(super) fn begins_at(&mut self, enforced: Option<Arc<Ruleset>>) {
        if matches!(self.origin, Origin::NotRead) {
            self.origin = enforced.map_or(Origin::NoTable, Origin::Table);
        }
    }

    /// It is not known what was enforced before.
    pub(super) fn origin_is_lost(&mut self) {
        self.origin = Origin::NoTable;
    }

    /// A batch was committed.
    pub(super) fn committed(&mut self, batch: &Batch) {
        self.batches += 1;
        self.operations += batch.ops.len();
    }

    /// The table was deleted.
    pub(super) fn deleted(&mut self) {
        self.batches += 1;
        self.operations += 1;
    }

    /// An attempt ended after these batches of its own.
    pub(super) fn stopped(&mut self, start: &Ruleset, committed: &[Batch]) {
        // What the kernel took applies, unless others changed the table.
        let table = after(start, committed).unwrap_or_else(|| start.clone());
        self.stopped_at(Arc::new(table));
    }

    /// An attempt ended with this in force.
    pub(super) fn stopped_at(&mut self, table: Arc<Ruleset>) {
        self.reached = Some(table);
    }

    /// Batches committed and not yet reported.
    pub(super) fn batches(&self) -> usize {
        self.batches
    }

    /// The change reached its end with this table.
    pub(super) fn finish(&mut self, after: Arc<Ruleset>) -> Finished {
        let Self { origin, was_touched, batches, operations, foreign, .. } = std::mem::take(self);
        let committed = Committed { before: origin.table(), after, batches, operations };
        Finished { committed, was_touched, foreign }
    }

    /// The change failed: what of it was committed, if anything. What was in
    /// force before it stays known.
    pub(super) fn interrupt(&mut self) -> Option<Committed> {
        let after = self.reached.take()?;
        let batches = std::mem::take(&mut self.batches);
        let operations = std::mem::take(&mut self.operations);
        // Nobody knows what was let in while others had changed the table.
        let before = self.origin.clone_table().filter(|_| !self.was_touched);
        (batches > 0).then_some(Committed { before, after, batches, operations })
    }
}

/// A table after these batches; `None` if they do not apply to it.
pub(super) fn after(start: &Ruleset, committed: &[Batch]) -> Option<Ruleset> {
    let mut table = start.clone();
    for batch in committed {
        if let Err(error) = table.apply(batch) {
            tracing::debug!("a committed batch does not apply: {error}");
            return None;
        }
    }
    Some(table)
}

impl Origin {
    fn table(self) -> Option<Arc<Ruleset>> {
        match self {
            Self::Table(table) => Some(table),
            Self::NotRead | Self::NoTable => None,
        }
    }

    fn clone_table(&self) -> Option<Arc<Ruleset>> {
        match self {
            Self::Table(table) => Some(Arc::clone(table)),
            Self::NotRead | Self::NoTable => None,
        }
    }
}
