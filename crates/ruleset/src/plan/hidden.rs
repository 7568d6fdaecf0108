//! The objects that no packet meets yet: what is to be done about each.
//!
//! In: the difference and the stand-ins. Out: the operations on all of them, or on
//! those that some chains need. Never: an object twice.

use std::collections::BTreeMap;

use super::batches::Batches;
use super::cost::Costs;
use super::delta::{Delta, ElementChange, Switch};
use super::steps::Steps;
use crate::{Comment, Name, Op, Rule, Set, VerdictMap};

/// A chain, or a set or map. A chain can have the name of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object<'p> {
    Chain(&'p Name),
    /// Or a map.
    Set(&'p Name),
}

/// Work on objects that no packet meets.
#[derive(Debug, Default)]
pub(super) struct Hidden<'p> {
    new_sets: BTreeMap<&'p Name, &'p Set>,
    changed_sets: BTreeMap<&'p Name, &'p ElementChange<'p>>,
    new_maps: BTreeMap<&'p Name, &'p VerdictMap>,
    new_chains: BTreeMap<&'p Name, (Option<&'p Comment>, &'p [Rule])>,
    refills: BTreeMap<&'p Name, &'p [Rule]>,
    /// By map.
    switches: BTreeMap<&'p Name, Vec<&'p Switch<'p>>>,
}

impl<'p> Hidden<'p> {
    /// All there is to do.
    pub fn of(delta: &'p Delta<'_>, steps: &'p Steps<'_>) -> Self {
        let mut hidden = Self {
            new_sets: delta.new_sets.iter().copied().collect(),
            changed_sets: delta.hidden_sets.iter().map(|(name, change)| (*name, change)).collect(),
            new_maps: delta.new_maps.iter().copied().collect(),
            refills: delta
                .hidden_refills
                .iter()
                .map(|name| (*name, delta.new_rules(name)))
                .collect(),
            ..Self::default()
        };
        for (name, chain) in &delta.new_chains {
            hidden.new_chains.insert(name, (chain.comment.as_ref(), &chain.rules));
        }
        for (name, rules) in &steps.stand_ins {
            hidden.new_chains.insert(name, (None, rules));
        }
        for switch in &delta.hidden_switches {
            hidden.switches.entry(switch.map).or_default().push(switch);
        }
        hidden
    }

    /// Moves the work on this object to another list.
    pub fn hand_over(&mut self, object: Object<'p>, to: &mut Self) {
        match object {
            Object::Chain(name) => {
                to.new_chains.extend(self.new_chains.remove_entry(name));
                to.refills.extend(self.refills.remove_entry(name));
            }
            Object::Set(name) => {
                to.new_sets.extend(self.new_sets.remove_entry(name));
                to.changed_sets.extend(self.changed_sets.remove_entry(name));
                to.new_maps.extend(self.new_maps.remove_entry(name));
                to.switches.extend(self.switches.remove_entry(name));
            }
        }
    }

    /// Whether there is no work left.
    pub fn is_empty(&self) -> bool {
        let Self { new_sets, changed_sets, new_maps, new_chains, refills, switches } = self;
        new_sets.is_empty()
            && changed_sets.is_empty()
            && new_maps.is_empty()
            && new_chains.is_empty()
            && refills.is_empty()
            && switches.is_empty()
    }

    /// Whether there is work left on this object.
    pub fn is_pending(&self, object: Object<'p>) -> bool {
        match object {
            Object::Chain(name) => self.rules(name).is_some(),
            Object::Set(name) => {
                self.new_sets.contains_key(name)
                    || self.changed_sets.contains_key(name)
                    || self.new_maps.contains_key(name)
                    || self.switches.contains_key(name)
            }
        }
    }

    /// The name of a chain that there is work on.
    pub fn name(&self, chain: &Name) -> Option<&'p Name> {
        let new = self.new_chains.get_key_value(chain).map(|(name, _)| *name);
        new.or_else(|| self.refills.get_key_value(chain).map(|(name, _)| *name))
    }

    /// The name of a set that there is none of yet.
    pub fn new_set(&self, set: &Name) -> Option<&'p Name> {
        self.new_sets.get_key_value(set).map(|(name, _)| *name)
    }

    /// The rules that a chain is about to get.
    pub fn rules(&self, chain: &Name) -> Option<&'p [Rule]> {
        let new = self.new_chains.get(chain).map(|(_, rules)| *rules);
        new.or_else(|| self.refills.get(chain).copied())
    }

    /// The work on one object.
    pub fn cost(&self, object: Object<'p>, costs: &Costs) -> u64 {
        match object {
            Object::Chain(name) => self.rules(name).map_or(0, |rules| costs.rules(rules)),
            Object::Set(name) => {
                let new = self.new_sets.get(name).map_or(0, |set| costs.set(set));
                let changed = self
                    .changed_sets
                    .get(name)
                    .map_or(0, |change| costs.elements(change.added.len() + change.removed.len()));
                let map =
                    self.new_maps.get(name).map_or(0, |map| costs.elements(map.entries.len()));
                let switched = self.switches.get(name).map_or(0, |list| costs.elements(list.len()));
                new + changed + map + switched
            }
        }
    }

    /// All of the work.
    pub fn whole_cost(&self, costs: &Costs) -> u64 {
        let chains = self.new_chains.keys().chain(self.refills.keys());
        let sets = self.new_sets.keys().chain(self.changed_sets.keys());
        let sets = sets.chain(self.new_maps.keys()).chain(self.switches.keys());
        let objects =
            chains.map(|name| Object::Chain(name)).chain(sets.map(|name| Object::Set(name)));
        objects.map(|object| self.cost(object, costs)).sum()
    }

    /// Writes the operations. Chains come after what they look into.
    pub fn write(self, batches: &mut Batches) {
        for (name, set) in self.new_sets {
            batches.create_set(name, set);
        }
        for (name, change) in self.changed_sets {
            batches.delete_elements(name, change);
            batches.add_elements(name, change);
        }
        for (name, map) in &self.new_maps {
            let VerdictMap { family, comment, .. } = map;
            batches.push(Op::CreateMap((*name).clone(), *family, comment.clone()));
        }
        for (name, (comment, _)) in &self.new_chains {
            batches.push(Op::CreateChain((*name).clone(), None, comment.cloned()));
        }
        for (name, (_, rules)) in self.new_chains {
            batches.rules(name, rules);
        }
        for (name, rules) in self.refills {
            batches.push(Op::FlushChain(name.clone()));
            batches.rules(name, rules);
        }
        for (name, map) in self.new_maps {
            let entries = map.entries.iter().map(|(address, to)| (*address, to.clone())).collect();
            batches.entries(name, map.family, entries);
        }
        self.switches.into_values().flatten().for_each(|switch| switch_entry(switch, batches));
    }
}

fn switch_entry(switch: &Switch<'_>, batches: &mut Batches) {
    let Switch { map, family, address, from, to } = *switch;
    if from.is_some() {
        batches.push(Op::DeleteEntries(map.clone(), family, vec![address]));
    }
    if let Some(to) = to {
        batches.entries(map, family, vec![(address, to.clone())]);
    }
}
