//! The cluster's objects, as last received.
//!
//! In: converted objects that were added, modified, deleted or listed.
//! Out: a [`Snapshot`] of them. It depends only on the objects last received,
//! never on the order in which they came.
//! Never: an `await`, I/O, clocks, or an object that nobody sent (a Namespace
//! that is not known yet stays unknown).

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use policy::{ObjectKey, Snapshot};

use crate::{Kind, Object};

/// The present objects.
///
/// An object that equals the known one does not replace it: its pointer stays,
/// [`Snapshot::diff`] finds nothing, and the copy is dropped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Store {
    snapshot: Snapshot,
}

/// A store of complete lists of every kind.
impl FromIterator<Object> for Store {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut store = Self::default();
        for object in objects {
            store.apply(object);
        }
        store
    }
}

impl Store {
    /// Everything that is known now.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Stores an object that was added or modified. Returns whether it differs
    /// from what was known.
    pub fn apply(&mut self, object: Object) -> bool {
        let snapshot = &mut self.snapshot;
        match object {
            Object::NetworkPolicy(new) => put(&mut snapshot.policies, &new.key, &new),
            Object::Pod(new) => put(&mut snapshot.pods, &new.key, &new),
            Object::Namespace(new) => put(&mut snapshot.namespaces, &new.name, &new),
            Object::MultiNetworkPolicy(new) => {
                put(&mut snapshot.multi_policies, &new.policy.key, &new)
            }
        }
    }

    /// The object with this key.
    pub fn get(&self, kind: Kind, key: &ObjectKey) -> Option<Object> {
        let Snapshot { policies, pods, namespaces, kept: _, multi_policies } = &self.snapshot;
        match kind {
            Kind::NetworkPolicy => policies.get(key).cloned().map(Object::NetworkPolicy),
            Kind::Pod => pods.get(key).cloned().map(Object::Pod),
            Kind::Namespace => namespaces.get(&key.name).cloned().map(Object::Namespace),
            Kind::MultiNetworkPolicy => {
                multi_policies.get(key).cloned().map(Object::MultiNetworkPolicy)
            }
        }
    }

    /// Removes an object that was deleted. Returns whether it was known.
    pub fn delete(&mut self, kind: Kind, key: &ObjectKey) -> bool {
        let snapshot = &mut self.snapshot;
        match kind {
            Kind::NetworkPolicy => snapshot.policies.remove(key).is_some(),
            Kind::Pod => snapshot.pods.remove(key).is_some(),
            Kind::Namespace => snapshot.namespaces.remove(&key.name).is_some(),
            Kind::MultiNetworkPolicy => snapshot.multi_policies.remove(key).is_some(),
        }
    }

    /// Takes the complete list of a kind and removes what is not in it. Of two
    /// objects with one key the later one counts. Objects of other kinds are
    /// ignored. Returns whether anything changed.
    pub fn replace(&mut self, kind: Kind, objects: Vec<Object>) -> bool {
        let snapshot = &mut self.snapshot;
        match kind {
            Kind::NetworkPolicy => {
                let listed = objects.iter().filter_map(|object| match object {
                    Object::NetworkPolicy(policy) => Some((&policy.key, policy)),
                    _ => None,
                });
                replace(&mut snapshot.policies, listed.collect())
            }
            Kind::Pod => {
                let listed = objects.iter().filter_map(|object| match object {
                    Object::Pod(pod) => Some((&pod.key, pod)),
                    _ => None,
                });
                replace(&mut snapshot.pods, listed.collect())
            }
            Kind::Namespace => {
                let listed = objects.iter().filter_map(|object| match object {
                    Object::Namespace(namespace) => Some((&namespace.name, namespace)),
                    _ => None,
                });
                replace(&mut snapshot.namespaces, listed.collect())
            }
            Kind::MultiNetworkPolicy => {
                let listed = objects.iter().filter_map(|object| match object {
                    Object::MultiNetworkPolicy(one) => Some((&one.policy.key, one)),
                    _ => None,
                });
                replace(&mut snapshot.multi_policies, listed.collect())
            }
        }
    }
}

/// Stores a value unless an equal one is there. Returns whether it did.
fn put<K: Ord + Clone, V: Eq>(map: &mut OrdMap<K, Arc<V>>, key: &K, new: &Arc<V>) -> bool {
    let differs = map.get(key) != Some(new);
    if differs {
        map.insert(key.clone(), Arc::clone(new));
    }
    differs
}

fn replace<K: Ord + Clone, V: Eq>(
    map: &mut OrdMap<K, Arc<V>>,
    listed: BTreeMap<&K, &Arc<V>>,
) -> bool {
    let gone: Vec<K> = map.keys().filter(|key| !listed.contains_key(key)).cloned().collect();
    for key in &gone {
        map.remove(key);
    }
    let mut changed = !gone.is_empty();
    // Nodes of the tree that grow at their end stay half full. So every second object
    // comes first, and the others fill the gaps: that is half the memory.
    let (first, then): (Vec<_>, Vec<_>) =
        listed.into_iter().enumerate().partition(|(place, _)| place % 2 == 0);
    for (_, (key, new)) in first.into_iter().chain(then) {
        changed |= put(map, key, new);
    }
    changed
}

#[cfg(test)]
mod tests;
