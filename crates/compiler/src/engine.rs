//! Compiling at the cost of what changed.
//!
//! In: a snapshot, and then each later one. Out: the [`Compiled`] of the last.
//! Never: a result that depends on how the snapshot was reached. Property tests
//! hold it equal to one that is compiled from scratch.
//!
//! ```text
//! changed pod -------+- its addresses, whose owners may be others now -> sets whose peers select
//! changed namespace -+                                                   the owner before or now
//!                    +- if on this node: its signatures -> gates, maps, chains that come and go
//! changed policy ----+- pods of this node that it selects: likewise
//!                    +- chains with it in their signature: filled anew -> sets that come and go
//! ```

mod chains;
mod in_use;
mod port_names;
mod selector_index;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::{Diagnostic, Direction, ObjectKey, Pod, Snapshot, SnapshotDiff};
use ruleset::{Element, Family, Name};

use crate::cluster_index::is_local;
use crate::signature::Signature;
use crate::{ClusterIndex, Compiled, Options, scaffold};
use chains::Chains;
use in_use::SetsInUse;
use port_names::PortNames;

/// Compiles one snapshot after the other for one node.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    cluster: ClusterIndex,
    out: Compiled,
    chains: Chains,
    sets: SetsInUse,
    /// Pods of this node that are isolated.
    isolated: BTreeMap<ObjectKey, Isolated>,
    port_names: PortNames,
    /// The policies that there is something to say of.
    diagnostics: BTreeMap<ObjectKey, Vec<Diagnostic>>,
}

/// What the table holds for an isolated pod.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Isolated {
    /// Its own, in no order.
    addresses: Vec<IpAddr>,
    /// The chain of each direction in which it is isolated.
    chains: Vec<(Direction, Name)>,
}

/// The owners before a change of addresses that it touches.
type Touched = BTreeMap<IpAddr, Option<Arc<Pod>>>;

impl Engine {
    /// An engine that has seen no object yet.
    pub fn new(options: Options) -> Self {
        Self {
            out: Compiled::of_nothing(&options),
            options,
            cluster: ClusterIndex::default(),
            chains: Chains::default(),
            sets: SetsInUse::default(),
            isolated: BTreeMap::new(),
            port_names: PortNames::default(),
            diagnostics: BTreeMap::new(),
        }
    }

    /// What it compiles for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The objects that it saw last.
    pub fn snapshot(&self) -> &Snapshot {
        self.cluster.snapshot()
    }

    /// What the last snapshot compiles to.
    pub fn compiled(&self) -> &Compiled {
        &self.out
    }

    /// Goes on to a snapshot, at the cost of its difference from the last one
    /// (see [`Snapshot::diff`]).
    pub fn update(&mut self, snapshot: &Snapshot) -> &Compiled {
        let diff = self.snapshot().diff(snapshot);
        let touched = self.touched(snapshot, &diff);
        let (before, pods) = self.follow(snapshot, &diff, &touched);
        let renamed = self.follow_port_names(&before, &diff);
        self.sets.follow(&touched, &self.cluster, &mut self.out.ruleset);
        self.recompile(&pods, &diff.policies);
        self.diagnose(renamed);
        &self.out
    }

    /// Sets these policies aside in place of those before.
    pub fn set_aside(&mut self, policies: BTreeSet<ObjectKey>) -> &Compiled {
        let before = std::mem::replace(&mut self.options.set_aside, policies);
        let now = &self.options.set_aside;
        let changed: BTreeSet<ObjectKey> = before.symmetric_difference(now).cloned().collect();
        self.recompile(&BTreeSet::new(), &changed);
        self.diagnose(changed);
        &self.out
    }

    /// The addresses of changed pods, as they were and as they will be, and of
    /// all pods of changed namespaces.
    fn touched(&self, snapshot: &Snapshot, diff: &SnapshotDiff) -> Touched {
        let keys = diff.pods.iter();
        let before_and_after =
            keys.flat_map(|key| [self.snapshot(), snapshot].map(|one| one.pods.get(key)));
        let pods = before_and_after.flatten().map(|pod| &**pod);
        let in_namespaces = diff.namespaces.iter().flat_map(|name| self.cluster.pods_of(name));
        pods.filter(|pod| pod.is_subject())
            .chain(in_namespaces)
            .flat_map(|pod| &pod.addresses)
            .map(|&address| (address, self.cluster.owner(address).cloned()))
            .collect()
    }

    /// Takes the changed objects over. Gives the snapshot before, and the pods
    /// whose signatures or addresses may be others now.
    fn follow(
        &mut self,
        snapshot: &Snapshot,
        diff: &SnapshotDiff,
        touched: &Touched,
    ) -> (Snapshot, BTreeSet<ObjectKey>) {
        let before = self.cluster.follow(snapshot, diff);
        let mut pods = diff.pods.clone();
        for key in &diff.policies {
            for policy in [&before, snapshot].into_iter().filter_map(|one| one.policies.get(key)) {
                let selected = self.cluster.selected_by(policy);
                let local = selected.filter(|pod| is_local(pod, self.options.node.as_deref()));
                pods.extend(local.map(|pod| pod.key.clone()));
            }
        }
        for (address, before) in touched {
            let keys = [before.as_ref(), self.cluster.owner(*address)].map(|pod| Some(&pod?.key));
            if keys[0] != keys[1] {
                pods.extend(keys.into_iter().flatten().cloned());
            }
        }
        (before, pods)
    }

    /// Keeps the counts of port names. Gives the policies about which there may
    /// be other things to say now.
    fn follow_port_names(&mut self, before: &Snapshot, diff: &SnapshotDiff) -> BTreeSet<ObjectKey> {
        let mut policies = diff.policies.clone();
        for policy in &diff.policies {
            self.port_names.forget(policy);
        }
        let snapshot = self.cluster.snapshot();
        for key in &diff.pods {
            let pods = (before.pods.get(key), snapshot.pods.get(key));
            let pods = (pods.0.map(|pod| &**pod), pods.1.map(|pod| &**pod));
            policies.extend(self.port_names.follow(key, pods, snapshot));
        }
        policies
    }

    /// Works out anew what depends on these pods' signatures and addresses, and
    /// on what these policies say.
    fn recompile(&mut self, pods: &BTreeSet<ObjectKey>, policies: &BTreeSet<ObjectKey>) {
        let was_shut = !self.isolated.is_empty();
        let stale = self.chains.of_policies(policies);
        for chain in &stale {
            self.chains.empty(chain, &mut self.sets, &mut self.out);
        }
        let gone: Vec<Isolated> = pods.iter().filter_map(|key| self.isolated.remove(key)).collect();
        for pod in &gone {
            self.remove_elements(pod);
        }
        for key in pods {
            self.isolate(key);
        }
        // Now, so that a chain that has a new user is not made anew.
        for pod in gone.iter().filter(|pod| !pod.addresses.is_empty()) {
            for (_, chain) in &pod.chains {
                self.chains.release(chain, &mut self.sets, &mut self.out);
            }
        }
        for chain in &stale {
            if !self.chains.is_filled(chain) {
                let (sets, out) = (&mut self.sets, &mut self.out);
                self.chains.fill(chain, &self.cluster, &self.options, sets, out);
            }
        }
        self.sets.remove_idle(&mut self.out.ruleset);
        let is_shut = !self.isolated.is_empty();
        if was_shut != is_shut {
            scaffold::shut_edges(&mut self.out.ruleset, is_shut);
        }
    }

    /// Puts a pod of this node where it belongs, if it is isolated.
    fn isolate(&mut self, key: &ObjectKey) {
        let Some(pod) = self.cluster.snapshot().pods.get(key) else { return };
        if !pod.is_subject() || !is_local(pod, self.options.node.as_deref()) {
            return;
        }
        let policies: Vec<_> = self.cluster.policies_of(pod).collect();
        let signatures: Vec<Signature> = Direction::BOTH
            .into_iter()
            .filter_map(|direction| Signature::of(direction, pod, policies.iter().copied()))
            .collect();
        if signatures.is_empty() {
            return;
        }
        let addresses: Vec<IpAddr> = self.cluster.addresses_of(pod).collect();
        let mut isolated = Isolated { addresses, chains: Vec::new() };
        for signature in signatures {
            let (direction, chain) = (signature.direction, signature.chain_name());
            if !isolated.addresses.is_empty() {
                self.chains.acquire(&chain, signature, &mut self.out);
                if !self.chains.is_filled(&chain) {
                    let (sets, out) = (&mut self.sets, &mut self.out);
                    self.chains.fill(&chain, &self.cluster, &self.options, sets, out);
                }
            }
            isolated.chains.push((direction, chain));
        }
        self.add_elements(&isolated);
        self.isolated.insert(key.clone(), isolated);
    }

    fn add_elements(&mut self, pod: &Isolated) {
        let ruleset = &mut self.out.ruleset;
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
        let ruleset = &mut self.out.ruleset;
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

    /// Says what there is to say of these policies, and of those that chains are
    /// made of since the last call, or no more.
    fn diagnose(&mut self, mut policies: BTreeSet<ObjectKey>) {
        policies.append(&mut self.chains.take_news());
        let mut is_news = false;
        for key in policies {
            let listed = self.chains.has_ingress(&key) && !self.options.set_aside.contains(&key);
            let policy = self.cluster.snapshot().policies.get(&key).filter(|_| listed);
            let found = policy.map(|policy| self.port_names.diagnose(policy, &self.cluster));
            let found = found.filter(|found| !found.is_empty());
            is_news |= self.diagnostics.get(&key) != found.as_ref();
            match found {
                Some(found) => drop(self.diagnostics.insert(key, found)),
                None => drop(self.diagnostics.remove(&key)),
            }
        }
        if is_news {
            self.out.diagnostics = self.diagnostics.values().flatten().cloned().collect();
        }
    }
}

impl Isolated {
    /// Each address with each direction and its chain.
    fn pairs(&self) -> impl Iterator<Item = (&IpAddr, &(Direction, Name))> {
        self.addresses.iter().flat_map(|address| self.chains.iter().map(move |one| (address, one)))
    }
}

/// What sets hold for an address that is isolated in a direction.
fn elements(direction: Direction, address: IpAddr) -> [(Name, Element); 2] {
    let family = Family::of(address);
    [
        (scaffold::isolated_set(direction, family), Element::Address(address)),
        (scaffold::self_set(family), Element::AddressPair(address, address)),
    ]
}
