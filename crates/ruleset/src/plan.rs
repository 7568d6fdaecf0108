//! From one ruleset to another without a packet noticing.
//!
//! In: the table as the kernel has it and the table as it shall be.
//! Out: batches in order. Each is committed whole before the next is sent;
//! whoever stops in between leaves a table that enforces the old rules, the
//! new ones, or for each address one of both.
//! Never: a decision of its callers about order.
//!
//! A packet reads all rules from one generation, but each set or map look-up
//! reads what is current at that moment. So one batch is not one instant, and
//! the order of batches carries the promise: within a direction a packet is
//! judged by the old state or by the new one, and one that both deny is
//! dropped throughout.
//!
//! ```text
//! prepare   new sets with their elements, new chains, stand-ins for chains that
//!           change; nothing reaches them yet. Pairs of addresses that shall pass
//! take      entries switch to chains that allow less; addresses become isolated
//! add       elements into sets that allow          (allowed by an old or a new rule)
//! refill    chains whose rules change, all in one batch
//! remove    elements from sets that allow
//! give      entries switch to chains that allow more; addresses cease to be isolated
//! settle    entries go from stand-ins to the chains themselves
//! release   entries of addresses that ceased to be isolated
//! clean up  chains, maps and sets that nothing refers to any more, pairs
//! ```
//!
//! `steps` says by which way an entry switches, `sides` which elements are
//! added before others are removed and which after.
//!
//! Within a direction this is exact while a packet cannot combine two changed
//! things, which holds for the change of one policy or of one pod. When
//! several changed at once so that a packet could (see `conflict`), the order
//! fails closed: `remove` comes before `refill` and `add` after it. Then a new
//! flow may be refused for a moment, but none passes that old and new deny.
//!
//! Across the two directions what is taken goes before what is given: a packet
//! that one direction denied before and the other denies after is dropped
//! throughout. One change that no order suits is left: elements of peers that
//! come and go in both directions at once, as when a namespace is relabelled.
//!
//! All this is said of packets that meet at most one commit on their way. A
//! packet takes tens of nanoseconds a rule and a commit tens of microseconds;
//! where chains are so long that packets are slower, whoever sends the batches
//! waits between them ([`crate::Ruleset::longest_chain`]). A packet that is
//! held up between two look-ups for longer, as when the host stops a virtual
//! CPU in its middle, can be judged by one direction before the change and by
//! the other after it. The kernel waits for no packet when it commits; who
//! wants to exclude this, too, waits for a grace period (membarrier(2), about
//! 15 ms) between what takes and what gives.

mod build;
mod conflict;
mod delta;
mod references;
mod sides;
mod steps;

use crate::{Batch, Name, NameError, Ruleset};
use delta::Delta;
use references::References;

/// Why one table cannot be turned into another in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The two do not have the same name.
    #[error("cannot turn table {0} into table {1}: they are two tables")]
    OtherTable(Name, Name),
    /// An object keeps its type for life; the table was made by another
    /// version or changed by hand. A second table must replace it.
    #[error("{0} exists with another type")]
    TypeChanged(Name),
    /// The name of a copy does not fit.
    #[error("cannot name a copy of a chain")]
    Name(#[from] NameError),
}

/// Plans one change after the other. It remembers who refers to what in the
/// table that it saw last, so that a plan costs as much as what changes.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    references: Option<References>,
}

impl Planner {
    /// See [`plan`]: the same, whatever was planned before.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn plan(&mut self, old: Option<&Ruleset>, new: &Ruleset) -> Result<Vec<Batch>, PlanError> {
        let nothing = Ruleset::new(new.table.clone());
        let references = self.references.get_or_insert_with(|| References::none(new.table.clone()));
        let delta = Delta::between(old.unwrap_or(&nothing), new, references)?;
        let mut batches = build::Builder::new(&delta);
        if old.is_none() {
            batches.create_table();
        }
        batches.prepare();
        let steps = steps::Steps::of(&delta)?;
        batches.visible(&steps);
        batches.clean_up(&steps);
        Ok(batches.finish())
    }
}

/// The batches that turn `old` into `new`; none if they are equal. `None` is
/// a kernel without the table.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(old: Option<&Ruleset>, new: &Ruleset) -> Result<Vec<Batch>, PlanError> {
    Planner::default().plan(old, new)
}

#[cfg(test)]
mod tests;
