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
//!        └─ failed ───▶ forget: Unknown, from every state
//! ```
//!
//! | state | what holds | the next change starts from |
//! |---|---|---|
//! | Unknown | nothing is known, as at start and after a failure | a read |
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
    /// Never read, or an attempt failed on the way.
    #[default]
    Unknown,
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

    /// Whether there is a fingerprint to compare with.
    pub(super) fn is_remembered(&self) -> bool {
        self.remembered().is_some()
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

    /// An attempt failed: what it left behind is not known.
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
            Self::Unknown | Self::Doubted { .. } | Self::Touched => None,
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
            Self::Unknown | Self::Touched => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: Generation = Generation(7);
    const NOW: Generation = Generation(8);

    fn fingerprint(handle: u8) -> TableFingerprint {
        TableFingerprint { table: vec![handle], chain: vec![handle] }
    }

    fn remembered() -> Remembered {
        let ruleset = Arc::new(Ruleset::new(compiler::scaffold::table()));
        Remembered { ruleset, foreign: Vec::new(), fingerprint: Some(fingerprint(1)) }
    }

    fn exact() -> KernelTable {
        KernelTable::Exact { table: remembered(), generation: THEN }
    }

    fn trusted() -> KernelTable {
        KernelTable::Trusted { table: remembered() }
    }

    fn doubted() -> KernelTable {
        KernelTable::Doubted { table: remembered() }
    }

    /// Each state in the order of the picture.
    fn all() -> [KernelTable; 5] {
        [KernelTable::Unknown, exact(), trusted(), doubted(), KernelTable::Touched]
    }

    fn name(table: &KernelTable) -> &'static str {
        match table {
            KernelTable::Unknown => "unknown",
            KernelTable::Exact { .. } => "exact",
            KernelTable::Trusted { .. } => "trusted",
            KernelTable::Doubted { .. } => "doubted",
            KernelTable::Touched => "touched",
        }
    }

    fn after(transition: impl Fn(&mut KernelTable)) -> [&'static str; 5] {
        all().map(|mut table| {
            transition(&mut table);
            name(&table)
        })
    }

    #[test]
    fn commits_of_others_that_leave_the_fingerprint_are_trusted() {
        let same = after(|table| table.others_committed(Some(&fingerprint(1))));
        assert_eq!(same, ["unknown", "trusted", "trusted", "doubted", "touched"]);
    }

    #[test]
    fn another_fingerprint_or_none_is_touched() {
        let expected = ["unknown", "touched", "touched", "touched", "touched"];
        assert_eq!(after(|table| table.others_committed(Some(&fingerprint(2)))), expected);
        assert_eq!(after(|table| table.others_committed(None)), expected);
    }

    #[test]
    fn a_table_without_a_fingerprint_is_never_trusted() {
        let table = Remembered { fingerprint: None, ..remembered() };
        let mut known = KernelTable::Exact { table, generation: THEN };
        known.others_committed(None);
        assert!(known.is_touched(), "{known:?}");
    }

    #[test]
    fn what_is_distrusted_is_remembered_and_must_be_read() {
        let expected = ["unknown", "doubted", "doubted", "doubted", "touched"];
        assert_eq!(after(KernelTable::distrust), expected);
        let mut table = exact();
        table.distrust();
        assert!(table.start(THEN).is_none());
        assert!(table.remembered_start(THEN).is_some_and(|start| !start.is_exact));
    }

    #[test]
    fn a_failure_forgets_everything() {
        assert_eq!(after(KernelTable::forget), ["unknown"; 5]);
    }

    #[test]
    fn a_commit_is_exact_only_if_nobody_else_committed() {
        let exact = after(|table| table.committed(remembered(), Some(NOW)));
        assert_eq!(exact, ["exact"; 5]);
        assert_eq!(after(|table| table.committed(remembered(), None)), ["trusted"; 5]);
    }

    #[test]
    fn a_change_starts_remembered_start_or_must_read() {
        let from = |now| all().map(|table| table.start(now).map(|start| start.is_exact));
        assert_eq!(from(THEN), [None, Some(true), Some(false), None, None]);
        assert_eq!(from(NOW), [None, Some(false), Some(false), None, None]);
        let last_resort = all().map(|table| table.remembered_start(NOW).is_some());
        assert_eq!(last_resort, [false, true, true, true, false]);
    }
}
