//! A whole table of family `inet`.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Chain, Name, Set, VerdictMap};

/// A table: its sets, maps and chains by name. The maps are persistent: a copy
/// costs nothing, and comparing two costs their difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The table's name; its family is `inet`.
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

    /// An empty table.
    pub fn new(table: Name) -> Self {
        Self { table, sets: OrdMap::new(), maps: OrdMap::new(), chains: OrdMap::new() }
    }

    /// The number of rules in the longest chain, which bounds how long a packet is
    /// on its way.
    pub fn longest_chain(&self) -> usize {
        self.chains.values().map(|chain| chain.rules.len()).max().unwrap_or_default()
    }
}
