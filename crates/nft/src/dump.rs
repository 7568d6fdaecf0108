//! What a table holds in the kernel.

use ruleset::Ruleset;

use crate::generation::Generation;

/// A table as read from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Everything that a [`Ruleset`] can express. A rule that it cannot express
    /// becomes a stand-in without matches and verdict. The stand-in's comment
    /// begins with `unreadable: `, so a difference finds it.
    pub ruleset: Ruleset,
    /// Objects of the table that a [`Ruleset`] cannot express.
    pub foreign: Vec<ForeignObject>,
    /// The generation in which all of this was in force at once.
    pub generation: Generation,
}

/// An object in our table that others made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignObject {
    /// What it is.
    pub kind: ForeignKind,
    /// Its name, which may be invalid as a [`ruleset::Name`].
    pub name: String,
    /// Why a [`Ruleset`] cannot express it.
    pub why: String,
}

/// Kinds of foreign objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForeignKind {
    /// The table itself, because it has flags. `dormant` switches off the whole
    /// table. [`ruleset::Op::CreateTable`] removes that flag.
    Table,
    /// The table itself, for a socket that owns its tables ([`crate::Kernel::own_tables`]):
    /// no process can own this one. Only a new table can be owned.
    Unownable,
    /// A set or map.
    Set,
    /// A chain. Its rules are not listed.
    Chain,
    /// A stateful object, such as a counter, quota or limit.
    Object,
    /// A flow table.
    Flowtable,
}
