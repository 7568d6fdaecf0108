//! Which objects differ between two snapshots.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{ObjectKey, Snapshot};

/// Objects that came, went or differ. One too many costs time, nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Policies.
    pub policies: BTreeSet<ObjectKey>,
    /// Pods.
    pub pods: BTreeSet<ObjectKey>,
    /// Namespaces, by name.
    pub namespaces: BTreeSet<String>,
}

impl Changed {
    /// What differs. An object that both share is not looked into.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        Self {
            policies: differing(&before.policies, &after.policies),
            pods: differing(&before.pods, &after.pods),
            namespaces: differing(&before.namespaces, &after.namespaces),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.pods.is_empty() && self.namespaces.is_empty()
    }
}

/// The keys whose values are not equal.
fn differing<K: Ord + Clone, V: PartialEq>(
    before: &BTreeMap<K, Arc<V>>,
    after: &BTreeMap<K, Arc<V>>,
) -> BTreeSet<K> {
    let mut keys = BTreeSet::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return keys,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            // One object has one key.
            (Some((_, one)), Some((_, other))) if Arc::ptr_eq(one, other) => {
                before.next();
                after.next();
                continue;
            }
            (Some((one, _)), Some((other, _))) => one.cmp(other),
        };
        let one = if order.is_le() { before.next() } else { None };
        let other = if order.is_ge() { after.next() } else { None };
        if one.map(|(_, value)| value) != other.map(|(_, value)| value) {
            keys.extend(one.or(other).map(|(key, _)| key.clone()));
        }
    }
}
