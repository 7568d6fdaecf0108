//! Writes the batches, phase by phase.

use std::collections::BTreeMap;

use super::batches::Batches;
use super::cost::{Budget, Costs};
use super::delta::{Delta, ElementChange};
use super::hidden::Hidden;
use super::sides::SetOrder;
use super::steps::{Move, Steps};
use super::urgent::{Group, Isolations, groups};
use crate::{Element, Name, Op};

/// How many times as much as its validations the work of a group costs: they come once
/// with the rules that it needs, and once with the entries.
const GROUP: u64 = 8;

/// Collects batches.
pub(super) struct Builder<'d, 'a> {
    delta: &'d Delta<'a>,
    steps: &'d Steps<'a>,
    who: Isolations,
    batches: Batches,
}

impl<'d, 'a> Builder<'d, 'a> {
    /// For this difference.
    pub fn new(delta: &'d Delta<'a>, steps: &'d Steps<'a>) -> Self {
        Self { delta, steps, who: Isolations::of(delta, steps), batches: Batches::default() }
    }

    /// All batches.
    pub fn finish(self) -> Batches {
        self.batches
    }

    /// Objects that no packet meets yet, and addresses that become isolated. What
    /// costs more than a piece does not delay them, unless they need it.
    pub fn prepare_and_take(&mut self, costs: &Costs, budget: Budget) {
        let mut hidden = Hidden::of(self.delta, self.steps);
        let mut addresses = std::mem::take(&mut self.who.addresses);
        for (name, change) in &self.delta.pairs {
            self.batches.add_elements(name, change);
        }
        if !addresses.is_empty() && hidden.whole_cost(costs) > budget.nanoseconds() {
            let all = std::mem::take(&mut addresses);
            let size = budget.nanoseconds().max(GROUP * costs.validation());
            for Group { needs, isolations } in groups(self.delta, all, &mut hidden, costs, size) {
                needs.write(&mut self.batches);
                self.batches.commit();
                // The next group's needs can come in the same commit.
                isolations.into_iter().for_each(|one| self.batches.isolate(one));
            }
        }
        let only_isolates = hidden.is_empty() && self.steps.take.iter().all(|step| !step.exists);
        hidden.write(&mut self.batches);
        if !only_isolates {
            self.batches.commit();
        }
        self.moves(self.steps.take.iter().filter(|step| step.exists));
        addresses.into_iter().for_each(|one| self.batches.isolate(one));
        for (set, set_type, element) in std::mem::take(&mut self.who.others.gates) {
            self.batches.push(Op::AddElements(set, set_type, vec![element]));
        }
        self.batches.commit();
    }

    /// Other objects that packets meet, in the order of the phases in `plan`.
    pub fn change(&mut self) {
        let (delta, steps) = (self.delta, self.steps);
        self.forget();
        self.bind();
        let order = SetOrder::of(delta);
        self.remove(&order.remove_first);
        if steps.conflict {
            self.remove(&order.remove);
        } else {
            self.add(&order.add);
        }
        self.refill();
        if steps.conflict {
            self.add(&order.add);
        } else {
            self.remove(&order.remove);
        }
        self.unbind();
        self.add(&order.add_last);
        let shut = std::mem::take(&mut self.who.shut);
        shut.into_iter().for_each(|one| self.batches.isolate(one));
        self.batches.commit();
        self.each_added(&delta.known);
        self.give();
        self.moves(&steps.settle);
        self.batches.commit();
        for (map, family, address) in &steps.release {
            self.batches.push(Op::DeleteEntries((*map).clone(), *family, vec![*address]));
        }
        self.batches.commit();
    }

    /// Objects that nothing refers to any more.
    pub fn clean_up(&mut self) {
        let delta = self.delta;
        let gone = delta.gone_chains.iter().copied();
        let gone: Vec<&Name> = gone.chain(self.steps.stand_ins.keys()).collect();
        for &name in &gone {
            self.batches.push(Op::FlushChain(name.clone()));
        }
        for (name, change) in &delta.pairs {
            self.batches.delete_elements(name, change);
        }
        // Maps first: their entries refer to chains.
        for &name in &delta.gone_maps {
            self.batches.push(Op::DeleteMap(name.clone()));
        }
        for name in gone {
            self.batches.push(Op::DeleteChain(name.clone()));
        }
        // Stored sets first: their elements are in a set that may go, too.
        let (stored, own): (Vec<_>, Vec<_>) =
            delta.gone_sets.iter().partition(|(name, _)| name.stored().is_some());
        for (name, set) in stored {
            self.batches.delete_stored(name, set);
        }
        for (name, _) in own {
            self.batches.push(Op::DeleteSet((*name).clone()));
        }
        self.batches.commit();
    }

    /// What lets packets pass comes first, then what stops others. A new base chain
    /// finds the first and may look for the second.
    ///
    /// Of what stops, the sets of interfaces come first. They lead a port's packets to
    /// rules of their own, before other rules ask whose MAC or address a packet has.
    /// A packet of a new port that misses the first must not meet the second.
    fn bind(&mut self) {
        let delta = self.delta;
        self.each_added(delta.permits.iter().chain(&delta.bindings));
        for (name, chain) in &delta.new_bases {
            self.batches.hook(name, chain);
        }
        self.batches.commit();
        self.each_added(&delta.guards);
        self.each_added(&delta.bans);
    }

    /// The reverse of [`Self::bind`].
    fn unbind(&mut self) {
        let delta = self.delta;
        self.each_removed(&delta.bans);
        self.each_removed(&delta.guards);
        let bases = || delta.gone_bases.iter().map(|&name| name.clone());
        self.batches
            .together(bases().map(Op::FlushChain).chain(bases().map(Op::DeleteChain)).collect());
        self.batches.commit();
        self.each_removed(&delta.bindings);
        self.each_removed(&delta.permits);
    }

    /// Refills visible chains in one batch of any size: a packet reads all rules
    /// from one generation.
    fn refill(&mut self) {
        let mut ops = Vec::new();
        for &name in &self.delta.refills {
            ops.push(Op::FlushChain(name.clone()));
            let rules = self.delta.new_rules(name).iter();
            ops.extend(rules.map(|rule| Op::AddRule(name.clone(), rule.clone())));
        }
        self.batches.together(ops);
        self.batches.commit();
    }

    fn give(&mut self) {
        for (name, change) in &self.delta.gates {
            let gone = self.delta.shut.gone(name, change, false).copied().collect();
            self.batches.elements(Op::DeleteElements, name, change.set_type, gone);
        }
        self.moves(&self.steps.give);
        self.batches.commit();
    }

    /// An address that is shut from then on goes with its gates.
    fn forget(&mut self) {
        let delta = self.delta;
        let mut with_gates: BTreeMap<&Element, Vec<Op>> = BTreeMap::new();
        for (name, change) in &delta.gates {
            for element in delta.shut.gone(name, change, true) {
                let op = Op::DeleteElements((*name).clone(), change.set_type, vec![*element]);
                with_gates.entry(element).or_default().push(op);
            }
        }
        for (name, change) in &delta.known {
            let mut others = Vec::new();
            for &element in &change.removed {
                match with_gates.get_mut(element) {
                    Some(ops) => {
                        let elements = vec![*element];
                        ops.push(Op::DeleteElements((*name).clone(), change.set_type, elements));
                    }
                    None => others.push(*element),
                }
            }
            self.batches.elements(Op::DeleteElements, name, change.set_type, others);
        }
        with_gates.into_values().for_each(|ops| self.batches.together(ops));
        self.batches.commit();
    }

    fn add(&mut self, sets: &[&'a Name]) {
        let allowing = &self.delta.allowing;
        self.each_added(sets.iter().filter_map(|name| allowing.get_key_value(name)));
    }

    fn remove(&mut self, sets: &[&'a Name]) {
        let allowing = &self.delta.allowing;
        self.each_removed(sets.iter().filter_map(|name| allowing.get_key_value(name)));
    }

    fn each_added<'c>(
        &mut self,
        changes: impl IntoIterator<Item = (&'c &'a Name, &'c ElementChange<'a>)>,
    ) where
        'a: 'c,
    {
        for (name, change) in changes {
            self.batches.add_elements(name, change);
        }
        self.batches.commit();
    }

    fn each_removed<'c>(
        &mut self,
        changes: impl IntoIterator<Item = (&'c &'a Name, &'c ElementChange<'a>)>,
    ) where
        'a: 'c,
    {
        for (name, change) in changes {
            self.batches.delete_elements(name, change);
        }
        self.batches.commit();
    }

    /// Moves of one phase, in any order. An entry goes from one chain to another in
    /// one commit.
    fn moves<'m>(&mut self, moves: impl IntoIterator<Item = &'m Move<'a>>)
    where
        'a: 'm,
    {
        for Move { map, family, address, exists, to } in moves {
            let gone = exists.then(|| Op::DeleteEntries((*map).clone(), *family, vec![*address]));
            let come = Op::AddEntries((*map).clone(), *family, vec![(*address, to.clone())]);
            self.batches.together(gone.into_iter().chain([come]).collect());
        }
    }
}
