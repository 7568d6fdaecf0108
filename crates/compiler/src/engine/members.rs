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
use crate::ClusterIndex;
use crate::budget::{self, Budgets, Crowd};
use crate::sets::{SetSource, Sources};

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// What each chain was counted for.
    charged: BTreeMap<Name, Vec<GrantsKey>>,
    /// The sets of each part of chains, and how many chains have it.
    parts: BTreeMap<GrantsKey, (Vec<Name>, usize)>,
    sets: BTreeMap<Name, Counted>,
    indexes: BTreeMap<Family, SelectorIndex>,
    /// The sets of each policy, by namespace, and how many parts look into each.
    policies: BTreeMap<String, BTreeMap<String, BTreeMap<Name, usize>>>,
    beyond: BTreeMap<String, BTreeSet<String>>,
    /// Whether anything is counted in another way than at the last decision.
    is_dirty: bool,
}

/// A set that is there or would be.
#[derive(Debug)]
struct Counted {
    source: SetSource,
    elements: u64,
    /// How many parts of each namespace's policies look into it.
    namespaces: BTreeMap<String, usize>,
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
        self.is_dirty = true;
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
        self.is_dirty = true;
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
                self.indexes.entry(family).or_default().add(name, &source);
            }
            let elements = source.count(cluster);
            Counted { source, elements, namespaces: BTreeMap::new() }
        });
        *counted.namespaces.entry(namespace.clone()).or_default() += 1;
        let policies = self.policies.entry(namespace.clone()).or_default();
        *policies.entry(policy.clone()).or_default().entry(name.clone()).or_default() += 1;
    }

    fn subtract(&mut self, part: &GrantsKey, name: &Name) {
        let ObjectKey { namespace, name: policy } = &part.0;
        if let Some(policies) = self.policies.get_mut(namespace) {
            if let Some(sets) = policies.get_mut(policy) {
                decrement(sets, name);
                if sets.is_empty() {
                    policies.remove(policy);
                }
            }
            if policies.is_empty() {
                self.policies.remove(namespace);
            }
        }
        let Some(counted) = self.sets.get_mut(name) else { return };
        decrement(&mut counted.namespaces, namespace);
        if !counted.namespaces.is_empty() {
            return;
        }
        let Some(Counted { source, .. }) = self.sets.remove(name) else { return };
        if let Some(index) = source.family().and_then(|family| self.indexes.get_mut(&family)) {
            index.remove(name, &source);
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
                let Some(counted) = self.sets.get_mut(name) else { continue };
                let here = counted.source.elements_of(cluster, owner, address).len();
                counted.elements = of(counted.elements, here as u64);
                self.is_dirty |= here > 0;
            }
        }
    }

    /// Decides again. `left`: how many elements are left to a namespace's sets of pods.
    /// Returns the policies about which it decides in another way.
    pub fn decide(&mut self, budgets: &Budgets, left: impl Fn(&str) -> u64) -> BTreeSet<ObjectKey> {
        let crowd = Crowd {
            sets: self
                .sets
                .iter()
                .map(|(name, set)| (name, (set.elements, set.namespaces.len() as u64)))
                .collect(),
            policies: self
                .policies
                .iter()
                .map(|(namespace, policies)| {
                    let policies = policies.iter();
                    let sets = policies.map(|(name, sets)| (name.as_str(), sets.keys().collect()));
                    (namespace.as_str(), sets.collect())
                })
                .collect(),
        };
        let now = budget::crowded(&crowd, budgets, left);
        let before = std::mem::replace(&mut self.beyond, now);
        let all = before.keys().chain(self.beyond.keys()).collect::<BTreeSet<_>>();
        let none = BTreeSet::new();
        let differing = all.into_iter().flat_map(|namespace| {
            let [before, now] =
                [&before, &self.beyond].map(|beyond| beyond.get(namespace).unwrap_or(&none));
            let names = before.symmetric_difference(now);
            names.map(|name| ObjectKey::new(namespace, name)).collect::<Vec<_>>()
        });
        differing.collect()
    }

    /// Whether a policy finds no room.
    pub fn is_beyond(&self, policy: &ObjectKey) -> bool {
        let names = self.beyond.get(&policy.namespace);
        names.is_some_and(|names| names.contains(&policy.name))
    }

    /// The policies that find no room.
    pub fn beyond(&self) -> impl Iterator<Item = ObjectKey> {
        let all = self.beyond.iter();
        all.flat_map(|(namespace, names)| {
            names.iter().map(move |name| ObjectKey::new(namespace, name))
        })
    }

    /// The elements of all sets.
    pub fn elements(&self) -> u64 {
        self.sets.values().map(|set| set.elements).sum()
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(key)),
    }
}
