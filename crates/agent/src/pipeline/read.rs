//! What is in the kernel, without a change to it.
//!
//! In: the kernel, a compiled table. Out: what a change would send; which
//! address was bound to which interface. Never: a batch.

use std::sync::Arc;

use compiler::{Compiled, Layout};
use nft::ReadError;
use policy::Claims;
use ruleset::{Name, Ruleset, TableId};

use super::change::table;
use super::replace::STAND_IN;
use super::{Difference, FAMILIES, Pipeline, SyncError};
use crate::Sink;

/// How one table of the kernel differs from the wanted one.
#[derive(Clone, Debug)]
pub struct TableDifference {
    /// The table.
    pub id: TableId,
    /// What it should be; `None` if there should be none.
    pub wanted: Option<Arc<Ruleset>>,
    /// What a change would send. Nothing for a table that would be deleted.
    pub difference: Difference,
}

impl<S: Sink> Pipeline<S> {
    /// What [`Self::sync`] would do to make the kernel's tables these.
    ///
    /// # Errors
    /// A table cannot be read, or cannot become what it should be step by step.
    pub fn differences(&mut self, compiled: &Compiled) -> Result<[TableDifference; 2], SyncError> {
        let [inet, bridge] = FAMILIES.map(|family| {
            let wanted = table(compiled, family).cloned().map(Arc::new);
            let own = self.tables.of(family);
            let start = own.start(&mut self.sink)?;
            let difference = match &wanted {
                Some(wanted) => own.between(start, wanted)?,
                None => Difference {
                    live: start.ruleset,
                    flags: None,
                    foreign: start.foreign,
                    generation: start.generation,
                    batches: Vec::new(),
                },
            };
            Ok::<_, SyncError>(TableDifference { id: own.id.clone(), wanted, difference })
        });
        Ok([inet?, bridge?])
    }

    /// What would make the kernel's table of this family and name this one.
    ///
    /// # Errors
    /// As [`Self::differences`].
    pub fn difference(&mut self, target: &Ruleset) -> Result<Difference, SyncError> {
        let own = self.tables.of(target.family);
        let start = own.start(&mut self.sink)?;
        own.between(start, target)
    }

    /// Which address and MAC the kernel's tables bind to which interface: what an
    /// agent before this one knew. It may have stopped while a stand-in replaced a
    /// table, and others may have deleted one.
    ///
    /// # Errors
    /// A table cannot be read.
    pub fn claims(&mut self) -> Result<Claims, ReadError> {
        let mut tables = Vec::new();
        for family in FAMILIES {
            let own = self.tables.of(family).id.clone();
            let stand_in = Name::new(STAND_IN).ok().map(|name| TableId { family, name });
            for id in [own].into_iter().chain(stand_in) {
                tables.extend(self.sink.dump(&id)?.map(|dump| dump.ruleset));
            }
        }
        Ok(Layout::claims(&tables))
    }
}
