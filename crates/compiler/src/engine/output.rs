//! The table of one place.
//!
//! In: the cluster, and what a change may have affected. Out: the table, with the
//! chains and sets that the isolated pods of this node need.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::{Direction, ObjectKey};
use ruleset::{Element, Family, Name};

use super::chains::Chains;
use super::in_use::SetsInUse;
use super::{Impact, Input};
use crate::cluster_index::is_local;
use crate::naming::Naming;
use crate::sets::Sources;
use crate::signature::Signature;
use crate::{Compiled, Options, Place, scaffold};

/// The table of a place, and what it is made of.
#[derive(Debug)]
pub(super) struct Output {
    pub compiled: Compiled,
    chains: Chains,
    sets: SetsInUse,
    /// Pods of this node that are isolated.
    isolated: BTreeMap<ObjectKey, Isolated>,
}

/// What the table holds for an isolated pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Isolated {
    /// The addresses that it owns, in no order.
    addresses: Vec<IpAddr>,
    /// The chain of each direction in which it is isolated.
    chains: Vec<(Direction, Name)>,
}

impl Output {
    /// The table of a place without a pod.
    pub fn new(place: &Place, options: &Options, naming: Naming) -> Self {
        Self {
            compiled: Compiled::of_nothing(place, options),
            chains: Chains::default(),
            sets: SetsInUse::named(naming),
            isolated: BTreeMap::new(),
        }
    }

    /// Whether this policy judges the ingress of a local pod.
    pub fn judges_ingress_by(&self, policy: &ObjectKey) -> bool {
        self.chains.has_ingress(policy)
    }

    /// What each set in use represents.
    pub fn set_sources(&self) -> &Sources {
        self.sets.sources()
    }

    /// The policies for which that answer changed since the last call.
    pub fn take_news(&mut self) -> BTreeSet<ObjectKey> {
        self.chains.take_news()
    }

    /// The isolated pods, and the table to write to.
    pub fn parts(&mut self) -> (&BTreeMap<ObjectKey, Isolated>, &mut Compiled) {
        (&self.isolated, &mut self.compiled)
    }

    /// Recompiles what a change may have affected.
    pub fn update(&mut self, input: Input<'_>, impact: &Impact) {
        let Impact { touched, pods, policies } = impact;
        self.sets.follow(touched, input.cluster, &mut self.compiled.ruleset);
        let was_shut = !self.isolated.is_empty();
        let stale = self.chains.of_policies(policies);
        for chain in &stale {
            self.chains.empty(chain, &mut self.sets, &mut self.compiled);
        }
        let gone: Vec<Isolated> = pods.iter().filter_map(|key| self.isolated.remove(key)).collect();
        for pod in &gone {
            self.remove_elements(pod);
        }
        for key in pods {
            self.isolate(key, input);
        }
        // After the new users, so that a chain that is still used is kept.
        for pod in gone.iter().filter(|pod| !pod.addresses.is_empty()) {
            for (_, chain) in &pod.chains {
                self.chains.release(chain, &mut self.sets, &mut self.compiled);
            }
        }
        for chain in &stale {
            if !self.chains.is_filled(chain) {
                let (sets, compiled) = (&mut self.sets, &mut self.compiled);
                self.chains.fill(chain, input, sets, compiled);
            }
        }
        self.sets.remove_idle(&mut self.compiled.ruleset);
        while self.sets.rename() {
            self.chains.fill_all(input, &mut self.sets, &mut self.compiled);
            self.sets.remove_idle(&mut self.compiled.ruleset);
        }
        let is_shut = !self.isolated.is_empty();
        if was_shut != is_shut {
            scaffold::shut_edges(&mut self.compiled.ruleset, is_shut);
        }
    }

    /// Adds a pod to the table if it is local and isolated.
    fn isolate(&mut self, key: &ObjectKey, input: Input<'_>) {
        let Input { cluster, options } = input;
        let Some(pod) = cluster.snapshot().pods.get(key) else { return };
        if !pod.is_subject() || !is_local(pod, options.node.as_deref()) {
            return;
        }
        let policies: Vec<_> = cluster.policies_of(pod).collect();
        let signatures: Vec<Signature> = Direction::BOTH
            .into_iter()
            .filter_map(|direction| Signature::of(direction, pod, policies.iter().copied()))
            .collect();
        if signatures.is_empty() {
            return;
        }
        let addresses: Vec<IpAddr> = cluster.addresses_of(pod).collect();
        let mut isolated = Isolated { addresses, chains: Vec::new() };
        for signature in signatures {
            let (direction, chain) = (signature.direction, signature.chain_name());
            if !isolated.addresses.is_empty() {
                self.chains.acquire(&chain, signature, &mut self.compiled);
                if !self.chains.is_filled(&chain) {
                    let (sets, compiled) = (&mut self.sets, &mut self.compiled);
                    self.chains.fill(&chain, input, sets, compiled);
                }
            }
            isolated.chains.push((direction, chain));
        }
        self.add_elements(&isolated);
        self.isolated.insert(key.clone(), isolated);
    }

    fn add_elements(&mut self, pod: &Isolated) {
        let ruleset = &mut self.compiled.ruleset;
        for (&address, (direction, chain)) in pod.pairs() {
            let family = Family::of(address);
            for (name, element) in elements(*direction, address) {
                if let Some(set) = ruleset.sets.get_mut(&name) {
                    set.elements.insert(element);
                }
            }
            if let Some(map) = ruleset.maps.get_mut(&scaffold::dispatch(*direction, family)) {
                map.entries.insert(address, chain.clone());
            }
        }
    }

    fn remove_elements(&mut self, pod: &Isolated) {
        let ruleset = &mut self.compiled.ruleset;
        for (&address, (direction, _)) in pod.pairs() {
            let family = Family::of(address);
            for (name, element) in elements(*direction, address) {
                if let Some(set) = ruleset.sets.get_mut(&name) {
                    set.elements.remove(&element);
                }
            }
            if let Some(map) = ruleset.maps.get_mut(&scaffold::dispatch(*direction, family)) {
                map.entries.remove(&address);
            }
        }
    }
}

impl Isolated {
    /// Each address with each direction and its chain.
    fn pairs(&self) -> impl Iterator<Item = (&IpAddr, &(Direction, Name))> {
        self.addresses.iter().flat_map(|address| self.chains.iter().map(move |one| (address, one)))
    }
}

/// The set elements of an address that is isolated in a direction.
fn elements(direction: Direction, address: IpAddr) -> [(Name, Element); 2] {
    let family = Family::of(address);
    [
        (scaffold::isolated_set(direction, family), Element::Address(address)),
        (scaffold::self_set(family), Element::AddressPair(address, address)),
    ]
}
