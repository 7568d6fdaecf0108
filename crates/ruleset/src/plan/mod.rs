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
//! prepare   new sets with their elements, new chains; nothing reaches them yet
//! park      entries that leave a chain which changes go to a copy of it;
//!           pairs of addresses that shall pass are added
//! take      entries that switch to a chain allowing less; addresses become isolated
//! add       elements into sets that allow          (allowed by an old or a new rule)
//! refill    chains whose rules change, all in one batch
//! remove    elements from sets that allow
//! give      entries that switch to a chain allowing more; addresses cease to be isolated
//! unpark    entries go from copies to the chains themselves
//! release   entries of addresses that ceased to be isolated
//! clean up  chains, maps and sets that nothing refers to any more, pairs
//! ```
//!
//! This is exact while a packet cannot combine two changed things within one
//! direction, which holds for the change of one policy or of one pod. When
//! several changed at once so that a packet could ([`conflict`]), the order
//! fails closed: `remove` comes before `refill` and `add` after it. Then a new
//! flow may be refused for a moment, but none passes that old and new deny.
//!
//! A packet is taken to meet at most one commit on its way through the table:
//! the way takes less than a microsecond, a commit tens of them. One that is
//! held up for longer between two look-ups can miss, and a miss drops.
//!
//! What two directions do can still differ for that moment when one change
//! takes and gives in both of them.

mod build;
mod conflict;
mod cover;
mod delta;
mod reach;
mod steps;

use crate::{Batch, Name, NameError, Ruleset};
use delta::Delta;

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

/// The batches that turn `old` into `new`; none if they are equal. `None` is
/// a kernel without the table.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(old: Option<&Ruleset>, new: &Ruleset) -> Result<Vec<Batch>, PlanError> {
    let nothing = Ruleset::new(new.table.clone());
    let delta = Delta::between(old.unwrap_or(&nothing), new)?;
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

#[cfg(test)]
mod tests;
