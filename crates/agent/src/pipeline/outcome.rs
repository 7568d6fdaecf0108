//! What a change did, what it would do, or why it failed.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use nft::{ForeignObject, Generation, ReadError, SendError};
use policy::{Diagnostic, ObjectKey};
use ruleset::plan::PlanError;
use ruleset::{Batch, Name, NameError, Ruleset};

use super::refusals::EQUAL_REFUSALS;
use super::{MAX_ATTEMPTS, Unproved};

/// What a change did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What the kernel enforced after the last successful change. `None` if
    /// there was no table.
    pub before: Option<Arc<Ruleset>>,
    /// What it enforces now.
    pub after: Arc<Ruleset>,
    /// Batches that were committed; none if there was nothing to do.
    pub batches: usize,
    /// Operations in them.
    pub operations: usize,
    /// About the objects: of the compiler, and policies set aside.
    pub diagnostics: Vec<Diagnostic>,
    /// Policies that the kernel refused: they isolate and allow nothing.
    pub set_aside: BTreeSet<ObjectKey>,
    /// What others put into our table. It is still there.
    pub foreign: Vec<ForeignObject>,
    /// Whether others had touched the table. What they did may have no effect.
    pub was_touched: bool,
    /// Whether others had touched the table, and batches were sent.
    pub restored: bool,
}

/// Batches that were committed, and what they did to the table.
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
    /// About the objects: of the compiler, and policies set aside.
    pub diagnostics: Vec<Diagnostic>,
    /// Policies that the kernel refused.
    pub set_aside: BTreeSet<ObjectKey>,
    /// What was committed nevertheless.
    pub committed: Option<Box<Committed>>,
}

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
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
    pub batches: Vec<Batch>,
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
        "table inet {table} was made by another version or changed by hand: {source}; `nftpol cleanup` removes it"
    )]
    Plan {
        /// The table.
        table: Name,
        /// Why.
        #[source]
        source: PlanError,
    },
    /// Others put something into the table under a name that ours needs.
    #[error(
        "table inet {table} holds {name}, which is not ours ({why}) and in the way; remove it, \
         or all of the table with `nftpol cleanup`"
    )]
    InTheWay {
        /// The table.
        table: Name,
        /// The name that both have.
        name: String,
        /// Why it is not ours.
        why: String,
    },
    /// The kernel refused the same change several times in a row, and no
    /// policy is to blame: build the table again with
    /// [`super::Pipeline::replace`].
    #[error("{0}; refused {EQUAL_REFUSALS} times in a row")]
    KeepsRefusing(#[source] SendError),
    /// As `KeepsRefusing`, and that did not help: try again rarely.
    #[error(
        "{0}; building the table again did not help; `nft list table inet nftpol` shows whether \
         others have put something into it"
    )]
    RebuildDidNotHelp(#[source] SendError),
    /// The table must be proved first, and could not be.
    #[error(transparent)]
    Unproved(#[from] Unproved),
    /// The name of the stand-in is invalid.
    #[error("name a table: {0}")]
    Name(#[from] NameError),
    /// Others committed during each attempt.
    #[error("the ruleset changed under each of {MAX_ATTEMPTS} attempts; try again")]
    TooManyRaces,
}
