//! The sets that chains look into. A set exists as long as a chain uses it.
//!
//! In: the users of sets, and addresses whose owners changed. Out: the sets with
//! their present elements, and how they are named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::ObjectKey;
use ruleset::{Element, Family, Name, Ruleset, Set, SetType};

use super::Touched;
use super::selector_index::SelectorIndex;
use crate::naming::Naming;
use crate::sets::{SetSource, Sources};
use crate::{ClusterIndex, Compiled};

/// Sets in use.
#[derive(Debug, Default)]
pub(super) struct SetsInUse {
    sources: Sources,
    /// How many grants of each policy look into a set.
    users: BTreeMap<Name, BTreeMap<ObjectKey, usize>>,
    /// The sets of each family.
    indexes: BTreeMap<Family, SelectorIndex<Name>>,
    /// Sets without users.
    idle: BTreeSet<Name>,
    naming: Naming,
    /// How many elements all sets have because of pods. No more than one namespace may
    /// have, while nobody counts them by namespace.
    elements: u64,
    /// From this many on, sets are made without elements of pods, and named below.
    limit: Option<u64>,
    incomplete: BTreeSet<Name>,
    /// Names under which two sets were acquired since the last call of `rename`.
    shared: BTreeSet<Name>,
}

impl SetsInUse {
    /// Without a set. Names are given in this way.
    pub fn named(naming: Naming) -> Self {
        Self { naming, ..Self::default() }
    }

    /// How sets are named.
    pub fn naming(&self) -> &Naming {
        &self.naming
    }

    /// Takes note of a name that two sets would have.
    pub fn share(&mut self, name: &Name) {
        self.shared.insert(name.clone());
    }

    /// Whether sets in use have other names now. Then their users must acquire them anew.
    pub fn rename(&mut self) -> bool {
        self.naming.follow(std::mem::take(&mut self.shared), &self.sources)
    }

    /// What each set represents.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Adds a user of a set: grants of a policy.
    pub fn acquire(
        &mut self,
        name: &Name,
        source: &SetSource,
        policy: &ObjectKey,
        cluster: &ClusterIndex,
        out: &mut Compiled,
    ) {
        let users = self.users.entry(name.clone()).or_default();
        *users.entry(policy.clone()).or_default() += 1;
        Arc::make_mut(out.set_users.entry(name.clone()).or_default()).insert(policy.clone());
        let is_idle = self.idle.remove(name);
        match self.sources.get(name) {
            Some(known) if known == source => return,
            Some(known) if is_idle => {
                let known = known.clone();
                self.unlist(name, &known);
            }
            Some(_) => return self.share(name),
            None => {}
        }
        self.sources.insert(name.clone(), source.clone());
        if let Some(family) = source.family() {
            self.indexes.entry(family).or_default().add(name, source.peers());
        }
        self.incomplete.remove(name);
        if self.limit.is_some_and(|limit| self.elements > limit) && source.family().is_some() {
            self.incomplete.insert(name.clone());
            let set = Set::new(source.set_type(), source.comment(name));
            out.ruleset.sets.insert(name.clone(), set);
            return;
        }
        self.put(name, source.set(name, cluster), out);
    }

    fn put(&mut self, name: &Name, set: Set, out: &mut Compiled) {
        self.elements += of_pods(&set);
        if let Some(before) = out.ruleset.sets.insert(name.clone(), set) {
            self.elements -= of_pods(&before);
        }
    }

    /// Whether the sets have more elements of pods than this together.
    pub fn exceed(&self, limit: u64) -> bool {
        self.elements > limit
    }

    /// Sets that are acquired from now on have all their elements only below this.
    pub fn limit(&mut self, limit: Option<u64>) {
        self.limit = limit;
    }

    /// Gives all sets their elements.
    pub fn complete(&mut self, cluster: &ClusterIndex, out: &mut Compiled) {
        for name in std::mem::take(&mut self.incomplete) {
            if let Some(source) = self.sources.get(&name) {
                let set = source.set(&name, cluster);
                self.put(&name, set, out);
            }
        }
    }

    /// Takes a set out of the index of its family.
    fn unlist(&mut self, name: &Name, source: &SetSource) {
        if let Some(index) = source.family().and_then(|one| self.indexes.get_mut(&one)) {
            index.remove(name, source.peers());
        }
    }

    /// Removes a user of a set.
    pub fn release(&mut self, name: &Name, policy: &ObjectKey, out: &mut Compiled) {
        let Some(users) = self.users.get_mut(name) else { return };
        match users.get_mut(policy) {
            Some(count) if *count > 1 => return *count -= 1,
            _ => drop(users.remove(policy)),
        }
        if users.is_empty() {
            self.users.remove(name);
            out.set_users.remove(name);
            self.idle.insert(name.clone());
        } else if let Some(users) = out.set_users.get_mut(name) {
            Arc::make_mut(users).remove(policy);
        }
    }

    /// Removes the sets without users.
    pub fn remove_idle(&mut self, ruleset: &mut Ruleset) {
        for name in std::mem::take(&mut self.idle) {
            if let Some(source) = self.sources.remove(&name) {
                self.unlist(&name, &source);
            }
            self.incomplete.remove(&name);
            if let Some(set) = ruleset.sets.remove(&name) {
                self.elements -= of_pods(&set);
            }
        }
    }

    /// Moves these addresses to the sets that select their present owners. Only
    /// sets that could select the old or the new owner are checked.
    pub fn follow(&mut self, touched: &Touched, cluster: &ClusterIndex, ruleset: &mut Ruleset) {
        for (&address, before) in touched {
            let after = cluster.owner(address);
            let Some(index) = self.indexes.get(&Family::of(address)) else { continue };
            let owners = [before.as_ref(), after];
            let names: BTreeSet<&Name> =
                owners.into_iter().flatten().flat_map(|pod| index.candidates(pod)).collect();
            for name in names {
                let Some(source) = self.sources.get(name) else { continue };
                let wanted = after.map(|pod| source.elements_of(cluster, pod, address));
                let wanted = wanted.unwrap_or_default();
                let present = ruleset.sets.get(name).map(|set| at(set, address));
                if present.is_none_or(|present| present == wanted) {
                    continue;
                }
                let Some(set) = ruleset.sets.get_mut(name) else { continue };
                self.elements -= of_pods(set);
                for element in at(set, address) {
                    set.elements.remove(&element);
                }
                set.elements.extend(wanted);
                self.elements += of_pods(set);
            }
        }
    }
}

/// How many elements a set has because of pods.
fn of_pods(set: &Set) -> u64 {
    match set.set_type {
        SetType::Address(_) | SetType::AddressPort(_) => set.elements.len() as u64,
        SetType::AddressRange(_)
        | SetType::AddressPair(_)
        | SetType::ProtocolPort
        | SetType::Icmpv6Type
        | SetType::RateLimit(_)
        | SetType::Key(_)
        | SetType::Store(_) => 0,
    }
}

/// The elements of a set with this address, in order.
fn at(set: &Set, address: IpAddr) -> Vec<Element> {
    match set.set_type {
        SetType::AddressPort(_) => {
            let port = |port| Element::AddressPort(address, port);
            set.elements.range(port(0)..=port(u16::MAX)).copied().collect()
        }
        _ => {
            let element = Element::Address(address);
            set.elements.contains(&element).then_some(element).into_iter().collect()
        }
    }
}
