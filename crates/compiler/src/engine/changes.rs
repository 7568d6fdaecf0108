//! What differs between two snapshots, object by object.
//!
//! In: two snapshots. Out: each object that differs, as it was and as it is. Never: a
//! copy of a key or an object, or a look-up of one.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::{Kept, NetworkPolicy, ObjectKey, Pod, Snapshot};

/// The differences.
pub(crate) struct Changes<'a> {
    /// The later snapshot.
    pub after: &'a Snapshot,
    /// Pods, in order.
    pub pods: Vec<Changed<'a, ObjectKey, Pod>>,
    /// Policies, in order.
    pub policies: Vec<Changed<'a, ObjectKey, NetworkPolicy>>,
    /// What is kept of addresses, in order.
    pub kept: Vec<Changed<'a, IpAddr, Kept>>,
    /// Names of namespaces.
    pub namespaces: Vec<&'a str>,
}

/// An object that differs.
pub(crate) struct Changed<'a, K, V> {
    pub key: &'a K,
    /// As it was, if it was there.
    pub before: Option<&'a Arc<V>>,
    /// As it is, if it is there.
    pub after: Option<&'a Arc<V>>,
}

impl<'a> Changes<'a> {
    /// The cost is that of the change (see [`Snapshot::diff`]).
    pub fn between(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let namespaces = differing(&before.namespaces, &after.namespaces);
        Self {
            after,
            pods: differing(&before.pods, &after.pods),
            policies: differing(&before.policies, &after.policies),
            kept: differing(&before.kept, &after.kept),
            namespaces: namespaces.into_iter().map(|one| one.key.as_str()).collect(),
        }
    }

    /// The keys of the policies.
    pub fn policy_keys(&self) -> BTreeSet<ObjectKey> {
        self.policies.iter().map(|policy| policy.key.clone()).collect()
    }
}

impl<'a, K, V> Changed<'a, K, V> {
    /// The object as it was and as it is.
    pub fn both(&self) -> impl Iterator<Item = &'a Arc<V>> + use<'a, K, V> {
        [self.before, self.after].into_iter().flatten()
    }
}

/// `Arc` compares pointers before values, because the objects are `Eq`.
fn differing<'a, K: Ord, V: Eq>(
    before: &'a OrdMap<K, Arc<V>>,
    after: &'a OrdMap<K, Arc<V>>,
) -> Vec<Changed<'a, K, V>> {
    let items = before.diff(after).map(|item| match item {
        DiffItem::Add(key, new) => Changed { key, before: None, after: Some(new) },
        DiffItem::Remove(key, old) => Changed { key, before: Some(old), after: None },
        DiffItem::Update { old: (_, old), new: (key, new) } => {
            Changed { key, before: Some(old), after: Some(new) }
        }
    });
    items.collect()
}
