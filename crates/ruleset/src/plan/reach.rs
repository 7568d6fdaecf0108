//! What packets can reach in a table, and what its chains look up.

use std::collections::BTreeSet;

use crate::{Finish, Name, Rule, Ruleset};

/// Chains, and sets and maps by name, that a packet can meet.
#[derive(Debug, Default)]
pub(super) struct Reach<'a> {
    pub chains: BTreeSet<&'a Name>,
    pub sets_and_maps: BTreeSet<&'a Name>,
}

impl<'a> Reach<'a> {
    /// From the base chains of a table.
    pub fn of(ruleset: &'a Ruleset) -> Self {
        let mut reach = Self::default();
        let bases = ruleset.chains.iter().filter(|(_, chain)| chain.base.is_some());
        let mut to_visit: Vec<&Name> = bases.map(|(name, _)| name).collect();
        while let Some(name) = to_visit.pop() {
            if !reach.chains.insert(name) {
                continue;
            }
            for rule in ruleset.chains.get(name).into_iter().flat_map(|chain| &chain.rules) {
                reach.sets_and_maps.extend(rule.lookups());
                to_visit.extend(rule.target());
                if let Some(Finish::Dispatch(_, _, map)) = &rule.finish {
                    let entries = ruleset.maps.get(map).into_iter();
                    to_visit.extend(entries.flat_map(|map| map.entries.values()));
                }
            }
        }
        reach
    }
}

/// Sets whose elements send a packet to another chain: to be in one of them
/// takes something away, where to be in any other set allows something.
pub(super) fn gates(ruleset: &Ruleset) -> BTreeSet<&Name> {
    let rules = ruleset.chains.values().flat_map(|chain| &chain.rules);
    rules.filter(|rule| rule.target().is_some()).flat_map(Rule::lookups).collect()
}
