//! Which sets could select a pod.
//!
//! In: the peers of sets. Out: for a pod, the names of a few sets, among which
//! are all that select it. Never: labels of namespaces, which can change while
//! the pod does not.

use std::collections::{BTreeSet, HashMap};

use policy::{Operator, Pod, Selector, Sorted};

use crate::sets::{PodsPeer, Scope};

/// Sets, or what else has peers, by a property that each of their pods has. `N` is what
/// they are known by.
#[derive(Debug)]
pub(crate) struct SelectorIndex<N> {
    /// Peers in one namespace.
    by_namespace: HashMap<String, BTreeSet<N>>,
    /// Peers in other namespaces that require one of some values of a label.
    by_label: HashMap<String, HashMap<String, BTreeSet<N>>>,
    /// All others.
    rest: BTreeSet<N>,
}

impl<N> Default for SelectorIndex<N> {
    fn default() -> Self {
        Self { by_namespace: HashMap::new(), by_label: HashMap::new(), rest: BTreeSet::new() }
    }
}

impl<N: Ord + Clone> SelectorIndex<N> {
    /// `peers`: `None` among them selects every pod.
    pub fn add<'a>(&mut self, name: &N, peers: impl IntoIterator<Item = Option<&'a PodsPeer>>) {
        for peer in peers {
            match bucket(peer) {
                Bucket::Namespace(namespace) => {
                    let names = self.by_namespace.entry(namespace.to_owned()).or_default();
                    names.insert(name.clone());
                }
                Bucket::Label(key, values) => {
                    let by_value = self.by_label.entry(key.to_owned()).or_default();
                    for value in values {
                        by_value.entry(value.clone()).or_default().insert(name.clone());
                    }
                }
                Bucket::Rest => drop(self.rest.insert(name.clone())),
            }
        }
    }

    /// The same peers as when it was added.
    pub fn remove<'a>(&mut self, name: &N, peers: impl IntoIterator<Item = Option<&'a PodsPeer>>) {
        for peer in peers {
            match bucket(peer) {
                Bucket::Namespace(namespace) => remove(&mut self.by_namespace, namespace, name),
                Bucket::Label(key, values) => {
                    let Some(by_value) = self.by_label.get_mut(key) else { continue };
                    for value in values {
                        remove(by_value, value, name);
                    }
                    if by_value.is_empty() {
                        self.by_label.remove(key);
                    }
                }
                Bucket::Rest => drop(self.rest.remove(name)),
            }
        }
    }

    /// The sets that could select this pod.
    pub fn candidates(&self, pod: &Pod) -> impl Iterator<Item = &N> {
        let in_namespace = self.by_namespace.get(&pod.key.namespace).into_iter().flatten();
        let labels = pod.labels.iter();
        let by_label = labels.filter_map(|(key, value)| self.by_label.get(key)?.get(value));
        in_namespace.chain(by_label.flatten()).chain(&self.rest)
    }
}

enum Bucket<'a> {
    Namespace(&'a str),
    Label(&'a str, &'a Sorted<String>),
    Rest,
}

fn bucket(peer: Option<&PodsPeer>) -> Bucket<'_> {
    match peer {
        None => Bucket::Rest,
        Some(PodsPeer { scope: Scope::Own(namespace), .. }) => Bucket::Namespace(namespace),
        Some(PodsPeer { scope: Scope::Matching(_), pods }) => {
            values(pods).map_or(Bucket::Rest, |(key, values)| Bucket::Label(key, values))
        }
    }
}

/// A label for which a selector requires one of some values.
fn values(selector: &Selector) -> Option<(&str, &Sorted<String>)> {
    selector.requirements().find_map(|requirement| match &requirement.operator {
        Operator::In(values) => Some((requirement.key.as_str(), values)),
        _ => None,
    })
}

fn remove<N: Ord>(names: &mut HashMap<String, BTreeSet<N>>, key: &str, name: &N) {
    if let Some(of_key) = names.get_mut(key) {
        of_key.remove(name);
        if of_key.is_empty() {
            names.remove(key);
        }
    }
}
