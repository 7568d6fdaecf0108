//! Operations, gathered into batches.
//!
//! In: operations in order, and where a batch must end. Out: batches.
//! Never: an order of its own.

use std::net::IpAddr;

use super::delta::ElementChange;
use crate::{Batch, Element, Family, Name, Op, Rule, Set, SetType};

/// The weight at which a batch ends, if no packet meets its objects or they may
/// come one by one. One element weighs 1. A commit blocks its CPU for its whole
/// duration, which is 5 to 10 ms at this weight.
const MAX_WEIGHT: usize = 20_000;
/// Weight of a rule.
pub(super) const RULE_WEIGHT: usize = 4;

/// [`Op::AddElements`] or [`Op::DeleteElements`].
type ElementOp = fn(Name, SetType, Vec<Element>) -> Op;

/// Batches that are done, and an open one.
#[derive(Default)]
pub(super) struct Batches {
    done: Vec<Batch>,
    open: Batch,
    weight: usize,
}

impl Batches {
    /// All batches.
    pub fn finish(mut self) -> Vec<Batch> {
        self.commit();
        self.done
    }

    /// Ends the open batch.
    pub fn commit(&mut self) {
        self.weight = 0;
        if !self.open.ops.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
        }
    }

    /// Adds weight for operations that were added with [`Self::together`].
    pub fn weigh(&mut self, weight: usize) {
        self.weight += weight;
    }

    /// Adds operations to the open batch, however large it is.
    pub fn together(&mut self, ops: impl IntoIterator<Item = Op>) {
        self.open.ops.extend(ops);
    }

    pub fn create_set(&mut self, name: &Name, set: &Set) {
        self.push(Op::CreateSet(name.clone(), set.set_type, set.comment.clone()), 1);
        let elements: Vec<Element> = set.elements.iter().copied().collect();
        for some in elements.chunks(MAX_WEIGHT) {
            self.push(Op::AddElements(name.clone(), set.set_type, some.to_vec()), some.len());
        }
    }

    /// Deletes a stored set: the kernel knows only its elements.
    pub fn delete_stored(&mut self, name: &Name, set: &Set) {
        let elements: Vec<Element> = set.elements.iter().copied().collect();
        for some in elements.chunks(MAX_WEIGHT) {
            self.push(Op::DeleteElements(name.clone(), set.set_type, some.to_vec()), some.len());
        }
        self.push(Op::DeleteSet(name.clone()), 1);
    }

    pub fn add_elements(&mut self, name: &Name, change: &ElementChange<'_>) {
        self.push_elements(name, change, &change.added, Op::AddElements);
    }

    pub fn delete_elements(&mut self, name: &Name, change: &ElementChange<'_>) {
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

    pub fn entries(&mut self, map: &Name, family: Family, entries: Vec<(IpAddr, Name)>) {
        if !entries.is_empty() {
            let weight = entries.len();
            self.push(Op::AddEntries(map.clone(), family, entries), weight);
        }
    }

    pub fn rules(&mut self, chain: &Name, rules: &[Rule]) {
        self.make_room(rules.len() * RULE_WEIGHT);
        for rule in rules {
            self.open.ops.push(Op::AddRule(chain.clone(), rule.clone()));
        }
        self.weight += rules.len() * RULE_WEIGHT;
    }

    pub fn push(&mut self, op: Op, weight: usize) {
        self.make_room(weight);
        self.open.ops.push(op);
        self.weight += weight;
    }

    pub fn make_room(&mut self, weight: usize) {
        if self.weight + weight > MAX_WEIGHT {
            self.commit();
        }
    }
}

/// The operation on these elements; none if there are no elements.
pub(super) fn elements(
    name: &Name,
    change: &ElementChange<'_>,
    elements: &[&Element],
    op: ElementOp,
) -> Option<Op> {
    let list = || elements.iter().map(|&&element| element).collect();
    (!elements.is_empty()).then(|| op(name.clone(), change.set_type, list()))
}
