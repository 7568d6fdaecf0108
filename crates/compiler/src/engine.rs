//! The compiler: it goes from one snapshot to the next at the cost of the change.
//!
//! In: a snapshot, and then each later one. Out: the [`Compiled`] of the last.
//! Never: a result that depends on earlier snapshots. Property tests compare it
//! with a table that is compiled from scratch.
//!
//! The engine holds the cluster once, and an [`Output`] for each [`Place`]: its
//! table, chains, sets in use, isolated pods. There is one place today.
//!
//! ```text
//! changed pod -------+- its addresses, which may have other owners now -> sets whose peers select
//! changed namespace -+                                                    the old or new owner
//!                    +- if on this node: its signatures -> gates, map entries, chains
//! changed policy ----+- pods of this node that it selects: the same
//!                    +- chains with it in their signature: new rules -> sets in use
//! ```

mod binding;
mod chains;
mod in_use;
mod output;
mod port_names;
mod selector_index;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::{Diagnostic, NodeNetwork, ObjectKey, Pod, Snapshot, SnapshotDiff};

use crate::sets::Sources;
use crate::{ClusterIndex, Compiled, Options, Place};
use binding::{Binding, Change};
use output::Output;
use port_names::PortNames;
pub use shared::SharedAddress;

/// Compiles one snapshot after the other for one node.
#[derive(Debug)]
pub struct Engine {
    options: Options,
    cluster: ClusterIndex,
    port_names: PortNames,
    /// The warnings, by policy. A policy without warnings has no entry.
    diagnostics: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    /// The output for the forward hook.
    forward: Output,
    /// The binding of pods to their interfaces.
    binding: Binding,
}

/// What every output reads.
#[derive(Clone, Copy)]
struct Input<'a> {
    cluster: &'a ClusterIndex,
    options: &'a Options,
}

/// The addresses that a change affects, each with its owner before the change.
type Touched = BTreeMap<IpAddr, Option<Arc<Pod>>>;

/// What every output must check after a change.
#[derive(Default)]
struct Impact {
    touched: Touched,
    /// Pods that may be isolated now and were not, or the other way round.
    pods: BTreeSet<ObjectKey>,
    /// Addresses that may have other subjects, or subjects with other signatures.
    addresses: BTreeSet<IpAddr>,
    /// Policies that changed, or that are set aside now, or are not any longer.
    policies: BTreeSet<ObjectKey>,
}

impl Engine {
    /// An engine with an empty snapshot.
    pub fn new(options: Options) -> Self {
        Self {
            forward: Output::new(&Place::forward(), &options),
            binding: Binding::new(&Place::forward()),
            options,
            cluster: ClusterIndex::default(),
            port_names: PortNames::default(),
            diagnostics: BTreeMap::new(),
        }
    }

    /// What it compiles for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The last snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        self.cluster.snapshot()
    }

    /// The last network.
    pub fn network(&self) -> &NodeNetwork {
        self.binding.network()
    }

    /// What the last snapshot compiles to.
    pub fn compiled(&self) -> &Compiled {
        &self.forward.compiled
    }

    /// What each set of the table represents that rules of policies look into, by name.
    pub fn set_sources(&self) -> &Sources {
        self.forward.set_sources()
    }

    /// Goes on to a snapshot and a network, at the cost of their difference from
    /// the last ones (see [`Snapshot::diff`]).
    pub fn update(&mut self, snapshot: &Snapshot, network: &NodeNetwork) -> &Compiled {
        let diff = self.snapshot().diff(snapshot);
        let touched = self.touched(snapshot, &diff);
        let before = self.cluster.follow(snapshot, &diff);
        let (pods, addresses) = self.affected(&before, &diff);
        let renamed = self.follow_port_names(&before, &diff);
        let impact = Impact { touched, pods, addresses, policies: diff.policies };
        self.recompile(&impact);
        self.bind(network, &before, &diff.pods, &impact.pods);
        self.diagnose(renamed)
    }

    /// Sets these policies aside, and no others.
    pub fn set_aside(&mut self, policies: BTreeSet<ObjectKey>) -> &Compiled {
        let before = std::mem::replace(&mut self.options.set_aside, policies);
        let now = &self.options.set_aside;
        let changed: BTreeSet<ObjectKey> = before.symmetric_difference(now).cloned().collect();
        self.recompile(&Impact { policies: changed.clone(), ..Impact::default() });
        self.diagnose(changed)
    }

    fn recompile(&mut self, impact: &Impact) {
        let input = Input { cluster: &self.cluster, options: &self.options };
        self.forward.update(input, impact);
    }

    /// Binds pods to their interfaces. `changed`: pods that changed since `before`.
    /// `affected`: those that may be isolated now and were not, or the reverse.
    fn bind(
        &mut self,
        network: &NodeNetwork,
        before: &Snapshot,
        changed: &BTreeSet<ObjectKey>,
        affected: &BTreeSet<ObjectKey>,
    ) {
        let snapshots = [before, self.cluster.snapshot()];
        let pods = changed.iter().map(|key| snapshots.map(|one| one.pods.get(key).cloned()));
        let change = Change { network, pods: &pods.collect::<Vec<_>>(), affected };
        let (isolated, compiled) = self.forward.parts();
        self.binding.update(&change, |pod| isolated.contains(pod), compiled);
    }

    /// The addresses of changed pods, old and new, and of all pods in changed
    /// namespaces.
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

    /// The local pods whose signatures may have changed, and the addresses that may be
    /// judged in another way.
    fn affected(
        &self,
        before: &Snapshot,
        diff: &SnapshotDiff,
    ) -> (BTreeSet<ObjectKey>, BTreeSet<IpAddr>) {
        let node = self.options.node.as_deref();
        let (mut pods, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        let snapshots = [before, self.snapshot()];
        for key in &diff.pods {
            for pod in snapshots.iter().filter_map(|one| one.pods.get(key)) {
                if pod.is_on(node) {
                    pods.insert(key.clone());
                    addresses.extend(&pod.addresses);
                }
            }
        }
        for address in &diff.kept {
            let kept = snapshots.iter().filter_map(|one| one.kept.get(address));
            pods.extend(kept.map(|kept| kept.pod.key.clone()));
            addresses.insert(*address);
        }
        for policy in
            diff.policies.iter().flat_map(|key| snapshots.map(|one| one.policies.get(key)))
        {
            let selected = policy.into_iter().flat_map(|policy| self.cluster.selected_by(policy));
            for pod in selected.filter(|pod| pod.is_on(node)) {
                pods.insert(pod.key.clone());
                addresses.extend(&pod.addresses);
            }
            let kept = policy.into_iter().flat_map(|policy| self.cluster.kept_by(policy));
            for (address, pod) in kept {
                pods.insert(pod.key.clone());
                addresses.insert(address);
            }
        }
        (pods, addresses)
    }

    /// Updates the counts of port names. Returns the policies whose warnings may
    /// have changed.
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

    /// Updates the warnings of these policies, and of policies that came into use
    /// or went out of use since the last call.
    fn diagnose(&mut self, mut policies: BTreeSet<ObjectKey>) -> &Compiled {
        policies.append(&mut self.forward.take_news());
        let mut is_news = false;
        for key in policies {
            let listed =
                self.forward.judges_ingress_by(&key) && !self.options.set_aside.contains(&key);
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
            let all = self.diagnostics.values().flatten().cloned();
            self.forward.compiled.diagnostics = all.collect();
        }
        &self.forward.compiled
    }
}
