//! Pods by their labels.
//!
//! One ordered set for all labels: it finds the pods of a label, and takes a
//! pod in or out, without a look at the others that have the label.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use policy::Pod;

use crate::work;

/// Every label of every pod in it.
#[derive(Debug, Default)]
pub(super) struct Labelled(BTreeSet<Entry>);

impl Labelled {
    pub fn add(&mut self, pod: &Arc<Pod>) {
        let labels = 0..pod.labels.len();
        self.0.extend(labels.map(|label| Entry { pod: Arc::clone(pod), label }));
    }

    pub fn remove(&mut self, pod: &Pod) {
        for (key, value) in pod.labels.iter() {
            let parts = (key, value, &*pod.key.namespace, &*pod.key.name);
            self.0.remove(&parts as &dyn Parts);
        }
    }

    /// The pods with this label, in one namespace if that is given.
    pub fn with<'a, 'q>(
        &'a self,
        key: &'q str,
        value: &'q str,
        namespace: Option<&'q str>,
    ) -> impl Iterator<Item = &'a Pod> + use<'a, 'q> {
        // No name is empty, so all pods of the namespace come after this.
        let first = (key, value, namespace.unwrap_or_default(), "");
        let first: Bound<&dyn Parts> = Bound::Included(&first);
        let entries = self.0.range::<dyn Parts + '_, _>((first, Bound::Unbounded));
        let entries = entries.take_while(move |entry| {
            work::look();
            let (entry_key, entry_value, of, _) = entry.parts();
            (entry_key, entry_value) == (key, value) && namespace.is_none_or(|one| one == of)
        });
        entries.map(|entry| &*entry.pod)
    }
}

/// A pod by one of its labels.
#[derive(Clone, Debug)]
struct Entry {
    pod: Arc<Pod>,
    /// Which one, by its place among the pod's labels.
    label: usize,
}

/// What entries are ordered by: key and value of the label, namespace and name
/// of the pod. A search has these without an entry.
trait Parts {
    fn parts(&self) -> (&str, &str, &str, &str);
}

impl Parts for Entry {
    fn parts(&self) -> (&str, &str, &str, &str) {
        let (key, value) = self.pod.labels.pair(self.label).unwrap_or_default();
        (key, value, &self.pod.key.namespace, &self.pod.key.name)
    }
}

impl Parts for (&str, &str, &str, &str) {
    fn parts(&self) -> (&str, &str, &str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Parts + 'a> for Entry {
    fn borrow(&self) -> &(dyn Parts + 'a) {
        self
    }
}

impl Ord for dyn Parts + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        work::look();
        self.parts().cmp(&other.parts())
    }
}

impl PartialOrd for dyn Parts + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Parts + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for dyn Parts + '_ {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self as &dyn Parts).cmp(other as &dyn Parts)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
