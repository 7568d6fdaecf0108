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
pub(crate) mod changes;
mod in_use;
mod inside;
mod ledger;
mod members;
mod output;
mod port_names;
pub(crate) mod selector_index;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::{Diagnostic, NodeNetwork, ObjectKey, Pod, Severity, Snapshot};

use crate::budget::Budgets;
use crate::naming::Naming;
use crate::sets::Sources;
use crate::{ClusterIndex, Compiled, Options, Place, Usage};
use binding::{Binding, Change};
use changes::Changes;
use inside::Surroundings;
use output::Output;
use port_names::PortNames;
pub use shared::SharedAddress;

/// Compiles one snapshot after the other for one node.
#[derive(Debug)]
pub struct Engine {
    place: Place,
    options: Options,
    cluster: ClusterIndex,
    port_names: PortNames,
    /// The warnings, by policy. A policy without warnings has no entry.
    diagnostics: BTreeMap<ObjectKey, Vec<Diagnostic>>,
    /// The output for the place of the policies: the forward hook, or a pod's namespace.
    forward: Output,
    /// The binding of pods to their interfaces.
    binding: Binding,
    /// What is around the pod in whose namespace the table is.
    inside: Option<Surroundings>,
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
        Self::built(Place::forward(), options, Naming::default())
    }

    /// The same with other names of sets. For tests: with short tags, sets share them.
    pub fn with_naming(options: Options, naming: Naming) -> Self {
        Self::built(Place::forward(), options, naming)
    }

    /// One for another place.
    pub fn at(place: Place, options: Options) -> Self {
        Self::built(place, options, Naming::default())
    }

    fn built(place: Place, options: Options, naming: Naming) -> Self {
        Self {
            forward: Output::new(&place, &options, naming),
            binding: Binding::new(&Place::forward(), options.log),
            inside: place.pod.is_some().then(Surroundings::default),
            place,
            options,
            cluster: ClusterIndex::default(),
            port_names: PortNames::default(),
            diagnostics: BTreeMap::new(),
        }
    }

    /// Where its table is.
    pub fn place(&self) -> &Place {
        &self.place
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
        match &self.inside {
            Some(inside) => inside.network(),
            None => self.binding.network(),
        }
    }

    /// What the last snapshot compiles to.
    pub fn compiled(&self) -> &Compiled {
        &self.forward.compiled
    }

    /// What each set of the table represents that rules of policies look into, by name.
    pub fn set_sources(&self) -> &Sources {
        self.forward.set_sources()
    }

    /// What is used of the budgets.
    pub fn usage(&self) -> Usage {
        self.forward.usage()
    }

    /// The policies that isolate and allow nothing, whatever their rules say: those that
    /// are set aside, and those that find no room in the budgets.
    pub fn without_rules(&self) -> BTreeSet<ObjectKey> {
        let over_budget = &*self.forward.compiled.over_budget;
        self.options.set_aside.union(over_budget).cloned().collect()
    }

    /// Goes on to a snapshot and a network, at the cost of their difference from
    /// the last ones (see [`Snapshot::diff`]).
    pub fn update(&mut self, snapshot: &Snapshot, network: &NodeNetwork) -> &Compiled {
        let before = self.snapshot().clone();
        let changes = Changes::between(&before, snapshot);
        let touched = self.touched(&changes);
        self.forward.leave(&touched, &self.cluster);
        self.cluster.follow(&changes);
        let (pods, addresses) = self.affected(&changes);
        let renamed = self.follow_port_names(&changes);
        let impact = Impact { touched, pods, addresses, policies: changes.policy_keys() };
        self.recompile(&impact);
        self.bind(network, &changes, &impact);
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

    /// Binds pods to their interfaces.
    fn bind(&mut self, network: &NodeNetwork, changes: &Changes<'_>, impact: &Impact) {
        if let Some(inside) = &mut self.inside {
            let (shut, compiled) = self.forward.inside_parts();
            return inside.update(network, &self.cluster, &self.options, shut, compiled);
        }
        let Impact { pods, addresses, .. } = impact;
        let change = Change { network, objects: changes, pods, addresses };
        let (isolated, has_audits, compiled) = self.forward.parts();
        self.binding.update(&change, isolated, has_audits, compiled);
    }

    /// The addresses of changed pods, old and new, and of all pods in changed
    /// namespaces.
    fn touched(&self, changes: &Changes<'_>) -> Touched {
        let pods = changes.pods.iter().flat_map(|pod| pod.both()).map(|pod| &**pod);
        let in_namespaces = changes.namespaces.iter().flat_map(|name| self.cluster.pods_of(name));
        pods.filter(|pod| pod.is_subject())
            .chain(in_namespaces)
            .flat_map(|pod| &pod.addresses)
            .map(|&address| (address, self.cluster.owner(address).cloned()))
            .collect()
    }

    /// The local pods whose signatures may have changed, and the addresses that may be
    /// judged in another way.
    fn affected(&self, changes: &Changes<'_>) -> (BTreeSet<ObjectKey>, BTreeSet<IpAddr>) {
        let node = self.options.node.as_deref();
        let (mut pods, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for changed in &changes.pods {
            for pod in changed.both().filter(|pod| pod.is_on(node)) {
                pods.insert(changed.key.clone());
                addresses.extend(&pod.addresses);
            }
        }
        for changed in &changes.kept {
            pods.extend(changed.both().map(|kept| kept.pod.key.clone()));
            addresses.insert(*changed.key);
        }
        for policy in changes.policies.iter().flat_map(|policy| policy.both()) {
            let selected = self.cluster.selected_by(policy);
            for pod in selected.filter(|pod| pod.is_on(node)) {
                pods.insert(pod.key.clone());
                addresses.extend(&pod.addresses);
            }
            for (address, pod) in self.cluster.kept_by(policy) {
                pods.insert(pod.key.clone());
                addresses.insert(address);
            }
        }
        (pods, addresses)
    }

    /// Updates the counts of port names. Returns the policies whose warnings may
    /// have changed.
    fn follow_port_names(&mut self, changes: &Changes<'_>) -> BTreeSet<ObjectKey> {
        let mut policies = changes.policy_keys();
        for policy in &policies {
            self.port_names.forget(policy);
        }
        for pod in &changes.pods {
            let before_and_after = (pod.before.map(|pod| &**pod), pod.after.map(|pod| &**pod));
            policies.extend(self.port_names.follow(pod.key, before_and_after, changes.after));
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
            let policy = self.cluster.snapshot().policies.get(&key);
            let found = match self.forward.is_beyond(&key) {
                true => Some(vec![over_budget(&key, &self.options.budgets)]),
                false => {
                    let policy = policy.filter(|_| listed);
                    policy.map(|policy| self.port_names.diagnose(policy, &self.cluster))
                }
            };
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

/// What to say about a policy that finds no room.
pub fn over_budget(policy: &ObjectKey, budgets: &Budgets) -> Diagnostic {
    let namespace = &policy.namespace;
    let Budgets { node, namespace: of_namespace } = budgets;
    Diagnostic {
        severity: Severity::Error,
        kind: "NetworkPolicy",
        object: policy.clone(),
        field: String::new(),
        message: format!(
            "it finds no room in the budget of namespace {namespace} ({of_namespace}) or in its \
             share of the node's ({node}); its pods stay isolated and it allows nothing. Use \
             fewer or simpler policies, or raise --namespace-budget or --node-budget"
        ),
    }
}
