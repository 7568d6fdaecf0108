//! The references between the objects of a table, and so what packets can reach.
//!
//! In: a table, and then each table that replaces it. Out: for a chain, set or
//! map, the objects that refer to it. The cost is that of the difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::shut::shut_by;
use crate::{
    AddressTest, Chain, Field, Finish, Match, Name, Rule, Ruleset, TableId, Verdict, VerdictMap,
};

/// What the rules that look into a set do with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    /// A rule sends it to another chain.
    pub leads: bool,
    /// A rule drops it.
    pub drops: bool,
    /// A rule lets it pass.
    pub allows: bool,
}

/// In how many chains a set has each use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    leads: usize,
    drops: usize,
    allows: usize,
}

/// The references of a table.
#[derive(Clone, Debug)]
pub(super) struct References {
    /// The table that they belong to.
    table: Ruleset,
    /// The chains whose rules look into a set or map.
    users: HashMap<Name, BTreeSet<Name>>,
    /// In how many chains rules use a set in each way.
    uses: HashMap<Name, Counts>,
    /// The chains that jump or go to a chain.
    callers: HashMap<Name, BTreeSet<Name>>,
    /// The maps with entries for a chain, and how many.
    entries: HashMap<Name, BTreeMap<Name, usize>>,
    /// How many rules there are.
    rules: usize,
    /// How many base chains there are.
    bases: usize,
}

impl Uses {
    /// In the old rules or in the new ones.
    pub const fn or(self, other: Self) -> Self {
        Self {
            leads: self.leads || other.leads,
            drops: self.drops || other.drops,
            allows: self.allows || other.allows,
        }
    }
}

impl Counts {
    fn add(&mut self, Uses { leads, drops, allows }: Uses) {
        self.leads += usize::from(leads);
        self.drops += usize::from(drops);
        self.allows += usize::from(allows);
    }

    fn remove(&mut self, Uses { leads, drops, allows }: Uses) {
        self.leads -= usize::from(leads);
        self.drops -= usize::from(drops);
        self.allows -= usize::from(allows);
    }
}

impl References {
    /// The references of an empty table.
    pub fn none(table: TableId) -> Self {
        Self {
            table: Ruleset::of(table),
            users: HashMap::new(),
            uses: HashMap::new(),
            callers: HashMap::new(),
            entries: HashMap::new(),
            rules: 0,
            bases: 0,
        }
    }

    /// Moves to another table.
    pub fn follow(&mut self, table: &Ruleset) {
        let before = std::mem::replace(&mut self.table, table.clone());
        for change in before.chains.diff(&table.chains) {
            match change {
                DiffItem::Add(name, chain) => self.add_chain(name, chain),
                DiffItem::Remove(name, chain) => self.remove_chain(name, chain),
                DiffItem::Update { old: (name, old), new: (_, new) } => {
                    self.remove_chain(name, old);
                    self.add_chain(name, new);
                }
            }
        }
        let none = OrdMap::new();
        for change in before.maps.diff(&table.maps) {
            let (name, old, new) = match change {
                DiffItem::Add(name, new) => (name, &none, &new.entries),
                DiffItem::Remove(name, old) => (name, &old.entries, &none),
                DiffItem::Update {
                    old: (name, VerdictMap { entries: old, .. }),
                    new: (_, new),
                } => (name, old, &new.entries),
            };
            self.follow_entries(name, old, new);
        }
    }

    fn follow_entries<K: Ord>(&mut self, map: &Name, old: &OrdMap<K, Name>, new: &OrdMap<K, Name>) {
        for change in old.diff(new) {
            let (gone, come) = match change {
                DiffItem::Add(_, to) => (None, Some(to)),
                DiffItem::Remove(_, from) => (Some(from), None),
                DiffItem::Update { old: (_, from), new: (_, to) } => (Some(from), Some(to)),
            };
            if let Some(chain) = come {
                let maps = self.entries.entry(chain.clone()).or_default();
                *maps.entry(map.clone()).or_default() += 1;
            }
            let Some(chain) = gone else { continue };
            let Some(maps) = self.entries.get_mut(chain) else { continue };
            match maps.get_mut(map) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(maps.remove(map)),
            }
            if maps.is_empty() {
                self.entries.remove(chain);
            }
        }
    }

    fn add_chain(&mut self, name: &Name, chain: &Chain) {
        self.rules += chain.rules.len();
        self.bases += usize::from(chain.base.is_some());
        for used in looked_up(chain) {
            self.users.entry(used.clone()).or_default().insert(name.clone());
        }
        for target in targets(chain) {
            self.callers.entry(target.clone()).or_default().insert(name.clone());
        }
        for (set, uses) in uses(chain) {
            self.uses.entry(set.clone()).or_default().add(uses);
        }
    }

    fn remove_chain(&mut self, name: &Name, chain: &Chain) {
        self.rules -= chain.rules.len();
        self.bases -= usize::from(chain.base.is_some());
        for used in looked_up(chain) {
            remove(&mut self.users, used, name);
        }
        for target in targets(chain) {
            remove(&mut self.callers, target, name);
        }
        for (set, uses) in uses(chain) {
            let Some(counts) = self.uses.get_mut(set) else { continue };
            counts.remove(uses);
            if *counts == Counts::default() {
                self.uses.remove(set);
            }
        }
    }

    /// Whether a packet can meet this chain.
    pub fn chain_is_visible(&self, name: &Name) -> bool {
        let mut seen = BTreeSet::new();
        let mut to_visit = vec![name];
        while let Some(name) = to_visit.pop() {
            if !seen.insert(name) {
                continue;
            }
            if self.table.chains.get(name).is_some_and(|chain| chain.base.is_some()) {
                return true;
            }
            to_visit.extend(self.callers.get(name).into_iter().flatten());
            let maps = self.entries.get(name).into_iter().flat_map(BTreeMap::keys);
            to_visit.extend(maps.flat_map(|map| self.users(map)));
        }
        false
    }

    /// Whether a packet can meet a look-up in this set or map.
    pub fn is_visible(&self, name: &Name) -> bool {
        self.users(name).any(|chain| self.chain_is_visible(chain))
    }

    /// Whether packets reach the table.
    pub const fn is_hooked(&self) -> bool {
        self.bases > 0
    }

    /// How many rules the table has.
    pub const fn rules(&self) -> usize {
        self.rules
    }

    /// What the rules that look into this set do with a packet.
    pub fn uses(&self, set: &Name) -> Uses {
        let counts = self.uses.get(set).copied().unwrap_or_default();
        let Counts { leads, drops, allows } = counts;
        Uses { leads: leads > 0, drops: drops > 0, allows: allows > 0 }
    }

    /// Which sides look into a set. The side of a chain is the field by which a map
    /// sends packets to it.
    pub fn sides(&self, set: &Name) -> BTreeSet<Field> {
        let mut known: BTreeMap<&Name, BTreeSet<Field>> = BTreeMap::new();
        let mut sides = BTreeSet::new();
        for chain in self.users(set) {
            for map in self.entries.get(chain).into_iter().flat_map(BTreeMap::keys) {
                sides.extend(known.entry(map).or_insert_with(|| self.fields(map)).iter());
            }
            if sides.len() == 2 {
                break; // there are no more
            }
        }
        sides
    }

    /// The fields by which packets are looked up in a map, or by which a set of addresses
    /// leads them to other chains.
    pub fn fields(&self, name: &Name) -> BTreeSet<Field> {
        let chains = self.users(name).filter_map(|chain| self.table.chains.get(chain));
        chains.flat_map(|chain| &chain.rules).flat_map(|rule| fields(rule, name)).collect()
    }

    /// By which fields packets are dropped whose address is not in a set.
    pub fn shut_by(&self, set: &Name) -> BTreeSet<Field> {
        let chains = self.users(set).filter(|chain| self.chain_is_visible(chain));
        let chains = chains.filter_map(|chain| self.table.chains.get(chain));
        chains.flat_map(|chain| shut_by(chain, set)).collect()
    }

    /// The chains whose rules look into a set or map.
    pub fn users(&self, name: &Name) -> impl Iterator<Item = &Name> {
        self.users.get(name).into_iter().flatten()
    }
}

fn looked_up(chain: &Chain) -> BTreeSet<&Name> {
    chain.rules.iter().flat_map(Rule::lookups).collect()
}

fn targets(chain: &Chain) -> BTreeSet<&Name> {
    chain.rules.iter().filter_map(Rule::target).collect()
}

fn uses(chain: &Chain) -> BTreeMap<&Name, Uses> {
    let mut found: BTreeMap<&Name, Uses> = BTreeMap::new();
    for rule in &chain.rules {
        for set in rule.lookups() {
            let uses = found.entry(set).or_default();
            uses.leads |= rule.target().is_some();
            uses.drops |= matches!(rule.finish, Some(Finish::Verdict(Verdict::Drop)));
            uses.allows |= rule.allows();
        }
    }
    found
}

fn fields(rule: &Rule, name: &Name) -> BTreeSet<Field> {
    let by_map = match &rule.finish {
        Some(Finish::Dispatch(field, _, by)) if by == name => Some(*field),
        _ => None,
    };
    let leading = rule.target().map(|_| &rule.matches).into_iter().flatten();
    let by_set = leading.filter_map(|one| match one {
        Match::Address(field, AddressTest::Set(_, by)) if by == name => Some(*field),
        _ => None,
    });
    by_set.chain(by_map).collect()
}

fn remove(map: &mut HashMap<Name, BTreeSet<Name>>, key: &Name, value: &Name) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}
