//! What comes first in a large plan: addresses that become isolated.
//!
//! In: the moves, the gates, and the work on hidden objects. Out: groups of addresses,
//! each with the work that their chains need and no more. Never: a small plan cut in
//! two.
//!
//! An address that is not isolated may be reached by everybody. So nothing waits in
//! front of it that its own chains do not need. Those that need the least come first.
//! A chain must be there one commit before the entry that leads to it, and each such
//! commit validates the table. So a group is as large as a piece, not smaller.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::cost::Costs;
use super::delta::Delta;
use super::hidden::{Hidden, Object};
use super::pieces::Isolation;
use super::steps::Steps;
use crate::{Element, Name};

/// Addresses that become isolated together.
#[derive(Debug, Default)]
pub(super) struct Group<'p> {
    /// What must be there one commit earlier.
    pub needs: Hidden<'p>,
    pub isolations: Vec<Isolation>,
}

/// Who becomes isolated: the addresses with a new entry, and gates without one.
#[derive(Debug, Default)]
pub(super) struct Isolations {
    pub addresses: Vec<Isolation>,
    /// Those that are shut until they are known (`shut`).
    pub shut: Vec<Isolation>,
    /// Gates of other elements. The entries that they lead to are there or move
    /// before.
    pub others: Isolation,
}

impl Isolations {
    /// Joins each address's entries and gates.
    pub fn of(delta: &Delta<'_>, steps: &Steps<'_>) -> Self {
        let mut found: BTreeMap<(bool, IpAddr), Isolation> = BTreeMap::new();
        for step in steps.take.iter().filter(|step| !step.exists) {
            let entry = (step.map.clone(), step.family, step.address, step.to.clone());
            let is_shut = delta.shut.is_until_known(step.map, step.address);
            let key = (is_shut, step.address);
            found.entry(key).or_default().entries.push(entry);
        }
        let mut others = Isolation::default();
        for (name, change) in &delta.gates {
            for &&element in &change.added {
                let of = match element {
                    Element::Address(address) if delta.shut.is_until_known(name, address) => {
                        Some(found.entry((true, address)).or_default())
                    }
                    Element::Address(address) => found.get_mut(&(false, address)),
                    Element::Range(_)
                    | Element::AddressPort(..)
                    | Element::AddressPair(..)
                    | Element::ProtocolPort(..)
                    | Element::Icmpv6Type(_)
                    | Element::Key(_) => None,
                };
                let gate = ((*name).clone(), change.set_type, element);
                of.unwrap_or(&mut others).gates.push(gate);
            }
        }
        let (shut, open): (BTreeMap<_, _>, _) =
            found.into_iter().partition(|((is_shut, _), _)| *is_shut);
        let [shut, addresses] = [shut, open].map(|some| some.into_values().collect());
        Self { addresses, shut, others }
    }
}

/// The groups in order. `size`: what the work of a group costs, or more.
pub(super) fn groups<'p>(
    delta: &'p Delta<'_>,
    isolations: Vec<Isolation>,
    hidden: &mut Hidden<'p>,
    costs: &Costs,
    size: u64,
) -> Vec<Group<'p>> {
    let mut groups = Vec::new();
    let mut group = Group::default();
    let mut weight = 0;
    let mut done: BTreeSet<Name> = BTreeSet::new();
    for (alone, isolation) in cheapest_first(delta, isolations, hidden, costs) {
        // Those before it do not wait for one that is worth a commit of its own.
        if alone >= size && !group.isolations.is_empty() {
            groups.push(std::mem::take(&mut group));
            weight = 0;
        }
        for (_, _, _, chain) in &isolation.entries {
            if !done.insert(chain.clone()) {
                continue;
            }
            for object in closure(delta, hidden, chain) {
                weight += hidden.cost(object, costs);
                hidden.hand_over(object, &mut group.needs);
            }
        }
        group.isolations.push(isolation);
        if weight >= size {
            groups.push(std::mem::take(&mut group));
            weight = 0;
        }
    }
    if !group.isolations.is_empty() {
        groups.push(group);
    }
    groups
}

/// Each with what it costs alone.
fn cheapest_first(
    delta: &Delta<'_>,
    isolations: Vec<Isolation>,
    hidden: &Hidden<'_>,
    costs: &Costs,
) -> Vec<(u64, Isolation)> {
    let mut known: HashMap<Name, u64> = HashMap::new();
    let mut cost = |chain: &Name| -> u64 {
        *known.entry(chain.clone()).or_insert_with(|| {
            let objects = closure(delta, hidden, chain).into_iter();
            objects.map(|object| hidden.cost(object, costs)).sum()
        })
    };
    let mut sorted: Vec<(u64, Isolation)> = isolations
        .into_iter()
        .map(|one| (one.entries.iter().map(|(_, _, _, chain)| cost(chain)).sum(), one))
        .collect();
    sorted.sort_by_key(|(cost, _)| *cost);
    sorted
}

/// What a chain needs, itself included, of that on which there is work left.
fn closure<'p>(delta: &'p Delta<'_>, hidden: &Hidden<'p>, chain: &Name) -> BTreeSet<Object<'p>> {
    let mut seen = BTreeSet::new();
    let start = hidden.name(chain).or_else(|| delta.new.chains.get_key_value(chain).map(|it| it.0));
    let mut to_visit: Vec<Object<'p>> = start.map(Object::Chain).into_iter().collect();
    while let Some(object) = to_visit.pop() {
        if !seen.insert(object) {
            continue;
        }
        match object {
            Object::Chain(name) => {
                for rule in hidden.rules(name).unwrap_or_else(|| delta.new_rules(name)) {
                    to_visit.extend(rule.lookups().map(Object::Set));
                    to_visit.extend(rule.target().map(Object::Chain));
                }
            }
            Object::Set(name) if hidden.is_pending(object) => {
                let store = name.stored().map(|(store, _)| Name::of_store(store));
                to_visit.extend(store.and_then(|name| hidden.new_set(&name)).map(Object::Set));
                let entries =
                    delta.new.maps.get(name).into_iter().flat_map(|map| map.entries.values());
                to_visit.extend(entries.map(Object::Chain));
            }
            Object::Set(_) => {}
        }
    }
    seen.retain(|object| hidden.is_pending(*object));
    seen
}
