//! A whole table.

use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Chain, Name, Set, VerdictMap};

/// The family of a table (nft(8), "Address families"). It decides which packets the
/// base chains see, and how a rule tests for a packet's family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableFamily {
    /// IPv4 and IPv6 packets.
    Inet,
    /// Frames on a bridge.
    Bridge,
}

/// What tells a table from all others of a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId {
    /// Its family.
    pub family: TableFamily,
    /// Its name. Tables of two families can share a name.
    pub name: Name,
}

impl TableId {
    /// A table of family `inet`.
    pub const fn inet(name: Name) -> Self {
        Self { family: TableFamily::Inet, name }
    }

    /// A table of family `bridge`.
    pub const fn bridge(name: Name) -> Self {
        Self { family: TableFamily::Bridge, name }
    }
}

/// A table: its sets, maps and chains by name. The maps are persistent: a copy
/// costs nothing, and comparing two costs their difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The table's family.
    pub family: TableFamily,
    /// The table's name.
    pub table: Name,
    /// Named sets. Sets and maps share one space of names in the kernel.
    pub sets: OrdMap<Name, Set>,
    /// Verdict maps.
    pub maps: OrdMap<Name, VerdictMap>,
    /// Chains.
    pub chains: OrdMap<Name, Arc<Chain>>,
}

impl Ruleset {
    /// The sets that a later state of the table lacks, or that lost elements there.
    /// The cost is that of the difference, where the two share the rest.
    pub fn losing<'a>(&'a self, later: &'a Self) -> impl Iterator<Item = &'a Name> {
        self.sets.diff(&later.sets).filter_map(|item| match item {
            DiffItem::Add(..) => None,
            DiffItem::Remove(name, _) => Some(name),
            DiffItem::Update { old: (name, old), new: (_, new) } => {
                old.lost(new).next().map(|_| name)
            }
        })
    }

    /// An empty table of family `inet`.
    pub fn new(table: Name) -> Self {
        Self::of(TableId { family: TableFamily::Inet, name: table })
    }

    /// An empty table of family `bridge`.
    pub fn bridge(table: Name) -> Self {
        Self::of(TableId { family: TableFamily::Bridge, name: table })
    }

    /// An empty table.
    pub fn of(TableId { family, name: table }: TableId) -> Self {
        Self { family, table, sets: OrdMap::new(), maps: OrdMap::new(), chains: OrdMap::new() }
    }

    /// The table's family and name.
    pub fn id(&self) -> TableId {
        TableId { family: self.family, name: self.table.clone() }
    }

    /// The number of rules in the longest chain, which bounds how long a packet is
    /// on its way.
    pub fn longest_chain(&self) -> usize {
        self.chains.values().map(|chain| chain.rules.len()).max().unwrap_or_default()
    }
}

/// nft's word.
impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        })
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}
