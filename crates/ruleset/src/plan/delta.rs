//! What differs between two tables, object by object.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use imbl::ordmap::DiffItem;
use imbl::ordset;

use super::PlanError;
use super::references::References;
use super::role::{Before, Role};
use super::shut::Shut;
use crate::{Chain, Element, Family, Field, Name, Rule, Ruleset, Set, SetType, VerdictMap};

/// The differences. "Visible" is what a packet can meet in the old table.
#[derive(Debug)]
pub(super) struct Delta<'a> {
    pub old: &'a Ruleset,
    pub new: &'a Ruleset,
    /// How many rules the larger of the two has.
    pub rules: usize,
    /// Sets that do not exist yet.
    pub new_sets: Vec<(&'a Name, &'a Set)>,
    /// Maps that do not exist yet.
    pub new_maps: Vec<(&'a Name, &'a VerdictMap)>,
    /// Chains that do not exist yet and that are only jumped to.
    pub new_chains: Vec<(&'a Name, &'a Chain)>,
    /// Base chains that do not exist yet.
    pub new_bases: Vec<(&'a Name, &'a Chain)>,
    /// Sets to delete.
    pub gone_sets: Vec<(&'a Name, &'a Set)>,
    /// Maps to delete.
    pub gone_maps: Vec<&'a Name>,
    /// Chains to delete that are only jumped to.
    pub gone_chains: Vec<&'a Name>,
    /// Base chains to delete.
    pub gone_bases: Vec<&'a Name>,
    /// Visible chains whose rules differ.
    pub refills: BTreeSet<&'a Name>,
    /// Chains that exist, differ, and that no packet reaches.
    pub hidden_refills: BTreeSet<&'a Name>,
    /// Elements of visible sets that allow.
    pub allowing: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Which sides look into the sets of `allowing`, in either table.
    pub sides: BTreeMap<&'a Name, BTreeSet<Field>>,
    /// Elements of visible sets that allow an address to reach itself or one other.
    /// They are added first and removed last.
    pub pairs: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets that isolate.
    pub gates: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets that let pass what guards and bans would stop.
    pub permits: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Such elements that also lead to a chain where permits are asked.
    pub bindings: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets that send to where only what is bound passes.
    pub guards: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets that stop what nothing before them lets pass.
    pub bans: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Elements of visible sets without which an address is dropped.
    pub known: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Addresses that `known` shuts, and whose gates so change at another time.
    pub shut: Shut<'a>,
    /// Elements of sets that no packet meets.
    pub hidden_sets: BTreeMap<&'a Name, ElementChange<'a>>,
    /// Entries of visible maps.
    pub switches: Vec<Switch<'a>>,
    /// Maps that no packet meets: their entries change at once.
    pub hidden_switches: Vec<Switch<'a>>,
    /// If there are `switches`: by which field packets are looked up in each map.
    fields: BTreeMap<&'a Name, BTreeSet<Field>>,
    /// If there are `switches`: the chains that ask a set of `allowing`.
    pub askers: BTreeSet<Name>,
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
    /// The old chain.
    pub from: Option<&'a Name>,
    /// The new chain.
    pub to: Option<&'a Name>,
}

impl<'a> Delta<'a> {
    /// Compares two tables of one name, and moves the references to the new one.
    pub fn between(
        old: &'a Ruleset,
        new: &'a Ruleset,
        references: &mut References,
    ) -> Result<Self, PlanError> {
        if old.id() != new.id() {
            return Err(PlanError::OtherTable(old.id(), new.id()));
        }
        let mut delta = Self::nothing(old, new);
        references.follow(old);
        delta.rules = references.rules();
        delta.compare_chains(references)?;
        let changed = delta.compare_sets()?;
        delta.compare_maps(references)?;
        let mut before: Vec<Before> = changed
            .iter()
            .map(|(name, change)| Before::of(name, change.set_type, references))
            .collect();
        references.follow(new);
        delta.rules = delta.rules.max(references.rules());
        for ((name, change), before) in changed.into_iter().zip(&mut before) {
            let mut role = Role::of(change.set_type, before.uses.or(references.uses(name)));
            if role == Role::Allowing {
                before.sides.extend(references.sides(name));
                role = Role::of_allowing(change.set_type, &before.sides);
            }
            if role == Role::Known {
                delta.shut.extend(&change, &before.shut_by & &references.shut_by(name));
            }
            delta.sort(name, change, before, role);
        }
        let gates = delta.gates.keys().copied();
        delta.shut.ask(gates.chain(new.maps.keys()), references);
        if !delta.switches.is_empty() {
            delta.fields = new.maps.keys().map(|map| (map, references.fields(map))).collect();
            let askers = delta.allowing.keys().flat_map(|set| references.users(set));
            delta.askers = askers.cloned().collect();
        }
        Ok(delta)
    }

    /// The field by which packets are looked up in a map. `None` if there is not one
    /// alone.
    pub fn field(&self, map: &Name) -> Option<Field> {
        let fields = self.fields.get(map)?;
        fields.first().copied().filter(|_| fields.len() == 1)
    }

    /// The rules that a chain shall have.
    pub fn new_rules(&self, chain: &Name) -> &'a [Rule] {
        self.new.chains.get(chain).map_or(&[], |chain| &chain.rules)
    }

    fn sort(&mut self, name: &'a Name, change: ElementChange<'a>, before: &mut Before, role: Role) {
        let group = match role {
            _ if !before.is_visible => &mut self.hidden_sets,
            Role::Pair => &mut self.pairs,
            Role::Gate => &mut self.gates,
            Role::Permit => &mut self.permits,
            Role::Binding => &mut self.bindings,
            Role::Guard => &mut self.guards,
            Role::Ban => &mut self.bans,
            Role::Known => &mut self.known,
            Role::Allowing => {
                self.sides.insert(name, std::mem::take(&mut before.sides));
                &mut self.allowing
            }
        };
        group.insert(name, change);
    }

    fn nothing(old: &'a Ruleset, new: &'a Ruleset) -> Self {
        Self {
            old,
            new,
            rules: 0,
            new_sets: Vec::new(),
            new_maps: Vec::new(),
            new_chains: Vec::new(),
            new_bases: Vec::new(),
            gone_sets: Vec::new(),
            gone_maps: Vec::new(),
            gone_chains: Vec::new(),
            gone_bases: Vec::new(),
            refills: BTreeSet::new(),
            hidden_refills: BTreeSet::new(),
            allowing: BTreeMap::new(),
            sides: BTreeMap::new(),
            pairs: BTreeMap::new(),
            gates: BTreeMap::new(),
            permits: BTreeMap::new(),
            bindings: BTreeMap::new(),
            guards: BTreeMap::new(),
            bans: BTreeMap::new(),
            known: BTreeMap::new(),
            shut: Shut::default(),
            hidden_sets: BTreeMap::new(),
            switches: Vec::new(),
            hidden_switches: Vec::new(),
            fields: BTreeMap::new(),
            askers: BTreeSet::new(),
        }
    }

    fn compare_chains(&mut self, references: &References) -> Result<(), PlanError> {
        for change in self.old.chains.diff(&self.new.chains) {
            match change {
                DiffItem::Add(name, chain) => match chain.base {
                    Some(_) => self.new_bases.push((name, chain)),
                    None => self.new_chains.push((name, chain)),
                },
                DiffItem::Remove(name, chain) => match chain.base {
                    Some(_) => self.gone_bases.push(name),
                    None => self.gone_chains.push(name),
                },
                DiffItem::Update { old: (_, before), new: (name, after) } => {
                    if before.base != after.base {
                        return Err(PlanError::TypeChanged(name.clone()));
                    }
                    if before.rules == after.rules {
                        continue;
                    }
                    let visible = references.chain_is_visible(name);
                    if visible { &mut self.refills } else { &mut self.hidden_refills }.insert(name);
                }
            }
        }
        Ok(())
    }

    /// New and deleted sets, and how the others change.
    fn compare_sets(&mut self) -> Result<Vec<(&'a Name, ElementChange<'a>)>, PlanError> {
        let mut changes = Vec::new();
        for change in self.old.sets.diff(&self.new.sets) {
            match change {
                DiffItem::Add(name, _) if self.old.maps.contains_key(name) => {
                    return Err(PlanError::TypeChanged(name.clone()));
                }
                DiffItem::Add(name, set) => {
                    self.new.can_store(name, set)?;
                    self.new_sets.push((name, set));
                }
                DiffItem::Remove(name, set) => {
                    self.new.can_lose(set)?;
                    self.gone_sets.push((name, set));
                }
                DiffItem::Update { old: (_, before), new: (name, after) } => {
                    if before.set_type != after.set_type {
                        return Err(PlanError::TypeChanged(name.clone()));
                    }
                    let change = ElementChange::between(before, after);
                    if !change.added.is_empty() || !change.removed.is_empty() {
                        changes.push((name, change));
                    }
                }
            }
        }
        Ok(changes)
    }

    fn compare_maps(&mut self, references: &References) -> Result<(), PlanError> {
        for change in self.old.maps.diff(&self.new.maps) {
            match change {
                DiffItem::Add(name, _) if self.old.sets.contains_key(name) => {
                    return Err(PlanError::TypeChanged(name.clone()));
                }
                DiffItem::Add(name, map) => self.new_maps.push((name, map)),
                DiffItem::Remove(name, _) => self.gone_maps.push(name),
                DiffItem::Update { old: (_, before), new: (name, after) } => {
                    if before.family != after.family {
                        return Err(PlanError::TypeChanged(name.clone()));
                    }
                    let switches = switches(name, before, after);
                    if references.is_visible(name) {
                        self.switches.extend(switches);
                    } else {
                        self.hidden_switches.extend(switches);
                    }
                }
            }
        }
        Ok(())
    }
}

impl<'a> ElementChange<'a> {
    fn between(before: &'a Set, after: &'a Set) -> Self {
        let mut change = Self { set_type: after.set_type, added: Vec::new(), removed: Vec::new() };
        for item in before.elements.diff(&after.elements) {
            match item {
                ordset::DiffItem::Add(element) => change.added.push(element),
                ordset::DiffItem::Remove(element) => change.removed.push(element),
            }
        }
        change
    }
}

fn switches<'a>(
    map: &'a Name,
    before: &'a VerdictMap,
    after: &'a VerdictMap,
) -> impl Iterator<Item = Switch<'a>> {
    before.entries.diff(&after.entries).map(move |item| {
        let (address, from, to) = match item {
            DiffItem::Add(address, to) => (address, None, Some(to)),
            DiffItem::Remove(address, from) => (address, Some(from), None),
            DiffItem::Update { old: (address, from), new: (_, to) } => {
                (address, Some(from), Some(to))
            }
        };
        Switch { map, family: after.family, address: *address, from, to }
    })
}
