//! What differs between two tables, object by object.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::PlanError;
use super::reach::{Reach, gates};
use crate::{Element, Family, Name, Ruleset, SetType};

/// The differences. "Visible" is what a packet can meet in the old table.
#[derive(Debug)]
pub(super) struct Delta<'a> {
    pub old: &'a Ruleset,
    pub new: &'a Ruleset,
    /// Visible chains whose rules differ.
    pub refills: BTreeSet<&'a Name>,
    /// Chains that exist, differ, and that no packet reaches.
    pub hidden_refills: BTreeSet<&'a Name>,
    /// Elements of visible sets that allow.
    pub allowing: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets that allow an address to reach itself or one
    /// other; they are added before anything is taken and removed last.
    pub pairs: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets that isolate.
    pub gates: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of sets that no packet meets.
    pub hidden_sets: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Entries of visible maps.
    pub switches: Vec<Switch<'a>>,
    /// Maps that no packet meets: their entries change at once.
    pub hidden_switches: Vec<Switch<'a>>,
}

/// How a set changes.
#[derive(Debug)]
pub(super) struct ElementChange<'a> {
    pub set_type: SetType,
    pub added: Vec<&'a Element>,
    pub removed: Vec<&'a Element>,
}

/// How an entry of a verdict map changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switch<'a> {
    pub map: &'a Name,
    pub family: Family,
    pub address: IpAddr,
    /// The chain until now.
    pub from: Option<&'a Name>,
    /// The chain from now on.
    pub to: Option<&'a Name>,
}

impl<'a> Delta<'a> {
    /// Compares two tables of one name.
    pub fn between(old: &'a Ruleset, new: &'a Ruleset) -> Result<Self, PlanError> {
        if old.table != new.table {
            return Err(PlanError::OtherTable(old.table.clone(), new.table.clone()));
        }
        check_types(old, new)?;
        let reach = Reach::of(old);
        let mut delta = Self {
            old,
            new,
            refills: BTreeSet::new(),
            hidden_refills: BTreeSet::new(),
            allowing: BTreeMap::new(),
            pairs: BTreeMap::new(),
            gates: BTreeMap::new(),
            hidden_sets: BTreeMap::new(),
            switches: Vec::new(),
            hidden_switches: Vec::new(),
        };
        delta.compare_chains(&reach);
        delta.compare_sets(&reach);
        delta.compare_maps(&reach);
        Ok(delta)
    }

    fn compare_chains(&mut self, reach: &Reach<'a>) {
        for (name, chain) in &self.new.chains {
            let Some(before) = self.old.chains.get(name) else { continue };
            if before.rules == chain.rules {
                continue;
            }
            let visible = reach.chains.contains(name);
            if visible { &mut self.refills } else { &mut self.hidden_refills }.insert(name);
        }
    }

    fn compare_sets(&mut self, reach: &Reach<'a>) {
        let mut gate_names = gates(self.new);
        gate_names.extend(gates(self.old));
        for (name, set) in &self.new.sets {
            let Some(before) = self.old.sets.get(name) else { continue };
            let change = ElementChange {
                set_type: set.set_type,
                added: set.elements.difference(&before.elements).collect(),
                removed: before.elements.difference(&set.elements).collect(),
            };
            if change.added.is_empty() && change.removed.is_empty() {
                continue;
            }
            let place = if !reach.sets_and_maps.contains(name) {
                &mut self.hidden_sets
            } else if gate_names.contains(name) {
                &mut self.gates
            } else if matches!(set.set_type, SetType::AddressPair(_)) {
                &mut self.pairs
            } else {
                &mut self.allowing
            };
            place.insert(name, change);
        }
    }

    fn compare_maps(&mut self, reach: &Reach<'a>) {
        for (name, map) in &self.new.maps {
            let Some(before) = self.old.maps.get(name) else { continue };
            let place = if reach.sets_and_maps.contains(name) {
                &mut self.switches
            } else {
                &mut self.hidden_switches
            };
            let addresses: BTreeSet<&IpAddr> =
                before.entries.keys().chain(map.entries.keys()).collect();
            place.extend(addresses.into_iter().filter_map(|address| {
                let (from, to) = (before.entries.get(address), map.entries.get(address));
                let family = map.family;
                (from != to).then_some(Switch { map: name, family, address: *address, from, to })
            }));
        }
    }
}

fn check_types(old: &Ruleset, new: &Ruleset) -> Result<(), PlanError> {
    let changed = |name: &Name| Err(PlanError::TypeChanged(name.clone()));
    for (name, set) in &new.sets {
        if old.sets.get(name).is_some_and(|before| before.set_type != set.set_type)
            || old.maps.contains_key(name)
        {
            return changed(name);
        }
    }
    for (name, map) in &new.maps {
        if old.maps.get(name).is_some_and(|before| before.family != map.family)
            || old.sets.contains_key(name)
        {
            return changed(name);
        }
    }
    for (name, chain) in &new.chains {
        if old.chains.get(name).is_some_and(|before| before.base != chain.base) {
            return changed(name);
        }
    }
    Ok(())
}
