//! The first stage of a new table that is large: the table as if no pod were isolated.
//!
//! In: the new table. Out: the same without what only isolated addresses reach. With
//! it in force, an address can be isolated as soon as its own chains are there.
//! Never: a stage that drops what the table itself lets pass.
//!
//! A gate that finds nothing takes nothing away. So the stage has all gates, without
//! elements, and all maps behind them, without entries. A map that is asked without a
//! gate before it drops what it misses. A table with such a map has no first stage.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cost::Costs;
use super::references::References;
use super::role::Role;
use crate::{Chain, Finish, Name, Rule, Ruleset, Set, VerdictMap};

/// What it costs to make a table from nothing.
pub(super) fn cost(table: &Ruleset, costs: &Costs) -> u64 {
    let sets = table.sets.values().map(|set| costs.set(set));
    let maps = table.maps.values().map(|map| costs.elements(map.entries.len()));
    let chains = table.chains.values().map(|chain| costs.rules(&chain.rules));
    sets.chain(maps).chain(chains).sum()
}

/// The first stage, if it is another table. `references`: those of this table.
pub(super) fn stage(table: &Ruleset, references: &References) -> Option<Ruleset> {
    let is_gate = |set: &Name| {
        table
            .sets
            .get(set)
            .is_some_and(|found| Role::of(found.set_type, references.uses(set)) == Role::Gate)
    };
    let has_gate = |rule: &Rule| rule.lookups().any(is_gate);
    let ungated = reached(table, |rule| !has_gate(rule));
    let mut rules =
        ungated.iter().flat_map(|(_, chain)| &chain.rules).filter(|rule| !has_gate(rule));
    if rules.any(|rule| matches!(rule.finish, Some(Finish::Dispatch(..)))) {
        return None;
    }
    let mut stage = Ruleset::of(table.id());
    for (name, chain) in reached(table, |_| true) {
        for looked_up in chain.rules.iter().flat_map(Rule::lookups) {
            if let Some((name, set)) = table.sets.get_key_value(looked_up) {
                let set = match is_gate(name) {
                    true => Set::new(set.set_type, set.comment.clone()),
                    false => set.clone(),
                };
                stage.sets.insert(name.clone(), set);
            }
            if let Some((name, map)) = table.maps.get_key_value(looked_up) {
                let map = VerdictMap::new(map.family, map.comment.clone());
                stage.maps.insert(name.clone(), map);
            }
        }
        stage.chains.insert(name.clone(), Arc::clone(chain));
    }
    (stage != *table).then_some(stage)
}

/// The chains that packets reach by these rules, entries of maps left out.
fn reached(table: &Ruleset, follow: impl Fn(&Rule) -> bool) -> Vec<(&Name, &Arc<Chain>)> {
    let bases = table.chains.iter().filter(|(_, chain)| chain.base.is_some());
    let mut to_visit: Vec<&Name> = bases.map(|(name, _)| name).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    while let Some(name) = to_visit.pop() {
        let Some((name, chain)) = table.chains.get_key_value(name).filter(|_| seen.insert(name))
        else {
            continue;
        };
        found.push((name, chain));
        let rules = chain.rules.iter().filter(|rule| follow(rule));
        to_visit.extend(rules.filter_map(Rule::target));
    }
    found
}
