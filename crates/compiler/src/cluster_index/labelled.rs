//! Pods by their labels.
//!
//! One ordered set for each label: it finds the pods of a label, and takes a pod
//! in or out, without a look at the others that have the label.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use policy::{ObjectKey, Pod};

use crate::work;

/// The pods of each label, by its key and its value.
#[derive(Debug, Default)]
pub(super) struct Labelled(HashMap<String, HashMap<String, BTreeSet<ByKey>>>);

impl Labelled {
    pub fn add(&mut self, pod: &Arc<Pod>) {
        for (key, value) in pod.labels.iter() {
            let entry = ByKey(Arc::clone(pod));
            match self.0.get_mut(key).and_then(|of_key| of_key.get_mut(value)) {
                Some(pods) => drop(pods.insert(entry)),
                None => {
                    let of_key = self.0.entry(key.to_owned()).or_default();
                    of_key.insert(value.to_owned(), BTreeSet::from([entry]));
                }
            }
        }
    }

    pub fn remove(&mut self, pod: &Pod) {
        for (key, value) in pod.labels.iter() {
            let Some(of_key) = self.0.get_mut(key) else { continue };
            let Some(pods) = of_key.get_mut(value) else { continue };
            pods.remove(&pod.key);
            if pods.is_empty() {
                of_key.remove(value);
            }
            if of_key.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// How many pods have this label.
    pub fn count(&self, key: &str, value: &str) -> usize {
        let pods = self.0.get(key).and_then(|of_key| of_key.get(value));
        pods.map_or(0, BTreeSet::len)
    }

    /// The pods with this label, in one namespace if that is given.
    pub fn with<'a, 'q>(
        &'a self,
        key: &str,
        value: &str,
        namespace: Option<&'q str>,
    ) -> impl Iterator<Item = &'a Pod> + use<'a, 'q> {
        let pods = self.0.get(key).and_then(|of_key| of_key.get(value));
        // No name is empty, so all pods of the namespace come after this.
        let first = ObjectKey::new(namespace.unwrap_or_default(), "");
        let pods = pods.into_iter().flat_map(move |pods| pods.range::<ObjectKey, _>(&first..));
        let pods = pods.map(|ByKey(pod)| &**pod).inspect(|_| work::look());
        pods.take_while(move |pod| namespace.is_none_or(|one| one == pod.key.namespace))
    }
}

/// A pod, ordered by its key.
#[derive(Clone, Debug)]
struct ByKey(Arc<Pod>);

impl Borrow<ObjectKey> for ByKey {
    fn borrow(&self) -> &ObjectKey {
        &self.0.key
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        work::look();
        self.0.key.cmp(&other.0.key)
    }
}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByKey {}
