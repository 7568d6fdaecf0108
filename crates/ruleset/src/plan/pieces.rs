//! A plan, cut into pieces while it is sent.
//!
//! In: units in order, and where a batch must end. Out: one batch after the other,
//! each within a budget. Never: an order of its own; a unit in two batches.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use std::vec;

use super::cost::{Budget, Costs, validates};
use crate::{Batch, Element, Family, Name, Op, SetType};

/// [`Op::AddElements`] or [`Op::DeleteElements`].
pub(super) type ElementOp = fn(Name, SetType, Vec<Element>) -> Op;

/// What is committed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The operations.
    pub batch: Batch,
    /// How long the commit takes, by the estimate.
    pub estimate: Duration,
}

/// What of a plan was not sent yet.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    units: VecDeque<Unit>,
    costs: Costs,
}

/// What a batch can end before and after.
#[derive(Clone, Debug)]
pub(super) enum Unit {
    /// Operations of one commit.
    Together(Vec<Op>),
    /// The same. From then on packets reach the table.
    Hook(Vec<Op>),
    /// Elements that come or go one by one.
    Elements(ElementOp, Name, SetType, vec::IntoIter<Element>),
    /// Entries that come one by one.
    Entries(Name, Family, vec::IntoIter<(IpAddr, Name)>),
    /// An address that becomes isolated.
    Isolate(Isolation),
    /// A batch ends here.
    End,
}

/// An address that becomes isolated: its entries and its gates come in one commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Isolation {
    /// Map, family, address and chain.
    pub entries: Vec<(Name, Family, IpAddr, Name)>,
    /// Sets, and what is added to them.
    pub gates: Vec<(Name, SetType, Element)>,
}

impl Pieces {
    pub(super) const fn new(units: VecDeque<Unit>, costs: Costs) -> Self {
        Self { units, costs }
    }

    /// This operation comes first, in a batch of its own.
    pub fn begin_with(&mut self, op: Op) {
        self.units.push_front(Unit::End);
        self.units.push_front(Unit::Together(vec![op]));
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// The next piece: as much as the budget allows, and at least one operation.
    /// Operations that packets must meet together come together, whatever they cost.
    /// Where the kernel has to validate the table, at least half of the time is spent
    /// on something else.
    pub fn next(&mut self, budget: Budget) -> Option<Piece> {
        let mut open = Open::new(budget);
        while let Some(unit) = self.units.pop_front() {
            if matches!(unit, Unit::End) {
                break;
            }
            if let Some(rest) = open.take(unit, &mut self.costs) {
                self.units.push_front(rest);
                break;
            }
        }
        while matches!(self.units.front(), Some(Unit::End)) {
            self.units.pop_front();
        }
        open.finish()
    }

    /// All that is left.
    #[must_use]
    pub fn batches(mut self, budget: Budget) -> Vec<Batch> {
        std::iter::from_fn(|| self.next(budget)).map(|piece| piece.batch).collect()
    }
}

/// A piece that can take more.
struct Open {
    budget: Budget,
    ops: Vec<Op>,
    /// They become operations when something else follows.
    isolations: Vec<Isolation>,
    spent: u64,
    /// What the kernel spends on validation; 0 if it need not.
    validation: u64,
}

impl Open {
    const fn new(budget: Budget) -> Self {
        Self { budget, ops: Vec::new(), isolations: Vec::new(), spent: 0, validation: 0 }
    }

    fn is_empty(&self) -> bool {
        self.ops.is_empty() && self.isolations.is_empty()
    }

    /// Takes a unit in. Returns what did not fit.
    fn take(&mut self, unit: Unit, costs: &mut Costs) -> Option<Unit> {
        match unit {
            Unit::Hook(ops) => {
                let mut hooked = *costs;
                hooked.is_hooked = true;
                match self.together(ops, &hooked) {
                    Some(ops) => return Some(Unit::Hook(ops)),
                    None => *costs = hooked,
                }
                None
            }
            Unit::Together(ops) => self.together(ops, costs).map(Unit::Together),
            Unit::Elements(op, name, set_type, mut rest) => {
                let count = self.count(rest.len(), false, costs);
                if count > 0 {
                    let some = rest.by_ref().take(count).collect();
                    self.push(op(name.clone(), set_type, some));
                }
                (rest.len() > 0).then_some(Unit::Elements(op, name, set_type, rest))
            }
            Unit::Entries(map, family, mut rest) => {
                let count = self.count(rest.len(), true, costs);
                if count > 0 {
                    let some = rest.by_ref().take(count).collect();
                    self.push(Op::AddEntries(map.clone(), family, some));
                }
                (rest.len() > 0).then_some(Unit::Entries(map, family, rest))
            }
            Unit::Isolate(isolation) => self.isolate(isolation, costs).map(Unit::Isolate),
            Unit::End => None,
        }
    }

    fn together(&mut self, ops: Vec<Op>, costs: &Costs) -> Option<Vec<Op>> {
        let cost = ops.iter().map(|op| costs.op(op)).sum();
        if !self.spend(cost, ops.iter().any(validates), costs) {
            return Some(ops);
        }
        ops.into_iter().for_each(|op| self.push(op));
        None
    }

    fn isolate(&mut self, isolation: Isolation, costs: &Costs) -> Option<Isolation> {
        let Isolation { entries, gates } = &isolation;
        let many = entries.len() + gates.len();
        let sets = if self.isolations.is_empty() { many } else { 0 };
        let cost = costs.elements(many) + sets as u64 * costs.elements(0);
        if !self.spend(cost, !entries.is_empty(), costs) {
            return Some(isolation);
        }
        self.isolations.push(isolation);
        None
    }

    /// How many of these elements fit, and pays for them.
    fn count(&mut self, all: usize, validate: bool, costs: &Costs) -> usize {
        let room = self.limit(validate, costs).saturating_sub(self.spent);
        let validation = if validate && self.validation == 0 { costs.validation() } else { 0 };
        let fit = match self.budget {
            Budget::SMALLEST => 0,
            _ => costs.elements_for(room.saturating_sub(validation)).min(all),
        };
        let count = if self.is_empty() { fit.max(1).min(all) } else { fit };
        let is_paid = count > 0 && self.spend(costs.elements(count), validate, costs);
        if is_paid { count } else { 0 }
    }

    /// Pays for something if it fits. The first always does.
    fn spend(&mut self, cost: u64, validate: bool, costs: &Costs) -> bool {
        let validation = if validate && self.validation == 0 { costs.validation() } else { 0 };
        let spent = self.spent + cost + validation;
        let fits = self.budget != Budget::SMALLEST && spent <= self.limit(validate, costs);
        let is_taken = self.is_empty() || fits;
        if is_taken {
            self.spent = spent;
            self.validation += validation;
        }
        is_taken
    }

    fn limit(&self, validate: bool, costs: &Costs) -> u64 {
        let validation = if validate { costs.validation() } else { self.validation };
        self.budget.nanoseconds().max(2 * validation)
    }

    fn push(&mut self, op: Op) {
        self.close_isolations();
        self.append(op);
    }

    fn append(&mut self, op: Op) {
        let rest = match self.ops.last_mut() {
            Some(last) => merge(last, op),
            None => Some(op),
        };
        self.ops.extend(rest);
    }

    /// All entries before all gates: a packet asks a gate first.
    fn close_isolations(&mut self) {
        let mut maps: BTreeMap<(Name, Family), Vec<(IpAddr, Name)>> = BTreeMap::new();
        let mut sets: BTreeMap<(Name, SetType), Vec<Element>> = BTreeMap::new();
        for Isolation { entries, gates } in std::mem::take(&mut self.isolations) {
            for (map, family, address, to) in entries {
                maps.entry((map, family)).or_default().push((address, to));
            }
            for (set, set_type, element) in gates {
                sets.entry((set, set_type)).or_default().push(element);
            }
        }
        for ((map, family), entries) in maps {
            self.append(Op::AddEntries(map, family, entries));
        }
        for ((set, set_type), elements) in sets {
            self.append(Op::AddElements(set, set_type, elements));
        }
    }

    fn finish(mut self) -> Option<Piece> {
        self.close_isolations();
        let (batch, estimate) = (Batch { ops: self.ops }, Duration::from_nanos(self.spent));
        (!batch.ops.is_empty()).then_some(Piece { batch, estimate })
    }
}

/// Makes one operation of two on the same object. Returns the second one if they stay
/// two.
fn merge(last: &mut Op, op: Op) -> Option<Op> {
    match (last, op) {
        (Op::AddElements(name, _, list), Op::AddElements(same, _, more)) if *name == same => {
            list.extend(more);
            None
        }
        (Op::DeleteElements(name, _, list), Op::DeleteElements(same, _, more)) if *name == same => {
            list.extend(more);
            None
        }
        (Op::AddEntries(name, _, list), Op::AddEntries(same, _, more)) if *name == same => {
            list.extend(more);
            None
        }
        (Op::DeleteEntries(name, _, list), Op::DeleteEntries(same, _, more)) if *name == same => {
            list.extend(more);
            None
        }
        (_, op) => Some(op),
    }
}
