//! What is known of our table in the kernel.
//!
//! In: what was read and committed, and what a look showed. Out: what a change
//! starts from, and whether the table must be read first. Never: I/O.
//!
//! ```text
//!                                 others committed,
//!  Unknown        our commit     same fingerprint          our commit
//!     │  ┌──────────▶ Exact ───────────────────▶ Trusted ◀──────────┐
//!     │  │              │                          │  │ └────────────┘
//!   read │              │ other fingerprint        │  │
//!     │  │              ▼            other         │  │ distrust
//!     ├──┤◀──────── Touched ◀── fingerprint ───────┘  │
//!     │  │  read        ▲                             ▼
//!     │  │              └──────────────────────── Doubted
//!     │  │                                            │
//!     │  └───────────────────── read ─────────────────┘
//!     ▼
//!  Start ── batches ──▶ committed: Exact, or Trusted if others committed meanwhile
//!        ├─ failed ───▶ Unfinished ── read ──▶ Start
//!        │                  └─ other fingerprint ──▶ Touched
//!        └─ failed, and others changed the fingerprint meanwhile ──▶ Touched
//!
//!  forget: Unknown, from every state
//! ```
//!
//! | state | what holds | the next change starts from |
//! |---|---|---|
//! | Unknown | nothing is known, as at start | a read |
//! | Unfinished | an attempt failed, and left this fingerprint | a read |
//! | Exact | as of this generation the kernel has this table | memory |
//! | Trusted | others committed; the fingerprint is still ours | memory |
//! | Doubted | the same, but a read was asked for | a read; memory if others commit too fast to read |
//! | Touched | others made the table again, or changed its parts | a read, reported as a repair |

use std::sync::Arc;

use nft::{ForeignObject, Generation, TableFingerprint};
use ruleset::Ruleset;

/// What is known of our table in the kernel.
#[derive(Debug, Default)]
pub(super) enum KernelTable {
    /// Never read, or forgotten.
    #[default]
    Unknown,
    /// An attempt failed. The table had this fingerprint then; `None` if it was
    /// gone.
    Unfinished { fingerprint: Option<TableFingerprint> },
    /// As remembered, as of this generation.
    Exact { table: Remembered, generation: Generation },
    /// Others committed, but the fingerprint is that of the remembered table.
    Trusted { table: Remembered },
    /// As `Trusted`, and to be read before the next change.
    Doubted { table: Remembered },
    /// Others made it again, switched it off or changed the number of its
    /// parts.
    Touched,
}

/// The table as of our last commit.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub ruleset: Arc<Ruleset>,
    /// What others have put into it.
    pub foreign: Vec<ForeignObject>,
    /// Of the table and its base chain, after that commit.
    pub fingerprint: Option<TableFingerprint>,
}

/// What a change starts from.
#[derive(Clone, Debug)]
pub(super) struct Start {
    /// `None` if the kernel has no such table.
    pub ruleset: Option<Arc<Ruleset>>,
    /// What others have put into the table.
    pub foreign: Vec<ForeignObject>,
    pub generation: Generation,
    /// Whether `ruleset` was read, or is known, as of `generation`. If not, it is
    /// trusted because of its fingerprint, and a refusal may be due to what
    /// others did.
    pub is_exact: bool,
}

impl KernelTable {
    /// Whether nobody has committed since the table was known exactly.
    pub(super) fn is_exact_at(&self, now: Generation) -> bool {
        matches!(self, Self::Exact { generation, .. } if *generation == now)
    }

    /// Whether a table is remembered, whose fingerprint can be compared.
    pub(super) fn is_remembered(&self) -> bool {
        self.remembered().is_some()
    }

    /// Whether a change must compare the fingerprint before it begins.
    pub(super) fn must_be_compared(&self, now: Generation) -> bool {
        match self {
            Self::Exact { generation, .. } => *generation != now,
            Self::Trusted { .. } | Self::Unfinished { .. } => true,
            Self::Unknown | Self::Doubted { .. } | Self::Touched => false,
        }
    }

    /// Others made the table again or changed its parts.
    pub(super) fn is_touched(&self) -> bool {
        matches!(self, Self::Touched)
    }

    /// Others committed; this is the fingerprint that the table has now.
    pub(super) fn others_committed(&mut self, found: Option<&TableFingerprint>) {
        let is_same = self.remembered().is_some_and(|table| {
            table.fingerprint.is_some() && table.fingerprint.as_ref() == found
        });
        *self = match std::mem::take(self) {
            Self::Exact { table, .. } | Self::Trusted { table } if is_same => {
                Self::Trusted { table }
            }
            Self::Doubted { table } if is_same => Self::Doubted { table },
            Self::Unfinished { fingerprint } if fingerprint.as_ref() == found => {
                Self::Unfinished { fingerprint }
            }
            Self::Unknown => Self::Unknown,
            _ => Self::Touched,
        };
    }

    /// The next change shall read the table.
    pub(super) fn distrust(&mut self) {
        *self = match std::mem::take(self) {
            Self::Exact { table, .. } | Self::Trusted { table } => Self::Doubted { table },
            other => other,
        };
    }

    /// An attempt failed, perhaps after some of its batches were `committed`.
    /// This is the fingerprint that the table has now.
    pub(super) fn failed(&mut self, found: Option<TableFingerprint>, committed: bool) {
        let known = self.remembered().and_then(|table| table.fingerprint.as_ref());
        // Our batches change the fingerprint, too, but never delete the table.
        let is_touched = known.is_some_and(|known| match &found {
            Some(found) => !committed && found != known,
            None => true,
        });
        *self = match self {
            _ if is_touched => Self::Touched,
            Self::Touched => Self::Touched,
            _ => Self::Unfinished { fingerprint: found },
        };
    }

    /// What the table holds is not known any more.
    pub(super) fn forget(&mut self) {
        *self = Self::Unknown;
    }

    /// All batches of a change were committed. `exact`: the generation after
    /// them, if the change started from an exact table and nobody else
    /// committed meanwhile.
    pub(super) fn committed(&mut self, table: Remembered, exact: Option<Generation>) {
        *self = match exact {
            Some(generation) => Self::Exact { table, generation },
            None => Self::Trusted { table },
        };
    }

    /// What a change starts from without a read, as of this generation; `None`
    /// if the table must be read first.
    pub(super) fn start(&self, now: Generation) -> Option<Start> {
        match self {
            Self::Exact { .. } | Self::Trusted { .. } => self.remembered_start(now),
            Self::Unknown | Self::Unfinished { .. } | Self::Doubted { .. } | Self::Touched => None,
        }
    }

    /// What a change starts from if others commit too fast for a read.
    pub(super) fn remembered_start(&self, now: Generation) -> Option<Start> {
        self.remembered().map(|table| Start {
            ruleset: Some(Arc::clone(&table.ruleset)),
            foreign: table.foreign.clone(),
            generation: now,
            is_exact: self.is_exact_at(now),
        })
    }

    fn remembered(&self) -> Option<&Remembered> {
        match self {
            Self::Exact { table, .. } | Self::Trusted { table } | Self::Doubted { table } => {
                Some(table)
            }
            Self::Unknown | Self::Unfinished { .. } | Self::Touched => None,
        }
    }
}

#[cfg(test)]
mod tests;
