//! Everything known about a cluster at one moment, and how two moments differ.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Kept, Labels, MultiNetworkPolicy, Namespace, NetworkPolicy, ObjectKey, Pod, PodPeer};

/// The objects that NetworkPolicy depends on.
///
/// The maps are persistent. A clone costs nothing and shares all that does not
/// change later, so it is the way to keep a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All policies.
    pub policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    /// All pods, ended and hostNetwork ones included.
    pub pods: OrdMap<ObjectKey, Arc<Pod>>,
    /// All namespaces by name.
    pub namespaces: OrdMap<String, Arc<Namespace>>,
    /// Addresses of this node that are isolated although no object of a local pod
    /// reports them.
    pub kept: OrdMap<IpAddr, Arc<Kept>>,
    /// All policies of networks beside the primary one. The table of the primary one does
    /// not depend on them, so they are no part of [`Snapshot::diff`].
    pub multi_policies: OrdMap<ObjectKey, Arc<MultiNetworkPolicy>>,
}

impl Snapshot {
    /// A snapshot of these objects. Of two with one key the later one is kept.
    pub fn new(
        policies: impl IntoIterator<Item = NetworkPolicy>,
        pods: impl IntoIterator<Item = Pod>,
        namespaces: impl IntoIterator<Item = Namespace>,
    ) -> Self {
        Self {
            policies: policies.into_iter().map(|one| (one.key.clone(), Arc::new(one))).collect(),
            pods: pods.into_iter().map(|one| (one.key.clone(), Arc::new(one))).collect(),
            namespaces: namespaces
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
            kept: OrdMap::new(),
            multi_policies: OrdMap::new(),
        }
    }

    /// The objects that differ between this snapshot and a later one.
    ///
    /// The cost is that of the change: parts of the maps that both snapshots
    /// share are skipped, and so is an object that both share. Other objects
    /// are compared by value, so an equal copy is no difference.
    pub fn diff(&self, later: &Self) -> SnapshotDiff {
        SnapshotDiff {
            policies: differing(&self.policies, &later.policies),
            pods: differing(&self.pods, &later.pods),
            namespaces: differing(&self.namespaces, &later.namespaces),
            kept: differing(&self.kept, &later.kept),
        }
    }

    /// Whether this is the very same snapshot, by its maps. Equal copies are not.
    pub fn is_same(&self, other: &Self) -> bool {
        self.policies.ptr_eq(&other.policies)
            && self.pods.ptr_eq(&other.pods)
            && self.namespaces.ptr_eq(&other.namespaces)
            && self.kept.ptr_eq(&other.kept)
    }

    /// Becomes a later snapshot that shares nothing with this one. Objects that
    /// are equal in both stay the same objects, so that the copies go.
    pub fn follow(&mut self, later: &Self) {
        let SnapshotDiff { policies, pods, namespaces, kept } = self.diff(later);
        put(&mut self.policies, &later.policies, policies);
        put(&mut self.pods, &later.pods, pods);
        put(&mut self.namespaces, &later.namespaces, namespaces);
        put(&mut self.kept, &later.kept, kept);
        self.multi_policies = later.multi_policies.clone();
    }

    /// The labels of a namespace, `None` while it is unknown. No
    /// `namespaceSelector` matches an unknown namespace, not even `{}`.
    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name).map(|namespace| &namespace.labels)
    }

    /// Whether a policy selects a pod.
    pub fn selects(&self, policy: &NetworkPolicy, pod: &Pod) -> bool {
        pod.is_subject()
            && pod.key.namespace == policy.key.namespace
            && policy.pod_selector.matches(&pod.labels)
    }

    /// Whether a peer of a policy in `policy_namespace` selects a pod.
    pub fn peer_selects(&self, peer: &PodPeer, policy_namespace: &str, pod: &Pod) -> bool {
        let namespace_matches = match &peer.namespaces {
            None => pod.key.namespace == policy_namespace,
            Some(selector) => self
                .namespace_labels(&pod.key.namespace)
                .is_some_and(|labels| selector.matches(labels)),
        };
        pod.is_subject() && namespace_matches && peer.pods.matches(&pod.labels)
    }
}

/// Takes the values of some keys over from a later map.
fn put<K: Ord + Clone, V>(
    map: &mut OrdMap<K, Arc<V>>,
    later: &OrdMap<K, Arc<V>>,
    keys: BTreeSet<K>,
) {
    for key in keys {
        match later.get(&key) {
            Some(value) => drop(map.insert(key, Arc::clone(value))),
            None => drop(map.remove(&key)),
        }
    }
}

/// Objects that were added, removed or modified from one snapshot to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotDiff {
    /// Policies.
    pub policies: BTreeSet<ObjectKey>,
    /// Pods.
    pub pods: BTreeSet<ObjectKey>,
    /// Namespaces, by name.
    pub namespaces: BTreeSet<String>,
    /// What is kept, by address.
    pub kept: BTreeSet<IpAddr>,
}

impl SnapshotDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
            && self.pods.is_empty()
            && self.namespaces.is_empty()
            && self.kept.is_empty()
    }
}

/// The keys whose values differ. `Arc` compares pointers before values, because
/// the objects are `Eq`.
pub(crate) fn differing<K: Ord + Clone, V: Eq>(
    before: &OrdMap<K, Arc<V>>,
    later: &OrdMap<K, Arc<V>>,
) -> BTreeSet<K> {
    let items = before.diff(later).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key,
        DiffItem::Update { new: (key, _), .. } => key,
    });
    items.cloned().collect()
}

#[cfg(test)]
mod tests;
