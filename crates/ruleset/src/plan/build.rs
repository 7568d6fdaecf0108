//! Writes the batches, phase by phase.

use std::net::IpAddr;

use super::delta::{Delta, ElementChange, Switch};
use super::sides::SetOrder;
use super::steps::{Move, Steps};
use crate::{Batch, Chain, Element, Family, Name, Op, Rule, Set, SetType, VerdictMap};

/// The weight at which a batch ends, if no packet meets its objects or they may
/// come one by one. One element weighs 1. A commit blocks its CPU for its whole
/// duration, which is 5 to 10 ms at this weight.
const MAX_WEIGHT: usize = 20_000;
/// Weight of a rule.
const RULE_WEIGHT: usize = 4;

/// [`Op::AddElements`] or [`Op::DeleteElements`].
type ElementOp = fn(Name, SetType, Vec<Element>) -> Op;

/// Collects batches.
pub(super) struct Builder<'d, 'a> {
    delta: &'d Delta<'a>,
    done: Vec<Batch>,
    open: Batch,
    weight: usize,
}

impl<'d, 'a> Builder<'d, 'a> {
    /// For this difference.
    pub fn new(delta: &'d Delta<'a>) -> Self {
        Self { delta, done: Vec::new(), open: Batch::default(), weight: 0 }
    }

    /// All batches.
    pub fn finish(mut self) -> Vec<Batch> {
        self.commit();
        self.done
    }

    pub fn create_table(&mut self) {
        self.open.ops.push(Op::CreateTable);
    }

    /// Objects that no packet meets yet. New base chains come last.
    pub fn prepare(&mut self) {
        let delta = self.delta;
        for (name, set) in &delta.new_sets {
            self.create_set(name, set);
        }
        for (name, change) in &delta.hidden_sets {
            self.delete_elements(name, change);
            self.add_elements(name, change);
        }
        for (name, map) in &delta.new_maps {
            let VerdictMap { family, comment, .. } = map;
            self.push(Op::CreateMap((*name).clone(), *family, comment.clone()), 1);
        }
        let plain = || delta.new_chains.iter().filter(|(_, chain)| chain.base.is_none());
        for (name, chain) in plain() {
            self.push(Op::CreateChain((*name).clone(), None, chain.comment.clone()), RULE_WEIGHT);
        }
        for (name, chain) in plain() {
            self.rules(name, &chain.rules);
        }
        for &name in &delta.hidden_refills {
            self.refill_hidden(name);
        }
        for (name, map) in &delta.new_maps {
            let entries = map.entries.iter().map(|(address, to)| (*address, to.clone())).collect();
            self.entries(name, map.family, entries);
        }
        for switch in &delta.hidden_switches {
            self.switch_hidden(switch);
        }
        self.commit();
        for (name, chain) in &delta.new_chains {
            if let Chain { base: Some(base), comment, rules } = chain {
                self.push(Op::CreateChain((*name).clone(), Some(*base), comment.clone()), 1);
                self.rules(name, rules);
            }
        }
        self.commit();
    }

    /// Objects that packets meet, in the order of the phases in `plan`.
    pub fn visible(&mut self, steps: &Steps<'a>) {
        let delta = self.delta;
        for name in steps.stand_ins.keys() {
            self.push(Op::CreateChain(name.clone(), None, None), RULE_WEIGHT);
        }
        for (name, rules) in &steps.stand_ins {
            self.rules(name, rules);
        }
        for (name, change) in &delta.pairs {
            self.add_elements(name, change);
        }
        self.commit();
        self.take(steps);
        let order = SetOrder::of(delta);
        self.remove(&order.remove_first);
        if steps.conflict {
            self.remove(&order.remove);
        } else {
            self.add(&order.add);
        }
        for name in &delta.refills {
            self.refill(name);
        }
        self.commit();
        if steps.conflict {
            self.add(&order.add);
        } else {
            self.remove(&order.remove);
        }
        self.add(&order.add_last);
        self.give(steps);
        self.moves(&steps.settle);
        self.commit();
        for (map, family, address) in &steps.release {
            self.open.ops.push(Op::DeleteEntries((*map).clone(), *family, vec![*address]));
        }
        self.commit();
    }

    /// Objects that nothing refers to any more.
    pub fn clean_up(&mut self, steps: &Steps<'a>) {
        let delta = self.delta;
        let gone = delta.gone_chains.iter().copied();
        let gone: Vec<&Name> = gone.chain(steps.stand_ins.keys()).collect();
        self.open.ops.extend(gone.iter().map(|&name| Op::FlushChain(name.clone())));
        for (name, change) in &delta.pairs {
            self.delete_elements(name, change);
        }
        // Maps first: their entries refer to chains.
        let maps = delta.gone_maps.iter();
        self.open.ops.extend(maps.map(|&name| Op::DeleteMap(name.clone())));
        self.open.ops.extend(gone.iter().map(|&name| Op::DeleteChain(name.clone())));
        let sets = delta.gone_sets.iter();
        self.open.ops.extend(sets.map(|&name| Op::DeleteSet(name.clone())));
        self.commit();
    }

    fn take(&mut self, steps: &Steps<'a>) {
        self.moves(&steps.take);
        // With the entries, in one batch: the set is read first.
        for (name, change) in &self.delta.gates {
            self.open.ops.extend(elements(name, change, &change.added, Op::AddElements));
        }
        self.commit();
    }

    fn give(&mut self, steps: &Steps<'a>) {
        for (name, change) in &self.delta.gates {
            self.open.ops.extend(elements(name, change, &change.removed, Op::DeleteElements));
        }
        self.moves(&steps.give);
        self.commit();
    }

    fn add(&mut self, sets: &[&Name]) {
        let delta = self.delta;
        for (name, change) in sets.iter().filter_map(|name| delta.allowing.get_key_value(name)) {
            self.add_elements(name, change);
        }
        self.commit();
    }

    fn remove(&mut self, sets: &[&Name]) {
        let delta = self.delta;
        for (name, change) in sets.iter().filter_map(|name| delta.allowing.get_key_value(name)) {
            self.delete_elements(name, change);
        }
        self.commit();
    }

    fn create_set(&mut self, name: &Name, set: &Set) {
        self.push(Op::CreateSet(name.clone(), set.set_type, set.comment.clone()), 1);
        let elements: Vec<Element> = set.elements.iter().copied().collect();
        for some in elements.chunks(MAX_WEIGHT) {
            self.push(Op::AddElements(name.clone(), set.set_type, some.to_vec()), some.len());
        }
    }

    fn add_elements(&mut self, name: &Name, change: &ElementChange<'_>) {
        self.push_elements(name, change, &change.added, Op::AddElements);
    }

    fn delete_elements(&mut self, name: &Name, change: &ElementChange<'_>) {
        self.push_elements(name, change, &change.removed, Op::DeleteElements);
    }

    fn push_elements(
        &mut self,
        name: &Name,
        change: &ElementChange<'_>,
        list: &[&Element],
        op: ElementOp,
    ) {
        for some in list.chunks(MAX_WEIGHT) {
            if let Some(op) = elements(name, change, some, op) {
                self.push(op, some.len());
            }
        }
    }

    fn entries(&mut self, map: &Name, family: Family, entries: Vec<(IpAddr, Name)>) {
        if !entries.is_empty() {
            let weight = entries.len();
            self.push(Op::AddEntries(map.clone(), family, entries), weight);
        }
    }

    fn switch_hidden(&mut self, switch: &Switch<'a>) {
        let Switch { map, family, address, from, to } = *switch;
        if from.is_some() {
            self.push(Op::DeleteEntries(map.clone(), family, vec![address]), 1);
        }
        if let Some(to) = to {
            self.entries(map, family, vec![(address, to.clone())]);
        }
    }

    /// The moves of one phase, in one batch.
    fn moves(&mut self, moves: &[Move<'a>]) {
        for Move { map, family, address, exists, to } in moves {
            if *exists {
                self.open.ops.push(Op::DeleteEntries((*map).clone(), *family, vec![*address]));
            }
            let entry = vec![(*address, to.clone())];
            self.open.ops.push(Op::AddEntries((*map).clone(), *family, entry));
        }
    }

    fn rules(&mut self, chain: &Name, rules: &[Rule]) {
        self.make_room(rules.len() * RULE_WEIGHT);
        for rule in rules {
            self.open.ops.push(Op::AddRule(chain.clone(), rule.clone()));
        }
        self.weight += rules.len() * RULE_WEIGHT;
    }

    /// The rules of a chain that no packet meets. A batch may end before it.
    fn refill_hidden(&mut self, chain: &Name) {
        self.make_room(self.new_rules(chain).len() * RULE_WEIGHT);
        self.refill(chain);
    }

    /// Refills visible chains in one batch of any size: a packet reads all rules
    /// from one generation.
    fn refill(&mut self, chain: &Name) {
        let rules = self.new_rules(chain);
        self.open.ops.push(Op::FlushChain(chain.clone()));
        let ops = rules.iter().map(|rule| Op::AddRule(chain.clone(), rule.clone()));
        self.open.ops.extend(ops);
        self.weight += rules.len() * RULE_WEIGHT;
    }

    fn new_rules(&self, chain: &Name) -> &'a [Rule] {
        self.delta.new.chains.get(chain).map_or(&[], |chain| &chain.rules)
    }

    fn push(&mut self, op: Op, weight: usize) {
        self.make_room(weight);
        self.open.ops.push(op);
        self.weight += weight;
    }

    fn make_room(&mut self, weight: usize) {
        if self.weight + weight > MAX_WEIGHT {
            self.commit();
        }
    }

    fn commit(&mut self) {
        self.weight = 0;
        if !self.open.ops.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
        }
    }
}

fn elements(
    name: &Name,
    change: &ElementChange<'_>,
    elements: &[&Element],
    op: ElementOp,
) -> Option<Op> {
    let list = || elements.iter().map(|&&element| element).collect();
    (!elements.is_empty()).then(|| op(name.clone(), change.set_type, list()))
}
