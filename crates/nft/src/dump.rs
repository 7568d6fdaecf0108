//! What a table holds in the kernel.

use ruleset::Ruleset;

use crate::generation::Generation;

/// A table as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// All that our words can say. A rule that they cannot is a stand-in
    /// without matches and verdict, with a comment that begins with
    /// `unreadable: `, so that a difference sees that it is not ours.
    pub ruleset: Ruleset,
    /// Objects of the table that our words cannot say.
    pub foreign: Vec<ForeignObject>,
    /// The generation in which all of this was in force together.
    pub generation: Generation,
}

/// An object in our table that is not of our making.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignObject {
    /// What it is.
    pub kind: ForeignKind,
    /// Its name; not always one that [`ruleset::Name`] takes.
    pub name: String,
    /// Why our words cannot say it.
    pub why: String,
}

/// Kinds of foreign objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignKind {
    /// The table itself: it has flags, such as `dormant`, which switches off
    /// all of it. [`ruleset::Op::CreateTable`] takes that one away.
    Table,
    /// A set or map.
    Set,
    /// A chain; its rules are not listed.
    Chain,
    /// A stateful object: counter, quota, limit and so on.
    Object,
    /// A flow table.
    Flowtable,
}
