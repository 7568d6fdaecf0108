//! Which sets a pod could be in.
//!
//! In: what sets stand for. Out: for a pod the names of sets, few beside all and
//! every one that it is in. Never: labels of namespaces, for these change without
//! their pods.

use std::collections::{BTreeSet, HashMap};

use policy::{Operator, Pod, Selector, Sorted};
use ruleset::Name;

use crate::sets::{PodsPeer, Scope, SetSource};

/// Sets by a thing that each pod in them has.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    /// Peers in one namespace.
    by_namespace: HashMap<String, BTreeSet<Name>>,
    /// Peers in other namespaces that ask for one of a few values of a label.
    by_label: HashMap<String, HashMap<String, BTreeSet<Name>>>,
    /// All others.
    rest: BTreeSet<Name>,
}

impl SelectorIndex {
    pub fn add(&mut self, name: &Name, source: &SetSource) {
        for peer in source.peers() {
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

    pub fn remove(&mut self, name: &Name, source: &SetSource) {
        for peer in source.peers() {
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

    /// The sets that this pod could be in.
    pub fn candidates(&self, pod: &Pod) -> impl Iterator<Item = &Name> {
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

/// A label of which a selector asks for one of a few values.
fn values(selector: &Selector) -> Option<(&str, &Sorted<String>)> {
    selector.requirements().find_map(|requirement| match &requirement.operator {
        Operator::In(values) => Some((requirement.key.as_str(), values)),
        _ => None,
    })
}

fn remove(names: &mut HashMap<String, BTreeSet<Name>>, key: &str, name: &Name) {
    if let Some(of_key) = names.get_mut(key) {
        of_key.remove(name);
        if of_key.is_empty() {
            names.remove(key);
        }
    }
}
