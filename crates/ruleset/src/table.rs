//! A whole table of family `inet`.

use std::collections::BTreeMap;

use crate::{Chain, Name, Set, VerdictMap};

/// A table: its sets, maps and chains by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The table's name; its family is `inet`.
    pub table: Name,
    /// Named sets. Sets and maps share one space of names in the kernel.
    pub sets: BTreeMap<Name, Set>,
    /// Verdict maps.
    pub maps: BTreeMap<Name, VerdictMap>,
    /// Chains.
    pub chains: BTreeMap<Name, Chain>,
}

impl Ruleset {
    /// A table with nothing in it.
    pub fn new(table: Name) -> Self {
        Self { table, sets: BTreeMap::new(), maps: BTreeMap::new(), chains: BTreeMap::new() }
    }

    /// The number of rules of the longest chain: how long a packet can be
    /// under way.
    pub fn longest_chain(&self) -> usize {
        self.chains.values().map(|chain| chain.rules.len()).max().unwrap_or_default()
    }
}
