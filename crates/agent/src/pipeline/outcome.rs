//! What a change did, what it would do, or why it failed.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use nft::{ForeignObject, Generation, ReadError, SendError};
use policy::{Diagnostic, ObjectKey};
use ruleset::plan::{Pieces, PlanError};
use ruleset::{NameError, Ruleset, TableId};

use super::refusals::EQUAL_REFUSALS;
use super::{MAX_ATTEMPTS, Unproved};

/// What a change did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the kernel's `inet` table was after the last successful change. `None`
    /// if there was no table.
    pub before: Option<Arc<Ruleset>>,
    /// What it is now.
    pub after: Arc<Ruleset>,
    /// What was done to each table, `inet` first.
    pub tables: [TableOutcome; 2],
    /// About the objects: of the compiler, and policies set aside.
    pub diagnostics: Vec<Diagnostic>,
    /// Policies that the kernel refused: they isolate and allow nothing.
    pub set_aside: BTreeSet<ObjectKey>,
    /// Policies that find no room in the budgets: the same.
    pub over_budget: Arc<BTreeSet<ObjectKey>>,
}

/// What a change did to one table.
#[derive(Clone, Debug)]
pub struct TableOutcome {
    /// The table.
    pub id: TableId,
    /// Whether it is there now.
    pub exists: bool,
    /// Batches that were committed; none if there was nothing to do.
    pub batches: usize,
    /// Operations in them.
    pub operations: usize,
    /// What others put into the table. It is still there.
    pub foreign: Vec<ForeignObject>,
    /// Whether others had touched the table. What they did may have no effect.
    pub was_touched: bool,
}

impl Outcome {
    /// Batches that were committed; none if there was nothing to do.
    pub fn batches(&self) -> usize {
        self.tables.iter().map(|table| table.batches).sum()
    }

    /// Operations in them.
    pub fn operations(&self) -> usize {
        self.tables.iter().map(|table| table.operations).sum()
    }

    /// Whether others had touched a table. What they did may have no effect.
    pub fn was_touched(&self) -> bool {
        self.tables.iter().any(|table| table.was_touched)
    }

    /// The tables that others had touched, and that batches were sent to.
    pub fn restored(&self) -> impl Iterator<Item = &TableOutcome> {
        self.tables.iter().filter(|table| table.was_touched && table.batches > 0)
    }
}

/// Batches that were committed, and what they did to a table.
#[derive(Clone, Debug)]
pub struct Committed {
    /// What the kernel enforced after the last successful change. `None` if
    /// there was no table, or nobody knows.
    pub before: Option<Arc<Ruleset>>,
    /// What it enforces after the last of these batches.
    pub after: Arc<Ruleset>,
    /// How many batches; since the last report.
    pub batches: usize,
    /// Operations in them.
    pub operations: usize,
}

/// A change that did not reach its end.
#[derive(Debug)]
pub struct SyncFailed {
    /// Why.
    pub error: SyncError,
    /// Why the other table was not changed either, if that is another reason.
    pub also: Option<Box<SyncError>>,
    /// About the objects: of the compiler, and policies set aside.
    pub diagnostics: Box<[Diagnostic]>,
    /// Policies that the kernel refused.
    pub set_aside: BTreeSet<ObjectKey>,
    /// Policies that find no room in the budgets.
    pub over_budget: Arc<BTreeSet<ObjectKey>>,
    /// What was committed to the `inet` table nevertheless.
    pub committed: Option<Box<Committed>>,
}

impl SyncFailed {
    /// Why, for each table that was not changed, but each reason once.
    pub fn errors(&self) -> impl Iterator<Item = &SyncError> {
        std::iter::once(&self.error).chain(self.also.as_deref())
    }

    /// Whether the change only ended because something is more urgent.
    pub fn is_interrupted(&self) -> bool {
        self.errors().all(|error| matches!(error, SyncError::Interrupted))
    }

    /// Whether [`super::Pipeline::replace`] may help.
    pub fn needs_rebuild(&self) -> bool {
        self.errors().any(SyncError::needs_rebuild)
    }
}

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match &self.also {
            Some(also) => write!(f, "; {also}"),
            None => Ok(()),
        }
    }
}

impl Error for SyncFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// The difference between the kernel's table and the wanted one.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The kernel's table, as far as it can be expressed here.
    pub live: Option<Arc<Ruleset>>,
    /// Flags that others gave the table, such as `dormant`.
    pub flags: Option<String>,
    /// What others put into it.
    pub foreign: Vec<ForeignObject>,
    /// The generation as of which it was read.
    pub generation: Generation,
    /// What to send.
    pub pieces: Pieces,
}

/// Why the kernel does not enforce the snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The table could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch failed, and no policy is to blame.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The kernel's table cannot become ours step by step.
    #[error(
        "table {table} was made by another version or changed by hand: {why}; `nftpol cleanup` removes it"
    )]
    Plan {
        /// The table.
        table: TableId,
        /// Why.
        why: Box<PlanError>,
    },
    /// Others put something into the table under a name that ours needs.
    #[error(
        "table {table} holds {name}, which is not ours ({why}) and in the way; remove it, \
         or all of the table with `nftpol cleanup`"
    )]
    InTheWay {
        /// The table.
        table: TableId,
        /// The name that both have.
        name: Box<str>,
        /// Why it is not ours.
        why: Box<str>,
    },
    /// This process shall own the table, and no process can own this one.
    #[error(
        "table {table} was made by a program that does not own its tables (such as `nftpol apply`)"
    )]
    Unownable {
        /// The table.
        table: TableId,
    },
    /// Another process owns the table. The stand-in enforces beside it.
    #[error(
        "another process owns table {table} (netlink port {port}, mostly its process id); \
         table {stand_in} enforces the policies beside it, and follows changes within a second: \
         stop that process"
    )]
    Beside {
        /// The table.
        table: TableId,
        /// The port of the owner's socket.
        port: u32,
        /// The table that enforces.
        stand_in: Box<TableId>,
    },
    /// The kernel refused the same change several times in a row, and no
    /// policy is to blame: build the table again with
    /// [`super::Pipeline::replace`].
    #[error("{0}; refused {EQUAL_REFUSALS} times in a row")]
    KeepsRefusing(#[source] SendError),
    /// As `KeepsRefusing`, and that did not help: try again rarely.
    #[error(
        "{0}; building the table again did not help; `nft list ruleset` shows whether \
         others have put something into it"
    )]
    RebuildDidNotHelp(#[source] SendError),
    /// The table must be proved first, and could not be.
    #[error(transparent)]
    Unproved(#[from] Unproved),
    /// The name of the stand-in is invalid.
    #[error("name a table: {0}")]
    Name(#[from] NameError),
    /// Something is more urgent than the rest of this change.
    #[error("ended between two commits: something else is more urgent")]
    Interrupted,
    /// Others committed during each attempt.
    #[error("the ruleset changed under each of {MAX_ATTEMPTS} attempts; try again")]
    TooManyRaces,
}

impl SyncError {
    /// Whether a table that cannot become ours step by step can still be built
    /// again: also one that cannot be read.
    pub fn needs_rebuild(&self) -> bool {
        matches!(
            self,
            Self::Plan { .. }
                | Self::InTheWay { .. }
                | Self::Unownable { .. }
                | Self::Send(SendError::Owned { .. })
                | Self::KeepsRefusing(_)
                | Self::Read(ReadError::KeepsChanging(_))
        )
    }
}
