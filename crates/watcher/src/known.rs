//! The objects that are known already, for the reader of a list that comes again.
//!
//! A list again brings a copy of every object, and nearly all are unchanged. The
//! reader puts the known object in place of an equal copy, one by one, so that a
//! list again needs no memory for a second cluster. Pods with equal labels share them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy::Snapshot;

use crate::Object;
use crate::recent::RecentLabels;

/// A snapshot that one thread keeps up to date and others look into.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    snapshot: Snapshot,
    labels: RecentLabels,
}

impl Known {
    /// These are the known objects now. Costs nothing: maps are shared.
    pub fn set(&self, snapshot: &Snapshot) {
        self.shared().snapshot = snapshot.clone();
    }

    /// The known object if it equals this one, else this one.
    pub fn share(&self, object: Object) -> Object {
        let Shared { snapshot, labels } = &mut *self.shared();
        match object {
            Object::NetworkPolicy(new) => {
                let known = snapshot.policies.get(&new.key).filter(|known| **known == new);
                Object::NetworkPolicy(known.cloned().unwrap_or(new))
            }
            Object::Pod(mut new) => {
                if let Some(known) = snapshot.pods.get(&new.key).filter(|known| **known == new) {
                    return Object::Pod(Arc::clone(known));
                }
                // It was just made, so nobody else has it.
                if let Some(new) = Arc::get_mut(&mut new) {
                    labels.share(&mut new.labels);
                }
                Object::Pod(new)
            }
            Object::Namespace(new) => {
                let known = snapshot.namespaces.get(&new.name).filter(|known| **known == new);
                Object::Namespace(known.cloned().unwrap_or(new))
            }
            Object::MultiNetworkPolicy(new) => {
                let known = snapshot.multi_policies.get(&new.policy.key);
                let known = known.filter(|known| **known == new);
                Object::MultiNetworkPolicy(known.cloned().unwrap_or(new))
            }
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use policy::{Labels, Namespace};

    use super::*;

    fn namespace(label: &str) -> Arc<Namespace> {
        let labels = Labels::from([("label".to_owned(), label.to_owned())]);
        Arc::new(Namespace {
            name: "a".to_owned(),
            labels,
            is_ending: false,
            switch: Default::default(),
        })
    }

    fn shared(known: &Known, namespace: &Arc<Namespace>) -> Arc<Namespace> {
        match known.share(Object::Namespace(Arc::clone(namespace))) {
            Object::Namespace(shared) => shared,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_equal_object_is_the_known_one_and_another_stays() {
        let known = Known::default();
        let first = namespace("same");
        assert!(Arc::ptr_eq(&shared(&known, &first), &first), "nothing is known");
        let mut snapshot = Snapshot::default();
        snapshot.namespaces.insert("a".to_owned(), Arc::clone(&first));
        known.set(&snapshot);
        assert!(Arc::ptr_eq(&shared(&known, &namespace("same")), &first));
        let other = namespace("other");
        assert!(Arc::ptr_eq(&shared(&known, &other), &other));
        known.set(&Snapshot::default());
        let copy = namespace("same");
        assert!(Arc::ptr_eq(&shared(&known, &copy), &copy), "it is gone");
    }
}
