//! A snapshot made ready for look-ups by namespace and by label.

use std::collections::{BTreeMap, HashMap};

use policy::{NetworkPolicy, Operator, Owners, Pod, Requirement, Selector, Snapshot};

use crate::sets::{PodsPeer, Scope};

/// The pods that count (see [`Pod::is_subject`]) by namespace and by label.
#[derive(Debug)]
pub struct Cluster<'a> {
    snapshot: &'a Snapshot,
    owners: Owners<'a>,
    by_namespace: BTreeMap<&'a str, Vec<&'a Pod>>,
    by_label: HashMap<(&'a str, &'a str), Vec<&'a Pod>>,
}

impl<'a> Cluster<'a> {
    /// Sorts the pods of a snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        let mut by_label: HashMap<(&str, &str), Vec<&Pod>> = HashMap::new();
        for pod in snapshot.pods.values().filter(|pod| pod.is_subject()) {
            by_namespace.entry(&pod.key.namespace).or_default().push(pod);
            for (key, value) in &pod.labels {
                by_label.entry((key, value)).or_default().push(pod);
            }
        }
        Self { snapshot, owners: policy::spec::owners(snapshot), by_namespace, by_label }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Who has which address.
    pub fn owners(&self) -> &Owners<'a> {
        &self.owners
    }

    /// All pods that count.
    pub fn pods(&self) -> impl Iterator<Item = &'a Pod> {
        self.by_namespace.values().flatten().copied()
    }

    /// The pods of a node; of all nodes for `None`.
    pub fn local(&self, node: Option<&str>) -> impl Iterator<Item = &'a Pod> {
        self.pods().filter(move |pod| node.is_none() || pod.node.as_deref() == node)
    }

    /// The policies that select a pod, by key.
    pub fn policies_of(&self, pod: &Pod) -> impl Iterator<Item = &'a NetworkPolicy> {
        let first = policy::ObjectKey::new(&pod.key.namespace, "");
        let in_namespace = self.snapshot.policies.range(first..);
        let in_namespace = in_namespace.take_while(|(key, _)| key.namespace == pod.key.namespace);
        in_namespace
            .map(|(_, policy)| &**policy)
            .filter(|policy| policy.pod_selector.matches(&pod.labels))
    }

    /// The pods that a policy selects.
    pub fn selected_by(&self, policy: &NetworkPolicy) -> impl Iterator<Item = &'a Pod> {
        let pods = self.by_namespace.get(policy.key.namespace.as_str()).into_iter().flatten();
        pods.copied().filter(|pod| policy.pod_selector.matches(&pod.labels))
    }

    /// The pods that a peer selects.
    pub fn selected(&self, peer: &PodsPeer) -> Vec<&'a Pod> {
        let matches = |pod: &&Pod| peer.pods.matches(&pod.labels) && self.in_scope(peer, pod);
        if let Some(candidates) = self.candidates(&peer.pods) {
            return candidates.into_iter().filter(matches).collect();
        }
        let namespaces: Vec<&str> = match &peer.scope {
            Scope::Own(namespace) => vec![namespace],
            Scope::Matching(_) => self.by_namespace.keys().copied().collect(),
        };
        let in_namespaces = namespaces.iter().filter_map(|name| self.by_namespace.get(name));
        in_namespaces.flatten().copied().filter(matches).collect()
    }

    fn in_scope(&self, peer: &PodsPeer, pod: &Pod) -> bool {
        match &peer.scope {
            Scope::Own(namespace) => pod.key.namespace == *namespace,
            Scope::Matching(selector) => {
                let labels = self.snapshot.namespace_labels(&pod.key.namespace);
                labels.is_some_and(|labels| selector.matches(labels))
            }
        }
    }

    /// Pods that have the label of the rarest `In` requirement; no other pod
    /// can match. `None` if there is no such requirement.
    fn candidates(&self, selector: &Selector) -> Option<Vec<&'a Pod>> {
        let lists = selector.requirements().filter_map(|Requirement { key, operator }| {
            let Operator::In(values) = operator else { return None };
            let lists: Vec<&Vec<&'a Pod>> = values
                .iter()
                .filter_map(|value| self.by_label.get(&(key.as_str(), value.as_str())))
                .collect();
            Some(lists)
        });
        let rarest =
            lists.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())?;
        Some(rarest.into_iter().flatten().copied().collect())
    }
}
