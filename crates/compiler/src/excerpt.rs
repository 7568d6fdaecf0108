//! Excerpts: the part of a cluster that the table in one pod's namespace depends on.
//!
//! In: a snapshot, then each later one; the pods that need an excerpt. Out: for each of these
//! a small [`Snapshot`] from which an engine compiles the same table as from the whole.
//! Never: a result that depends on earlier snapshots. `meaning_inside` compares excerpts with
//! those made from scratch, and the tables with those of the whole cluster.
//!
//! A node can have a hundred such pods, and each has an engine. With the whole cluster in
//! each engine, the cluster's index is there a hundred times. Here it is there once.
//!
//! An excerpt of a pod has
//!
//! * the pod, and the policies that select it;
//! * the pods that a peer of these policies selects, and those with a port of a name that an
//!   egress rule allows everywhere;
//! * the pods that report an address of one of these, or of the pod's node: they decide
//!   whose the address is (see [`policy::takes_precedence`]);
//! * the namespaces of all these pods; and what is kept.
//!
//! If a peer selects all pods, that is all pods and namespaces.
//!
//! ```text
//! changed pod -------+- the pods that report its addresses -> which excerpts read them:
//! changed namespace -+- its pods                              in or out
//! changed policy ----- excerpts of pods that it selects -> their interests that came or went
//!                                                       -> the pods of these: in or out
//! ```

mod interest;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::{NetworkPolicy, ObjectKey, Pod, Snapshot};

use crate::ClusterIndex;
use crate::engine::changes::Changes;
use interest::{Interest, Interests, interests_of};

/// The excerpts of the pods that need one.
#[derive(Debug, Default)]
pub struct Excerpts {
    node: Option<String>,
    cluster: ClusterIndex,
    interests: Interests,
    /// Of each address of the node, the pods with an excerpt that take it for that.
    of_node: BTreeMap<IpAddr, BTreeSet<ObjectKey>>,
    excerpts: BTreeMap<ObjectKey, Excerpt>,
}

/// The excerpt of one pod.
#[derive(Debug, Default)]
struct Excerpt {
    snapshot: Snapshot,
    interests: BTreeSet<Interest>,
    /// Addresses of the node that the pod's object does not name.
    given: BTreeSet<IpAddr>,
    /// All addresses of the node.
    node: BTreeSet<IpAddr>,
    /// A peer selects every pod: the maps of pods and namespaces are the cluster's, since a
    /// copy would be as large.
    has_all: bool,
}

impl Excerpts {
    /// Of a cluster without objects. Pods of this node are local; `None`: all are.
    pub fn of(node: Option<&str>) -> Self {
        Self { node: node.map(str::to_owned), ..Self::default() }
    }

    /// The excerpt of a pod that needs one.
    pub fn get(&self, pod: &ObjectKey) -> Option<&Snapshot> {
        self.excerpts.get(pod).map(|excerpt| &excerpt.snapshot)
    }

    /// This pod needs an excerpt from now on. `node`: addresses of its node, beside those
    /// that its object names.
    pub fn add(&mut self, pod: &ObjectKey, node: &BTreeSet<IpAddr>) {
        let excerpt = self.excerpts.entry(pod.clone()).or_default();
        excerpt.given.extend(node);
        excerpt.snapshot.kept = self.cluster.snapshot().kept.clone();
        let mut dirty = self.follow_pod(pod);
        let object = self.cluster.snapshot().pods.get(pod);
        let addresses = object.into_iter().flat_map(|pod| &pod.addresses).copied().collect();
        dirty.extend(self.reporters(&addresses));
        dirty.insert(pod.clone());
        self.judge(&dirty, std::slice::from_ref(pod));
        self.share();
    }

    /// Only these pods need one from now on.
    pub fn retain(&mut self, is_needed: impl Fn(&ObjectKey) -> bool) {
        let all: Vec<ObjectKey> = self.excerpts.keys().cloned().collect();
        all.iter().filter(|pod| !is_needed(pod)).for_each(|pod| self.remove(pod));
    }

    fn remove(&mut self, pod: &ObjectKey) {
        let Some(excerpt) = self.excerpts.remove(pod) else { return };
        for interest in &excerpt.interests {
            self.interests.remove(interest, pod);
        }
        for address in excerpt.node {
            self.leave_node(address, pod);
        }
    }

    /// Goes on to a later snapshot. The cost is that of the difference, for each excerpt.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let before = self.cluster.snapshot().clone();
        let changes = Changes::between(&before, snapshot);
        self.cluster.follow(&changes);
        let pods = changes.pods.iter().flat_map(|pod| pod.both());
        let touched: BTreeSet<IpAddr> = pods.flat_map(|pod| &pod.addresses).copied().collect();
        let mut dirty = self.reporters(&touched);
        dirty.extend(changes.pods.iter().map(|pod| pod.key.clone()));
        for name in &changes.namespaces {
            let pods: Vec<&Pod> = self.cluster.pods_of(name).collect();
            let addresses = pods.iter().flat_map(|pod| &pod.addresses).copied().collect();
            dirty.extend(pods.iter().map(|pod| pod.key.clone()));
            dirty.extend(self.reporters(&addresses));
        }
        for name in &changes.namespaces {
            self.follow_namespace(name);
        }
        let all: Vec<ObjectKey> = self.excerpts.keys().cloned().collect();
        let changed_pods: BTreeSet<&ObjectKey> = changes.pods.iter().map(|pod| pod.key).collect();
        let policies = changes.policies.iter();
        let of_policies: BTreeSet<&str> =
            policies.map(|policy| policy.key.namespace.as_str()).collect();
        for pod in &all {
            if changed_pods.contains(pod) || of_policies.contains(pod.namespace.as_str()) {
                let own = self.follow_pod(pod);
                self.judge(&own, std::slice::from_ref(pod));
            }
        }
        self.judge(&dirty, &all);
        self.share();
        if !changes.kept.is_empty() {
            let excerpts = self.excerpts.values_mut();
            excerpts.for_each(|one| one.snapshot.kept = snapshot.kept.clone());
        }
    }

    /// Gives the cluster's maps to the excerpts that have all of it.
    fn share(&mut self) {
        let whole = self.cluster.snapshot();
        for excerpt in self.excerpts.values_mut().filter(|one| one.has_all) {
            excerpt.snapshot.pods = whole.pods.clone();
            excerpt.snapshot.namespaces = whole.namespaces.clone();
        }
    }

    /// Takes in a pod with an excerpt, and which policies select it. Returns the pods that
    /// may be read or not for other reasons now.
    fn follow_pod(&mut self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let mut dirty = self.follow_node(key);
        dirty.extend(self.follow_policies(key));
        dirty
    }

    fn follow_node(&mut self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let pod = self.cluster.snapshot().pods.get(key);
        let Some(excerpt) = self.excerpts.get_mut(key) else { return BTreeSet::new() };
        let hosts = pod.into_iter().flat_map(|pod| &pod.host_addresses);
        let node: BTreeSet<IpAddr> = hosts.chain(&excerpt.given).copied().collect();
        let before = std::mem::replace(&mut excerpt.node, node.clone());
        let changed: BTreeSet<IpAddr> = before.symmetric_difference(&node).copied().collect();
        for address in &changed {
            match node.contains(address) {
                true => drop(self.of_node.entry(*address).or_default().insert(key.clone())),
                false => self.leave_node(*address, key),
            }
        }
        self.reporters(&changed)
    }

    fn leave_node(&mut self, address: IpAddr, pod: &ObjectKey) {
        let Some(pods) = self.of_node.get_mut(&address) else { return };
        pods.remove(pod);
        if pods.is_empty() {
            self.of_node.remove(&address);
        }
    }

    fn follow_policies(&mut self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let whole = self.cluster.snapshot();
        let pod = whole.pods.get(key).filter(|pod| self.is_local(pod));
        let policies = pod.into_iter().flat_map(|pod| self.cluster.policies_of(pod));
        let policies: BTreeMap<&ObjectKey, &Arc<NetworkPolicy>> =
            policies.filter_map(|policy| whole.policies.get_key_value(&policy.key)).collect();
        let interests: BTreeSet<Interest> =
            policies.values().flat_map(|one| interests_of(one)).collect();
        let Some(excerpt) = self.excerpts.get_mut(key) else { return BTreeSet::new() };
        let own = &mut excerpt.snapshot.policies;
        let gone: Vec<ObjectKey> =
            own.keys().filter(|policy| !policies.contains_key(policy)).cloned().collect();
        gone.iter().for_each(|policy| drop(own.remove(policy)));
        for (policy, content) in policies {
            if own.get(policy) != Some(content) {
                own.insert(policy.clone(), Arc::clone(content));
            }
        }
        let before = std::mem::replace(&mut excerpt.interests, interests.clone());
        let mut dirty = BTreeSet::new();
        let has_all = interests.iter().any(Interest::is_everyone);
        if std::mem::replace(&mut excerpt.has_all, has_all) && !has_all {
            excerpt.snapshot.pods = Default::default();
            excerpt.snapshot.namespaces = Default::default();
            dirty.extend(whole.pods.keys().cloned());
        }
        for interest in before.symmetric_difference(&interests) {
            match interests.contains(interest) {
                true => self.interests.add(interest, key),
                false => self.interests.remove(interest, key),
            }
            let pods = interest.pods(&self.cluster);
            let addresses = pods.iter().flat_map(|pod| &pod.addresses).copied().collect();
            dirty.extend(pods.iter().map(|pod| pod.key.clone()));
            dirty.extend(self.reporters(&addresses));
        }
        dirty
    }

    /// Takes these pods into the excerpts of these owners, or out of them.
    fn judge(&mut self, pods: &BTreeSet<ObjectKey>, owners: &[ObjectKey]) {
        for key in pods {
            let Some(pod) = self.cluster.snapshot().pods.get(key).cloned() else {
                owners.iter().for_each(|owner| self.take_out(owner, key));
                continue;
            };
            let readers = self.readers(&pod);
            let reads = |owner: &&ObjectKey| readers.iter().any(|some| some.has(owner));
            let (reading, others): (Vec<&ObjectKey>, Vec<_>) = owners.iter().partition(reads);
            for owner in reading {
                self.take_in(owner, &pod);
            }
            for owner in others {
                self.take_out(owner, key);
            }
        }
    }

    fn take_in(&mut self, of: &ObjectKey, pod: &Arc<Pod>) {
        let name = &pod.key.namespace;
        let namespace = self.cluster.snapshot().namespaces.get(name);
        let excerpt = self.excerpts.get_mut(of).filter(|excerpt| !excerpt.has_all);
        let Some(excerpt) = excerpt else { return };
        let Snapshot { pods, namespaces, .. } = &mut excerpt.snapshot;
        // An equal entry that is written again would be a difference to look at.
        if pods.get(&pod.key) != Some(pod) {
            pods.insert(pod.key.clone(), Arc::clone(pod));
        }
        if let Some(namespace) = namespace
            && !namespaces.contains_key(name)
        {
            namespaces.insert(name.clone(), Arc::clone(namespace));
        }
    }

    fn take_out(&mut self, of: &ObjectKey, pod: &ObjectKey) {
        let Some(excerpt) = self.excerpts.get_mut(of) else { return };
        // A map from which nothing is removed would still be another one afterwards.
        if excerpt.has_all || !excerpt.snapshot.pods.contains_key(pod) {
            return;
        }
        excerpt.snapshot.pods.remove(pod);
        if !excerpt.has_namespace(&pod.namespace) {
            excerpt.snapshot.namespaces.remove(&pod.namespace);
        }
    }

    fn follow_namespace(&mut self, name: &str) {
        let found = self.cluster.snapshot().namespaces.get(name);
        for excerpt in self.excerpts.values_mut().filter(|one| one.has_namespace(name)) {
            let namespaces = &mut excerpt.snapshot.namespaces;
            match found {
                Some(namespace) => drop(namespaces.insert(name.to_owned(), Arc::clone(namespace))),
                None => drop(namespaces.remove(name)),
            }
        }
    }

    /// The pods in whose excerpts this one is.
    fn readers<'a>(&'a self, pod: &'a Pod) -> Vec<Readers<'a>> {
        let mut readers = vec![Readers::One(&pod.key)];
        if !pod.is_subject() {
            return readers;
        }
        readers.extend(self.interests.readers(pod, &self.cluster).map(Readers::All));
        for address in &pod.addresses {
            for other in self.cluster.reporters(*address).filter(|one| one.key != pod.key) {
                readers.push(Readers::One(&other.key));
                readers.extend(self.interests.readers(other, &self.cluster).map(Readers::All));
            }
            readers.extend(self.of_node.get(address).map(Readers::All));
        }
        readers
    }

    fn reporters(&self, addresses: &BTreeSet<IpAddr>) -> BTreeSet<ObjectKey> {
        let reporters = addresses.iter().flat_map(|one| self.cluster.reporters(*one));
        reporters.map(|pod| pod.key.clone()).collect()
    }

    fn is_local(&self, pod: &Pod) -> bool {
        pod.is_subject() && pod.is_on(self.node.as_deref())
    }
}

/// Pods that read another one.
#[derive(Clone, Copy)]
enum Readers<'a> {
    One(&'a ObjectKey),
    All(&'a BTreeSet<ObjectKey>),
}

impl Readers<'_> {
    fn has(self, pod: &ObjectKey) -> bool {
        match self {
            Self::One(one) => one == pod,
            Self::All(all) => all.contains(pod),
        }
    }
}

impl Excerpt {
    /// Whether it has a pod of this namespace.
    fn has_namespace(&self, name: &str) -> bool {
        let mut pods = self.snapshot.pods.range(ObjectKey::new(name, "")..);
        pods.next().is_some_and(|(key, _)| key.namespace == name)
    }
}

#[cfg(test)]
mod tests;
