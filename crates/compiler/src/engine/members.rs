//! How many pods' addresses the policies of each namespace would put into sets, and who
//! finds no room.
//!
//! In: chains as they come and go; addresses that change their owner. Out: the decisions
//! of [`budget::crowded`]. A policy that finds no room is counted, too, without a set: so
//! decisions depend on the present objects alone.
//!
//! It exists only while the sets of the table together hold more than one namespace may.
//! Before, no namespace can be over its budget.

use std::collections::{BTreeMap, BTreeSet};

use policy::ObjectKey;
use ruleset::{Family, Name};

use super::Touched;
use super::chains::GrantsKey;
use super::selector_index::SelectorIndex;
use crate::budget::{self, Budgets, Weight};
use crate::sets::{SetSource, Sources};
use crate::{ClusterIndex, work};

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// What each chain was counted for.
    charged: BTreeMap<Name, Vec<GrantsKey>>,
    /// The sets of each part of chains, and how many chains have it.
    parts: BTreeMap<GrantsKey, (Vec<Name>, usize)>,
    sets: BTreeMap<Name, Counted>,
    indexes: BTreeMap<Family, SelectorIndex<Name>>,
    accounts: BTreeMap<String, Account>,
    /// The elements of all sets.
    elements: u64,
    /// The shares of all namespaces.
    shares: u64,
    /// Sets that weigh something else than at the last decision.
    changed: BTreeSet<Name>,
    /// Namespaces whose sets or policies are others, or weigh something else.
    dirty: BTreeSet<String>,
}

/// A set that is there or would be.
#[derive(Debug)]
struct Counted {
    source: SetSource,
    elements: u64,
    /// How many parts of each namespace's policies look into it.
    namespaces: BTreeMap<String, usize>,
    /// What it weighed at the last decision. The accounts have this.
    weight: Weight,
}

/// A namespace with a policy that looks into a set.
#[derive(Debug, Default)]
struct Account {
    /// The sets of each policy, and how many parts look into each.
    policies: BTreeMap<String, BTreeMap<Name, usize>>,
    /// All its sets.
    weight: Weight,
    /// What it had room for at the last decision.
    room: Weight,
    beyond: BTreeSet<String>,
}

impl Members {
    /// Whether a chain is counted.
    pub fn charge(
        &mut self,
        chain: &Name,
        parts: Vec<GrantsKey>,
        sources: impl Fn(&GrantsKey) -> Sources,
        cluster: &ClusterIndex,
    ) {
        for part in &parts {
            if let Some((_, chains)) = self.parts.get_mut(part) {
                *chains += 1;
                continue;
            }
            let mut names = Vec::new();
            for (name, source) in sources(part) {
                self.add(part, &name, source, cluster);
                names.push(name);
            }
            self.parts.insert(part.clone(), (names, 1));
        }
        self.charged.insert(chain.clone(), parts);
    }

    /// A chain goes, or is about to be filled.
    pub fn pay_back(&mut self, chain: &Name) {
        for part in self.charged.remove(chain).unwrap_or_default() {
            match self.parts.get_mut(&part) {
                Some((_, chains)) if *chains > 1 => *chains -= 1,
                _ => {
                    let names = self.parts.remove(&part).map(|(names, _)| names);
                    names.into_iter().flatten().for_each(|name| self.subtract(&part, &name));
                }
            }
        }
    }

    fn add(&mut self, part: &GrantsKey, name: &Name, source: SetSource, cluster: &ClusterIndex) {
        let ObjectKey { namespace, name: policy } = &part.0;
        let counted = self.sets.entry(name.clone()).or_insert_with(|| {
            if let Some(family) = source.family() {
                self.indexes.entry(family).or_default().add(name, source.peers());
            }
            let elements = source.count(cluster);
            self.elements += elements;
            let weight = Weight::new(elements, 1);
            Counted { source, elements, namespaces: BTreeMap::new(), weight }
        });
        let account = self.accounts.entry(namespace.clone()).or_default();
        let users = counted.namespaces.entry(namespace.clone()).or_default();
        *users += 1;
        if *users == 1 {
            account.weight += counted.weight;
            self.shares += counted.weight.share;
            self.changed.insert(name.clone());
        }
        let sets = account.policies.entry(policy.clone()).or_default();
        *sets.entry(name.clone()).or_default() += 1;
        self.dirty.insert(namespace.clone());
    }

    fn subtract(&mut self, part: &GrantsKey, name: &Name) {
        let ObjectKey { namespace, name: policy } = &part.0;
        self.dirty.insert(namespace.clone());
        let Some(account) = self.accounts.get_mut(namespace) else { return };
        if let Some(sets) = account.policies.get_mut(policy) {
            decrement(sets, name);
            if sets.is_empty() {
                account.policies.remove(policy);
            }
        }
        let Some(counted) = self.sets.get_mut(name) else { return };
        decrement(&mut counted.namespaces, namespace);
        if counted.namespaces.contains_key(namespace) {
            return;
        }
        account.weight -= counted.weight;
        self.shares = self.shares.saturating_sub(counted.weight.share);
        if !counted.namespaces.is_empty() {
            self.changed.insert(name.clone());
            return;
        }
        self.changed.remove(name);
        let Some(Counted { source, elements, .. }) = self.sets.remove(name) else { return };
        self.elements = self.elements.saturating_sub(elements);
        if let Some(index) = source.family().and_then(|family| self.indexes.get_mut(&family)) {
            index.remove(name, source.peers());
        }
    }

    /// These addresses are about to change their owners.
    pub fn leave(&mut self, touched: &Touched, cluster: &ClusterIndex) {
        self.count(touched, cluster, u64::saturating_sub);
    }

    /// These addresses have other owners now.
    pub fn join(&mut self, touched: &Touched, cluster: &ClusterIndex) {
        self.count(touched, cluster, u64::saturating_add);
    }

    fn count(&mut self, touched: &Touched, cluster: &ClusterIndex, of: fn(u64, u64) -> u64) {
        for &address in touched.keys() {
            let Some(owner) = cluster.owner(address) else { continue };
            let Some(index) = self.indexes.get(&Family::of(address)) else { continue };
            let names: BTreeSet<&Name> = index.candidates(owner).collect();
            for name in names {
                work::look();
                let Some(counted) = self.sets.get_mut(name) else { continue };
                let here = counted.source.elements_of(cluster, owner, address).len() as u64;
                if here > 0 {
                    counted.elements = of(counted.elements, here);
                    self.elements = of(self.elements, here);
                    self.changed.insert(name.clone());
                }
            }
        }
    }

    /// Decides again. `left`: how many elements are left to a namespace's sets of pods.
    /// Returns the policies about which it decides in another way.
    ///
    /// Costs a look at each namespace with policies on this node, of which there are no more
    /// than pods of the node, and the policies of those that are over their budget and changed.
    pub fn decide(&mut self, budgets: &Budgets, left: impl Fn(&str) -> u64) -> BTreeSet<ObjectKey> {
        self.weigh();
        let shares = self.accounts.values().map(|account| account.weight.share);
        let share = budget::highest_share(self.shares, shares, budgets);
        let dirty = std::mem::take(&mut self.dirty);
        let mut differing = BTreeSet::new();
        for (namespace, account) in &mut self.accounts {
            let room = Weight { elements: left(namespace), share };
            if std::mem::replace(&mut account.room, room) == room && !dirty.contains(namespace) {
                continue;
            }
            let now = account.crowded(&self.sets);
            let before = std::mem::replace(&mut account.beyond, now);
            let names = before.symmetric_difference(&account.beyond);
            differing.extend(names.map(|name| ObjectKey::new(namespace, name)));
        }
        for namespace in &dirty {
            if self.accounts.get(namespace).is_some_and(|account| account.policies.is_empty()) {
                self.accounts.remove(namespace);
            }
        }
        differing
    }

    /// Takes what changed sets weigh now into the accounts.
    fn weigh(&mut self) {
        for name in std::mem::take(&mut self.changed) {
            let Some(counted) = self.sets.get_mut(&name) else { continue };
            let now = Weight::new(counted.elements, counted.namespaces.len());
            let before = std::mem::replace(&mut counted.weight, now);
            if before == now {
                continue;
            }
            for namespace in counted.namespaces.keys() {
                work::look();
                let Some(account) = self.accounts.get_mut(namespace) else { continue };
                account.weight -= before;
                account.weight += now;
                self.shares = self.shares.saturating_sub(before.share) + now.share;
                self.dirty.insert(namespace.clone());
            }
        }
    }

    /// Whether a policy finds no room.
    pub fn is_beyond(&self, policy: &ObjectKey) -> bool {
        let account = self.accounts.get(&policy.namespace);
        account.is_some_and(|account| account.beyond.contains(&policy.name))
    }

    /// The policies that find no room.
    pub fn beyond(&self) -> impl Iterator<Item = ObjectKey> {
        let all = self.accounts.iter();
        all.flat_map(|(namespace, account)| {
            account.beyond.iter().map(move |name| ObjectKey::new(namespace, name))
        })
    }

    /// The elements of all sets.
    pub fn elements(&self) -> u64 {
        self.elements
    }
}

impl Account {
    /// The policies that find no room.
    fn crowded(&self, sets: &BTreeMap<Name, Counted>) -> BTreeSet<String> {
        work::look();
        if self.weight.fits(&self.room) {
            return BTreeSet::new();
        }
        let policies = self.policies.iter();
        let policies = policies.map(|(name, sets)| (name.as_str(), sets.keys().collect()));
        let of = |name: &Name| {
            work::look();
            sets.get(name).map_or(Weight::default(), |counted| counted.weight)
        };
        budget::crowded(&policies.collect(), of, &self.room)
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(key)),
    }
}

#[cfg(test)]
mod tests;
