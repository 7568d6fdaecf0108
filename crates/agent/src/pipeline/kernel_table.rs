//! What is known of one of our tables in the kernel.
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
//! A table that is not wanted and not there is Exact: a look shows that it is still
//! not there. A commit of ours to another table leaves what is Exact so.
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

use nft::{ForeignObject, Generation};
use ruleset::{Name, Ruleset};

use super::fingerprint::Fingerprint;

/// What is known of one of our tables in the kernel.
#[derive(Debug, Default)]
pub(super) enum KernelTable {
    /// Never read, or forgotten.
    #[default]
    Unknown,
    /// An attempt failed. The table had this fingerprint then.
    Unfinished { fingerprint: Fingerprint },
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
    /// `None` if there shall be no table, and there was none.
    pub ruleset: Option<Arc<Ruleset>>,
    /// What others have put into it.
    pub foreign: Vec<ForeignObject>,
    /// Of the table and its base chains, after that commit.
    pub fingerprint: Fingerprint,
}

impl Remembered {
    fn is_absent(&self) -> bool {
        self.ruleset.is_none()
    }

    /// Whether a table with this fingerprint is the remembered one.
    fn is(&self, found: &Fingerprint) -> bool {
        match self.is_absent() {
            true => found.is_nothing(),
            false => found.is_whole() && *found == self.fingerprint,
        }
    }
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

    /// The chains to look at, for a comparison with what is known.
    pub(super) fn chains(&self) -> Vec<Name> {
        let fingerprint = match self {
            Self::Unfinished { fingerprint } => Some(fingerprint),
            Self::Exact { table, .. } | Self::Trusted { table } | Self::Doubted { table } => {
                Some(&table.fingerprint)
            }
            Self::Unknown | Self::Touched => None,
        };
        fingerprint.into_iter().flat_map(Fingerprint::chains).collect()
    }

    /// Others committed. The look at [`Self::chains`] found this, as of this
    /// generation or a later one.
    pub(super) fn others_committed(&mut self, found: &Fingerprint, now: Generation) {
        let is_same = self.remembered().is_some_and(|table| table.is(found));
        *self = match std::mem::take(self) {
            Self::Exact { table, .. } if is_same && table.is_absent() => {
                Self::Exact { table, generation: now }
            }
            Self::Exact { table, .. } | Self::Trusted { table } if is_same => {
                Self::Trusted { table }
            }
            Self::Doubted { table } if is_same => Self::Doubted { table },
            Self::Unfinished { fingerprint } if fingerprint == *found => {
                Self::Unfinished { fingerprint }
            }
            Self::Unknown => Self::Unknown,
            _ => Self::Touched,
        };
    }

    /// The next change shall read the table.
    pub(super) fn distrust(&mut self) {
        *self = match std::mem::take(self) {
            Self::Exact { table, generation } if table.is_absent() => {
                Self::Exact { table, generation }
            }
            Self::Exact { table, .. } | Self::Trusted { table } => Self::Doubted { table },
            other => other,
        };
    }

    /// Nobody but we committed, and to another table, between these generations.
    pub(super) fn ours_committed_elsewhere(&mut self, from: Generation, to: Generation) {
        if let Self::Exact { generation, .. } = self
            && *generation == from
        {
            *generation = to;
        }
    }

    /// An attempt failed, perhaps after some of its batches were `committed`.
    /// This is the fingerprint that the table has now.
    pub(super) fn failed(&mut self, found: Fingerprint, committed: bool) {
        // Our batches change the fingerprint, too, but never delete the table.
        let is_touched = self.remembered().is_some_and(|known| match committed {
            true => found.is_nothing() && !known.is_absent(),
            false => !known.is(&found),
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
            ruleset: table.ruleset.clone(),
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
