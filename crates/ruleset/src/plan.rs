//! The batches that turn one ruleset into another, unnoticed by packets.
//!
//! In: the kernel's table and the table that it shall become.
//! Out: batches in order. Each is committed before the next is sent. Stopping
//! between two batches leaves each address under its old or its new rules.
//! Callers decide nothing about the order.
//!
//! A packet reads all rules from one generation, but each set or map look-up
//! reads the elements of that moment. So a batch is not one instant for a packet.
//! The order of the batches keeps the promise: within a direction a packet is
//! judged by the old state or by the new one, and a packet that both deny is
//! dropped throughout.
//!
//! ```text
//! isolate   in a large plan: addresses become isolated; before them what they need
//! prepare   new sets with their elements, new chains, stand-ins for chains that
//!           change; nothing reaches them yet. Pairs of addresses that shall pass
//! take      entries switch to chains that allow less, or in one step; addresses become
//!           isolated. If there is nothing else to prepare, pairs come in the same
//!           commit: a packet asks for them only after it has found a gate
//! forget    elements without which an address is dropped go, with its gates
//! bind      elements that let an interface pass; new base chains; elements that
//!           stop what no such element lets pass
//! add       elements into sets that allow          (allowed by an old or a new rule)
//! refill    chains whose rules change, all in one batch
//! remove    elements from sets that allow
//! unbind    the reverse of bind
//! admit     an address that was dropped because nobody knew it becomes isolated
//! know      elements without which an address is dropped come
//! give      entries switch to chains that allow more, or in one step; addresses cease
//!           to be isolated
//! settle    entries switch from stand-ins to the chains themselves
//! release   entries of addresses that ceased to be isolated
//! clean up  chains, maps and sets that nothing refers to any more, pairs. Of stored
//!           sets the elements
//! ```
//!
//! # Pieces
//!
//! A commit blocks user threads of its CPU as long as it takes. So a phase is cut into
//! pieces of a budget while it is sent ([`Pieces`]), except what packets must meet
//! together:
//!
//! | phase | what stays together |
//! |---|---|
//! | prepare, pairs, clean up | nothing. No packet meets the objects; pairs pass anyway |
//! | take, admit, give, settle, release | an entry that leaves one chain and goes to another; an address's entries with its gates |
//! | forget | an address with its gates |
//! | bind, unbind | a base chain with its rules. Permits come before what asks for them, and each piece keeps that order |
//! | add, remove | nothing: within one phase all elements allow more, or all allow less |
//! | refill | everything. The rules of several chains change the two directions of one packet |
//!
//! So a large table that nobody reaches yet, and elements of any number, make commits of
//! the budget. A commit that adds rules or entries makes the kernel validate the table,
//! whose cost no order can lower: such a piece is as large as the budget or as twice
//! that cost, so that their number stays linear. Rules that change at many pods at once
//! are the one commit without a bound.
//!
//! What costs more than a piece and is prepared for later phases does not delay an
//! address that becomes isolated (`urgent`). Its chains, and what they need, come
//! first. A large table that is new is first made as if nobody were isolated
//! (`first`), so that the addresses become isolated one after another, and not all
//! of them at the end.
//!
//! A sender can end between two pieces. The table is then one that the plan passes
//! through, and the next plan starts from it: it prepares the rest, and cleans up what
//! is not needed any more. So what is urgent goes between the pieces of what is not.
//!
//! `steps` decides how an entry switches, and `alone` when an address that changes alone
//! can do so in one step. `sides` decides which elements are added before others are
//! removed, and which after. `role` decides from a set's type and uses in which phases
//! its elements come and go. `shut` decides which addresses become isolated in `admit`
//! and cease to be in `forget`.
//!
//! A table has several base chains only if each drops and depends on nothing that
//! changes together with an element that another one reads. Then it is enough that
//! each of them is exact by itself, and that what takes in one of them comes before
//! what gives in another.
//!
//! Within a direction this is exact as long as a packet cannot combine two
//! changed things. That holds for the change of one policy or one pod. If several
//! changed at once and a packet could combine them (see `conflict`), the order
//! fails closed: `remove` comes before `refill`, and `add` after it. Then a new
//! flow may be refused for a moment, but no packet passes that the old and the new
//! state deny.
//!
//! Across the two directions, permissions are removed before others are added. A
//! packet that one direction denies before the change and the other after it is
//! dropped throughout. One kind of change has no such order: elements of peers
//! that come and go in both directions at once, as when a namespace is relabelled.
//!
//! Two tables are planned one by one, each exact by itself. Which goes first matters
//! only to packets that one of them denies before the change and the other after it.
//! `inet` goes first: then a new address of an isolated pod is judged by its policies
//! before its port lets it be heard. The `bridge` table goes first if it only loses
//! addresses, so that they are judged until they are no longer heard, or if it only gains
//! ports, from which everything could be heard before. Multicast and broadcast are left to the guards of
//! ports that are in force: `inet` goes once more when they all are. An address that moves between a bridge and an
//! interface outside it has no such order.
//!
//! All this holds for packets that meet at most one commit on their way. A packet
//! takes tens of nanoseconds for a rule, a commit tens of microseconds. Where long
//! chains make packets slower, the sender of the batches waits between them
//! ([`crate::Ruleset::longest_chain`]). A packet can also be held up between two
//! look-ups, for example when the host stops a virtual CPU. Then one direction may
//! judge it before the change and the other after it. The kernel does not wait for
//! packets when it commits. To exclude this case too, wait for a grace period
//! (membarrier(2), about 15 ms) between the phases that take and those that give.

mod alone;
mod batches;
mod build;
mod conflict;
mod cost;
mod delta;
mod first;
mod hidden;
mod pieces;
mod references;
mod role;
mod shut;
mod sides;
mod steps;
mod urgent;

pub use cost::Budget;
pub use pieces::{Piece, Pieces};

use crate::{Batch, Name, NameError, Op, Ruleset, StoreError, TableId};
use batches::Batches;
use cost::Costs;
use delta::Delta;
use references::References;

/// Why one table cannot be turned into another in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The two have different names or families.
    #[error("cannot turn table {0} into table {1}: they are two tables")]
    OtherTable(TableId, TableId),
    /// An object keeps its type for life; the table was made by another
    /// version or changed by hand. A second table must replace it.
    #[error("{0} exists with another type")]
    TypeChanged(Name),
    /// A set of the new table cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The name of a copy does not fit.
    #[error("cannot name a copy of a chain")]
    Name(#[from] NameError),
}

/// Plans one change after the other. It remembers the references in the last
/// table, so the cost of a plan is that of the change.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    references: Option<References>,
}

impl Planner {
    /// The same batches as [`plan`], whatever was planned before.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn plan(&mut self, old: Option<&Ruleset>, new: &Ruleset) -> Result<Vec<Batch>, PlanError> {
        let budget = Budget::default();
        Ok(self.pieces(old, new, budget)?.batches(budget))
    }

    /// The way from one table to the other, to be cut into pieces. What costs more
    /// than `budget` does not delay what is urgent.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn pieces(
        &mut self,
        old: Option<&Ruleset>,
        new: &Ruleset,
        budget: Budget,
    ) -> Result<Pieces, PlanError> {
        let nothing = Ruleset::of(new.id());
        let old_or_nothing = old.unwrap_or(&nothing);
        let references = self.references.get_or_insert_with(|| References::none(new.id()));
        let mut batches = Batches::default();
        if old.is_none() {
            batches.push(Op::CreateTable);
        }
        references.follow(old_or_nothing);
        let was_hooked = references.is_hooked();
        let first = first_stage(old_or_nothing, new, references, budget);
        let (mut start, mut is_hooked) = (old_or_nothing, was_hooked);
        for target in first.iter().chain([new]) {
            let delta = Delta::between(start, target, references)?;
            let costs = Costs::between(start, target, delta.rules, is_hooked);
            let steps = steps::Steps::of(&delta)?;
            let mut builder = build::Builder::new(&delta, &steps);
            builder.prepare_and_take(&costs, budget);
            builder.change();
            builder.clean_up();
            batches.append(builder.finish());
            (start, is_hooked) = (target, references.is_hooked());
        }
        let costs = Costs::between(old_or_nothing, new, references.rules(), was_hooked);
        Ok(batches.finish(costs))
    }
}

/// Where a large table begins that no packet reaches yet. `references`: those of the
/// old table.
fn first_stage(
    old: &Ruleset,
    new: &Ruleset,
    references: &mut References,
    budget: Budget,
) -> Option<Ruleset> {
    if references.is_hooked() || old.id() != new.id() {
        return None;
    }
    references.follow(new);
    let costs = Costs::between(old, new, references.rules(), false);
    let is_large = first::cost(new, &costs) > budget.nanoseconds();
    is_large.then(|| first::stage(new, references)).flatten()
}

/// The batches that turn `old` into `new`; none if they are equal. `None` is
/// a kernel without the table.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(old: Option<&Ruleset>, new: &Ruleset) -> Result<Vec<Batch>, PlanError> {
    Planner::default().plan(old, new)
}

/// As [`plan`], with batches of this size.
///
/// # Errors
/// See [`PlanError`].
pub fn plan_within(
    old: Option<&Ruleset>,
    new: &Ruleset,
    budget: Budget,
) -> Result<Vec<Batch>, PlanError> {
    Ok(Planner::default().pieces(old, new, budget)?.batches(budget))
}

#[cfg(test)]
mod tests;
