//! Operations, gathered in order.
//!
//! In: operations, and where a batch must end. Out: units, to be cut into pieces.
//! Never: an order of its own.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::cost::Costs;
use super::delta::ElementChange;
use super::pieces::{ElementOp, Isolation, Pieces, Unit};
use crate::{Chain, Element, Family, Name, Op, Rule, Set, SetType};

/// Units in order.
#[derive(Debug, Default)]
pub(super) struct Batches {
    units: VecDeque<Unit>,
}

impl Batches {
    /// All of it, to be cut.
    pub fn finish(mut self, costs: Costs) -> Pieces {
        self.commit();
        Pieces::new(self.units, costs)
    }

    /// Adds what others gathered.
    pub fn append(&mut self, mut other: Self) {
        self.units.append(&mut other.units);
    }

    /// What comes next is in another batch.
    pub fn commit(&mut self) {
        if !matches!(self.units.back(), None | Some(Unit::End)) {
            self.units.push_back(Unit::End);
        }
    }

    /// One operation.
    pub fn push(&mut self, op: Op) {
        self.together(vec![op]);
    }

    /// Operations in one batch, however large it is.
    pub fn together(&mut self, ops: Vec<Op>) {
        if !ops.is_empty() {
            self.units.push_back(Unit::Together(ops));
        }
    }

    /// A base chain with all its rules.
    pub fn hook(&mut self, name: &Name, chain: &Chain) {
        let Chain { base, comment, rules } = chain;
        let mut ops = vec![Op::CreateChain(name.clone(), *base, comment.clone())];
        ops.extend(rules.iter().map(|rule| Op::AddRule(name.clone(), rule.clone())));
        self.units.push_back(Unit::Hook(ops));
    }

    pub fn isolate(&mut self, isolation: Isolation) {
        self.units.push_back(Unit::Isolate(isolation));
    }

    pub fn create_set(&mut self, name: &Name, set: &Set) {
        self.push(Op::CreateSet(name.clone(), set.set_type, set.comment.clone()));
        let elements: Vec<Element> = set.elements.iter().copied().collect();
        self.elements(Op::AddElements, name, set.set_type, elements);
    }

    /// Deletes a stored set: the kernel knows only its elements.
    pub fn delete_stored(&mut self, name: &Name, set: &Set) {
        let elements = set.elements.iter().copied().collect();
        self.elements(Op::DeleteElements, name, set.set_type, elements);
        self.push(Op::DeleteSet(name.clone()));
    }

    pub fn add_elements(&mut self, name: &Name, change: &ElementChange<'_>) {
        let elements = change.added.iter().copied().copied().collect();
        self.elements(Op::AddElements, name, change.set_type, elements);
    }

    pub fn delete_elements(&mut self, name: &Name, change: &ElementChange<'_>) {
        let elements = change.removed.iter().copied().copied().collect();
        self.elements(Op::DeleteElements, name, change.set_type, elements);
    }

    pub fn elements(&mut self, op: ElementOp, name: &Name, set_type: SetType, list: Vec<Element>) {
        if !list.is_empty() {
            self.units.push_back(Unit::Elements(op, name.clone(), set_type, list.into_iter()));
        }
    }

    pub fn entries(&mut self, map: &Name, family: Family, entries: Vec<(IpAddr, Name)>) {
        if !entries.is_empty() {
            self.units.push_back(Unit::Entries(map.clone(), family, entries.into_iter()));
        }
    }

    /// Rules of a chain that no packet meets.
    pub fn rules(&mut self, chain: &Name, rules: &[Rule]) {
        for rule in rules {
            self.push(Op::AddRule(chain.clone(), rule.clone()));
        }
    }
}
