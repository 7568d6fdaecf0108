//! Writes the batches, phase by phase.

use super::batches::{Batches, RULE_WEIGHT, elements};
use super::delta::{Delta, Switch};
use super::sides::SetOrder;
use super::steps::{Move, Steps};
use crate::{Batch, Chain, Name, Op, Rule, VerdictMap};

/// Collects batches.
pub(super) struct Builder<'d, 'a> {
    delta: &'d Delta<'a>,
    batches: Batches,
}

impl<'d, 'a> Builder<'d, 'a> {
    /// For this difference.
    pub fn new(delta: &'d Delta<'a>) -> Self {
        Self { delta, batches: Batches::default() }
    }

    /// All batches.
    pub fn finish(self) -> Vec<Batch> {
        self.batches.finish()
    }

    pub fn create_table(&mut self) {
        self.batches.together([Op::CreateTable]);
    }

    /// Objects that no packet meets yet.
    pub fn prepare(&mut self) {
        let delta = self.delta;
        for (name, set) in &delta.new_sets {
            self.batches.create_set(name, set);
        }
        for (name, change) in &delta.hidden_sets {
            self.batches.delete_elements(name, change);
            self.batches.add_elements(name, change);
        }
        for (name, map) in &delta.new_maps {
            let VerdictMap { family, comment, .. } = map;
            self.batches.push(Op::CreateMap((*name).clone(), *family, comment.clone()), 1);
        }
        for (name, chain) in &delta.new_chains {
            self.batches
                .push(Op::CreateChain((*name).clone(), None, chain.comment.clone()), RULE_WEIGHT);
        }
        for (name, chain) in &delta.new_chains {
            self.batches.rules(name, &chain.rules);
        }
        for &name in &delta.hidden_refills {
            self.refill_hidden(name);
        }
        for (name, map) in &delta.new_maps {
            let entries = map.entries.iter().map(|(address, to)| (*address, to.clone())).collect();
            self.batches.entries(name, map.family, entries);
        }
        for switch in &delta.hidden_switches {
            self.switch_hidden(switch);
        }
        self.batches.commit();
    }

    /// Objects that packets meet, in the order of the phases in `plan`.
    pub fn visible(&mut self, steps: &Steps<'a>) {
        let delta = self.delta;
        for name in steps.stand_ins.keys() {
            self.batches.push(Op::CreateChain(name.clone(), None, None), RULE_WEIGHT);
        }
        for (name, rules) in &steps.stand_ins {
            self.batches.rules(name, rules);
        }
        for (name, change) in &delta.pairs {
            self.batches.add_elements(name, change);
        }
        self.batches.commit();
        self.take(steps);
        self.bind();
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
        self.batches.commit();
        if steps.conflict {
            self.add(&order.add);
        } else {
            self.remove(&order.remove);
        }
        self.unbind();
        self.add(&order.add_last);
        self.give(steps);
        self.moves(&steps.settle);
        self.batches.commit();
        for (map, family, address) in &steps.release {
            self.batches.together([Op::DeleteEntries((*map).clone(), *family, vec![*address])]);
        }
        self.batches.commit();
    }

    /// Objects that nothing refers to any more.
    pub fn clean_up(&mut self, steps: &Steps<'a>) {
        let delta = self.delta;
        let gone = delta.gone_chains.iter().copied();
        let gone: Vec<&Name> = gone.chain(steps.stand_ins.keys()).collect();
        self.batches.together(gone.iter().map(|&name| Op::FlushChain(name.clone())));
        for (name, change) in &delta.pairs {
            self.batches.delete_elements(name, change);
        }
        // Maps first: their entries refer to chains.
        let maps = delta.gone_maps.iter();
        self.batches.together(maps.map(|&name| Op::DeleteMap(name.clone())));
        self.batches.together(gone.iter().map(|&name| Op::DeleteChain(name.clone())));
        // Stored sets first: their elements are in a set that may go, too.
        let (stored, own): (Vec<_>, Vec<_>) =
            delta.gone_sets.iter().partition(|(name, _)| name.stored().is_some());
        for (name, set) in stored {
            self.batches.delete_stored(name, set);
        }
        self.batches.together(own.into_iter().map(|(name, _)| Op::DeleteSet((*name).clone())));
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
        for (name, change) in delta.permits.iter().chain(&delta.bindings) {
            self.batches.add_elements(name, change);
        }
        self.batches.commit();
        for (name, Chain { base, comment, rules }) in &delta.new_bases {
            self.batches
                .push(Op::CreateChain((*name).clone(), *base, comment.clone()), RULE_WEIGHT);
            self.batches.rules(name, rules);
        }
        self.batches.commit();
        for sets in [&delta.guards, &delta.bans] {
            for (name, change) in sets {
                self.batches.add_elements(name, change);
            }
            self.batches.commit();
        }
    }

    /// The reverse of [`Self::bind`].
    fn unbind(&mut self) {
        let delta = self.delta;
        for sets in [&delta.bans, &delta.guards] {
            for (name, change) in sets {
                self.batches.delete_elements(name, change);
            }
            self.batches.commit();
        }
        let bases = || delta.gone_bases.iter().copied();
        self.batches.together(bases().map(|name| Op::FlushChain(name.clone())));
        self.batches.together(bases().map(|name| Op::DeleteChain(name.clone())));
        self.batches.commit();
        for sets in [&delta.bindings, &delta.permits] {
            for (name, change) in sets {
                self.batches.delete_elements(name, change);
            }
            self.batches.commit();
        }
    }

    fn take(&mut self, steps: &Steps<'a>) {
        self.moves(&steps.take);
        // With the entries, in one batch: the set is read first.
        for (name, change) in &self.delta.gates {
            self.batches.together(elements(name, change, &change.added, Op::AddElements));
        }
        self.batches.commit();
    }

    fn give(&mut self, steps: &Steps<'a>) {
        for (name, change) in &self.delta.gates {
            self.batches.together(elements(name, change, &change.removed, Op::DeleteElements));
        }
        self.moves(&steps.give);
        self.batches.commit();
    }

    fn add(&mut self, sets: &[&Name]) {
        let delta = self.delta;
        for (name, change) in sets.iter().filter_map(|name| delta.allowing.get_key_value(name)) {
            self.batches.add_elements(name, change);
        }
        self.batches.commit();
    }

    fn remove(&mut self, sets: &[&Name]) {
        let delta = self.delta;
        for (name, change) in sets.iter().filter_map(|name| delta.allowing.get_key_value(name)) {
            self.batches.delete_elements(name, change);
        }
        self.batches.commit();
    }

    fn switch_hidden(&mut self, switch: &Switch<'a>) {
        let Switch { map, family, address, from, to } = *switch;
        if from.is_some() {
            self.batches.push(Op::DeleteEntries(map.clone(), family, vec![address]), 1);
        }
        if let Some(to) = to {
            self.batches.entries(map, family, vec![(address, to.clone())]);
        }
    }

    /// The moves of one phase, in one batch.
    fn moves(&mut self, moves: &[Move<'a>]) {
        for Move { map, family, address, exists, to } in moves {
            if *exists {
                self.batches.together([Op::DeleteEntries((*map).clone(), *family, vec![*address])]);
            }
            let entry = vec![(*address, to.clone())];
            self.batches.together([Op::AddEntries((*map).clone(), *family, entry)]);
        }
    }

    /// The rules of a chain that no packet meets. A batch may end before it.
    fn refill_hidden(&mut self, chain: &Name) {
        self.batches.make_room(self.new_rules(chain).len() * RULE_WEIGHT);
        self.refill(chain);
    }

    /// Refills visible chains in one batch of any size: a packet reads all rules
    /// from one generation.
    fn refill(&mut self, chain: &Name) {
        let rules = self.new_rules(chain);
        self.batches.together([Op::FlushChain(chain.clone())]);
        let ops = rules.iter().map(|rule| Op::AddRule(chain.clone(), rule.clone()));
        self.batches.together(ops);
        self.batches.weigh(rules.len() * RULE_WEIGHT);
    }

    fn new_rules(&self, chain: &Name) -> &'a [Rule] {
        self.delta.new.chains.get(chain).map_or(&[], |chain| &chain.rules)
    }
}
