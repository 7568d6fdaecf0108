//! One table of ours: what is known of it, and what was done to it.
//!
//! In: the kernel, a wanted table. Out: what a change starts from, the
//! difference, the steps on the way. Never: a compiler; another table.
//!
//! What `inet nftpol` and `bridge nftpol` do is independent: each only drops. So
//! each has a value of its own, and what stops one does not stop the other.

use std::sync::Arc;

use nft::{Dump, ForeignKind, ForeignObject, Generation, ReadError, SendError};
use ruleset::plan::Planner;
use ruleset::{Batch, Name, Op, Ruleset, TableId};

use super::fingerprint::{Fingerprint, base_chains};
use super::kernel_table::{KernelTable, Remembered, Start};
use super::pace::Pace;
use super::progress::{Finished, Progress};
use super::refusals::RefusalHistory;
use super::{Committed, Difference, SyncError, TableOutcome};
use crate::Sink;

/// What a table shall be; `None` if there shall be none.
pub(super) type Wanted = Option<Arc<Ruleset>>;

/// One table of ours.
#[derive(Debug)]
pub(super) struct OwnTable {
    pub(super) id: TableId,
    /// The base chains that it has whatever is bound.
    chains: Vec<Name>,
    planner: Planner,
    pub(super) pace: Pace,
    pub(super) kernel: KernelTable,
    pub(super) progress: Progress,
    pub(super) refusals: RefusalHistory,
    /// Of a table that is built again, where other batches are sent.
    pub(super) rebuild_refusals: RefusalHistory,
    /// The last change ended with an error that building it again may help.
    pub(super) must_be_rebuilt: bool,
    /// Building it again so that this process can own it has failed.
    pub(super) stays_unowned: bool,
}

impl OwnTable {
    /// A table of which nothing is known yet.
    pub(super) fn new(id: TableId, chains: Vec<Name>) -> Self {
        Self {
            id,
            chains,
            planner: Planner::default(),
            pace: Pace::default(),
            kernel: KernelTable::default(),
            progress: Progress::default(),
            refusals: RefusalHistory::default(),
            rebuild_refusals: RefusalHistory::default(),
            must_be_rebuilt: false,
            stays_unowned: false,
        }
    }

    /// This table without anything in it.
    pub(super) fn nothing(&self) -> Ruleset {
        Ruleset::of(self.id.clone())
    }

    /// What is sent to make this the kernel's table.
    pub(super) fn between(
        &mut self,
        start: Start,
        target: &Ruleset,
    ) -> Result<Difference, SyncError> {
        let Start { ruleset: live, mut foreign, generation, .. } = start;
        let table = target.id();
        let unownable = foreign.iter().position(|object| object.kind == ForeignKind::Unownable);
        if unownable.map(|index| foreign.remove(index)).is_some() && !self.stays_unowned {
            return Err(SyncError::Unownable { table });
        }
        if let Some(ForeignObject { name, why, .. }) = in_the_way(target, &foreign) {
            let (name, why) = (name.as_str().into(), why.as_str().into());
            return Err(SyncError::InTheWay { table, name, why });
        }
        let mut pieces = self
            .planner
            .pieces(live.as_deref(), target, self.pace.budget())
            .map_err(|why| SyncError::Plan { table, why: Box::new(why) })?;
        let is_flags = |object: &ForeignObject| object.kind == ForeignKind::Table;
        let flags = foreign.iter().position(is_flags).map(|index| foreign.remove(index).why);
        if flags.is_some() {
            // Creating the table again clears them.
            pieces.begin_with(Op::CreateTable);
        }
        Ok(Difference { live, flags, foreign, generation, pieces })
    }

    /// Takes the table from memory, or reads it where it must be. Reading it
    /// costs with its size, and on a node with kube-proxy others commit all day.
    pub(super) fn start(&mut self, sink: &mut impl Sink) -> Result<Start, ReadError> {
        // Ask before the dump: a later commit must not count as read.
        let generation = sink.generation()?;
        if self.kernel.must_be_compared(generation) {
            self.compare(sink, generation)?;
        }
        if let Some(start) = self.kernel.start(generation) {
            return Ok(start);
        }
        if self.kernel.is_touched() {
            self.progress.found_touched();
        }
        let dump = match sink.dump(&self.id) {
            Err(ReadError::KeepsChanging(attempts)) => {
                self.compare_if_remembered(sink, generation)?;
                let memory = self.kernel.remembered_start(generation);
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
    pub(super) fn compare_if_remembered(
        &mut self,
        sink: &mut impl Sink,
        generation: Generation,
    ) -> Result<(), ReadError> {
        match self.kernel.is_remembered() {
            true => self.compare(sink, generation),
            false => Ok(()),
        }
    }

    fn compare(&mut self, sink: &mut impl Sink, generation: Generation) -> Result<(), ReadError> {
        let found = Fingerprint::take(sink, &self.id, self.kernel.chains())?;
        self.kernel.others_committed(&found, generation);
        Ok(())
    }

    /// An attempt failed: remembers how it left the table, so that the next one
    /// notices what others do meanwhile.
    pub(super) fn attempt_failed(&mut self, sink: &mut impl Sink, committed: bool) {
        let known = self.kernel.chains();
        let chains = if known.is_empty() { self.chains.clone() } else { known };
        match Fingerprint::take(sink, &self.id, chains) {
            Ok(found) => self.kernel.failed(found, committed),
            Err(_) => self.kernel.forget(),
        }
    }

    /// The kernel has what is wanted. `exact`: as of this generation, if nobody
    /// has committed since. Returns whether that holds.
    pub(super) fn reached(
        &mut self,
        sink: &mut impl Sink,
        wanted: &Wanted,
        exact: Option<Generation>,
    ) -> Result<bool, ReadError> {
        let chains = wanted.as_deref().map_or(self.chains.clone(), |it| base_chains(it).collect());
        let fingerprint = Fingerprint::take(sink, &self.id, chains)?;
        let foreign = self.progress.foreign.clone();
        let table = Remembered { ruleset: wanted.clone(), foreign, fingerprint };
        // Ask after the look: somebody who committed may have changed the table.
        let exact = match exact {
            Some(generation) if sink.generation()? == generation => Some(generation),
            _ => None,
        };
        self.kernel.committed(table, exact);
        Ok(exact.is_some())
    }

    /// Remembers what is in force after a change that broke off.
    pub(super) fn stopped(&mut self, live: Option<&Ruleset>, committed: &[Batch]) {
        if self.progress.batches() > 0 {
            let nothing = self.nothing();
            self.progress.stopped(live.unwrap_or(&nothing), committed);
        }
    }

    /// The change reached its end. Also returns what was done to the table.
    pub(super) fn finish(&mut self, wanted: Wanted) -> (TableOutcome, Committed) {
        let exists = wanted.is_some();
        let after = wanted.unwrap_or_else(|| Arc::new(self.nothing()));
        let Finished { committed, was_touched, foreign } = self.progress.finish(after);
        let Committed { batches, operations, .. } = committed;
        let id = self.id.clone();
        (TableOutcome { id, exists, batches, operations, foreign, was_touched }, committed)
    }

    /// Deletes the table. Whether there was one.
    pub(super) fn delete(&mut self, sink: &mut impl Sink) -> Result<bool, SendError> {
        let deleted = sink.delete_table(&self.id)?;
        if deleted {
            self.progress.deleted();
        }
        Ok(deleted)
    }
}

/// A foreign object with a name that the table needs for itself.
fn in_the_way<'a>(target: &Ruleset, foreign: &'a [ForeignObject]) -> Option<&'a ForeignObject> {
    foreign.iter().find(|object| match object.kind {
        ForeignKind::Chain => target.chains.keys().any(|name| name.as_str() == object.name),
        ForeignKind::Set => {
            let mut names = target.sets.keys().chain(target.maps.keys());
            names.any(|name| name.as_str() == object.name)
        }
        ForeignKind::Table
        | ForeignKind::Unownable
        | ForeignKind::Object
        | ForeignKind::Flowtable => false,
    })
}
