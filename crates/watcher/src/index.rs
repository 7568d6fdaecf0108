//! What is known about the cluster now, and what an event changed.
//!
//! In: converted objects as they come, go, or are listed anew.
//! Out: a [`Snapshot`] and, for each call, the objects that differ from before.
//! The snapshot depends only on the objects last told, never on the order in
//! which they came.
//! Never: an `await`, I/O, clocks, or objects that nobody told (a Namespace
//! that is not known yet stays unknown).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{Namespace, NetworkPolicy, ObjectKey, Pod, Snapshot};

use crate::{Kind, Object};

/// The present objects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Index {
    snapshot: Snapshot,
}

/// One object before and after a call; `None` where it did not exist. Before
/// and after are never equal.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A NetworkPolicy.
    NetworkPolicy {
        /// Namespace and name.
        key: ObjectKey,
        /// What it was.
        before: Option<Arc<NetworkPolicy>>,
        /// What it is.
        after: Option<Arc<NetworkPolicy>>,
    },
    /// A Pod.
    Pod {
        /// Namespace and name.
        key: ObjectKey,
        /// What it was.
        before: Option<Arc<Pod>>,
        /// What it is.
        after: Option<Arc<Pod>>,
    },
    /// A Namespace.
    Namespace {
        /// An empty namespace, and the name.
        key: ObjectKey,
        /// What it was.
        before: Option<Arc<Namespace>>,
        /// What it is.
        after: Option<Arc<Namespace>>,
    },
}

/// An index of complete lists of every kind.
impl FromIterator<Object> for Index {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut index = Self::default();
        for object in objects {
            index.apply(object);
        }
        index
    }
}

impl Index {
    /// Everything that is known now.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// An object was added or modified. Empty if it says what was known.
    pub fn apply(&mut self, object: Object) -> Vec<Change> {
        let snapshot = &mut self.snapshot;
        let change = match object {
            Object::NetworkPolicy(new) => {
                put(&mut snapshot.policies, new.key.clone(), new).map(policy_change)
            }
            Object::Pod(new) => put(&mut snapshot.pods, new.key.clone(), new).map(pod_change),
            Object::Namespace(new) => {
                put(&mut snapshot.namespaces, new.name.clone(), new).map(namespace_change)
            }
        };
        change.into_iter().collect()
    }

    /// An object was deleted. Empty if it was not known.
    pub fn delete(&mut self, kind: Kind, key: &ObjectKey) -> Vec<Change> {
        let snapshot = &mut self.snapshot;
        let change = match kind {
            Kind::NetworkPolicy => take(&mut snapshot.policies, key.clone()).map(policy_change),
            Kind::Pod => take(&mut snapshot.pods, key.clone()).map(pod_change),
            Kind::Namespace => {
                take(&mut snapshot.namespaces, key.name.clone()).map(namespace_change)
            }
        };
        change.into_iter().collect()
    }

    /// The complete list of a kind: what is not in it is deleted. Of two
    /// objects with one key the later one stays; objects of other kinds do
    /// not belong in the list and are ignored. Changes come in key order.
    pub fn reset(&mut self, kind: Kind, objects: Vec<Object>) -> Vec<Change> {
        let mut listed = Snapshot::default();
        for object in objects {
            match object {
                Object::NetworkPolicy(new) => {
                    listed.policies.insert(new.key.clone(), new);
                }
                Object::Pod(new) => {
                    listed.pods.insert(new.key.clone(), new);
                }
                Object::Namespace(new) => {
                    listed.namespaces.insert(new.name.clone(), new);
                }
            }
        }
        let snapshot = &mut self.snapshot;
        match kind {
            Kind::NetworkPolicy => {
                replace(&mut snapshot.policies, listed.policies).map(policy_change).collect()
            }
            Kind::Pod => replace(&mut snapshot.pods, listed.pods).map(pod_change).collect(),
            Kind::Namespace => {
                replace(&mut snapshot.namespaces, listed.namespaces).map(namespace_change).collect()
            }
        }
    }
}

/// A key with its value before and after.
type Difference<K, V> = (K, Option<Arc<V>>, Option<Arc<V>>);

fn put<K: Ord + Clone, V: PartialEq>(
    map: &mut BTreeMap<K, Arc<V>>,
    key: K,
    new: Arc<V>,
) -> Option<Difference<K, V>> {
    if map.get(&key) == Some(&new) {
        return None;
    }
    let before = map.insert(key.clone(), Arc::clone(&new));
    Some((key, before, Some(new)))
}

fn take<K: Ord, V>(map: &mut BTreeMap<K, Arc<V>>, key: K) -> Option<Difference<K, V>> {
    let before = map.remove(&key)?;
    Some((key, Some(before), None))
}

fn replace<K: Ord + Clone, V: PartialEq>(
    map: &mut BTreeMap<K, Arc<V>>,
    new: BTreeMap<K, Arc<V>>,
) -> impl Iterator<Item = Difference<K, V>> {
    let keys: BTreeSet<K> = map.keys().chain(new.keys()).cloned().collect();
    let old = std::mem::replace(map, new);
    keys.into_iter().filter_map(move |key| {
        let (before, after) = (old.get(&key).cloned(), map.get(&key).cloned());
        (before != after).then_some((key, before, after))
    })
}

fn policy_change((key, before, after): Difference<ObjectKey, NetworkPolicy>) -> Change {
    Change::NetworkPolicy { key, before, after }
}

fn pod_change((key, before, after): Difference<ObjectKey, Pod>) -> Change {
    Change::Pod { key, before, after }
}

fn namespace_change((name, before, after): Difference<String, Namespace>) -> Change {
    Change::Namespace { key: ObjectKey::new("", name), before, after }
}

#[cfg(test)]
mod tests;
