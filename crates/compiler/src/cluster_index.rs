//! Look-ups over a snapshot: pods by namespace, by label and by address.
//!
//! In: a snapshot, then each later one with what differs. Out: which pods are
//! selected, which pod has an address. The answers depend on the present
//! snapshot alone, not on the way to it.

mod addresses;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use policy::{NetworkPolicy, ObjectKey, Operator, Pod, Requirement, Snapshot, SnapshotDiff};

use crate::sets::{PodsPeer, Scope};
use addresses::Addresses;

/// A snapshot, and its pods that count (see [`Pod::is_subject`]) by label and by
/// address.
#[derive(Debug, Default)]
pub(crate) struct ClusterIndex {
    snapshot: Snapshot,
    addresses: Addresses,
    /// By key and value of a label; each list is sorted by the pods' keys.
    by_label: HashMap<String, HashMap<String, Vec<Arc<Pod>>>>,
}

impl ClusterIndex {
    /// The objects.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Goes on to a later snapshot. `diff` is what differs from the present one.
    /// Returns the snapshot before.
    pub fn follow(&mut self, later: &Snapshot, diff: &SnapshotDiff) -> Snapshot {
        let before = std::mem::replace(&mut self.snapshot, later.clone());
        for key in &diff.pods {
            if let Some(pod) = before.pods.get(key).filter(|pod| pod.is_subject()) {
                self.remove(pod);
            }
            if let Some(pod) = later.pods.get(key).filter(|pod| pod.is_subject()) {
                self.add(pod);
            }
        }
        before
    }

    /// The pod that has this address.
    pub fn owner(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.addresses.owner(address)
    }

    /// The addresses of a pod that are its own.
    pub fn addresses_of(&self, pod: &Pod) -> impl Iterator<Item = IpAddr> {
        let own = |address: &IpAddr| self.owner(*address).is_some_and(|owner| owner.key == pod.key);
        pod.addresses.iter().copied().filter(own)
    }

    /// All pods that count.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.snapshot.pods.values().map(|pod| &**pod).filter(|pod| pod.is_subject())
    }

    /// The pods of a namespace that count.
    pub fn pods_of(&self, namespace: &str) -> impl Iterator<Item = &Pod> {
        let pods = self.snapshot.pods.range(ObjectKey::new(namespace, "")..);
        let pods = pods.take_while(move |(key, _)| key.namespace == namespace);
        pods.map(|(_, pod)| &**pod).filter(|pod| pod.is_subject())
    }

    /// The policies that select a pod, by key.
    pub fn policies_of(&self, pod: &Pod) -> impl Iterator<Item = &NetworkPolicy> {
        let in_namespace = self.snapshot.policies.range(ObjectKey::new(&pod.key.namespace, "")..);
        let in_namespace = in_namespace.take_while(|(key, _)| key.namespace == pod.key.namespace);
        in_namespace
            .map(|(_, policy)| &**policy)
            .filter(|policy| policy.pod_selector.matches(&pod.labels))
    }

    /// The pods that a policy selects.
    pub fn selected_by(&self, policy: &NetworkPolicy) -> impl Iterator<Item = &Pod> {
        let pods = self.pods_of(&policy.key.namespace);
        pods.filter(|pod| policy.pod_selector.matches(&pod.labels))
    }

    /// The pods that a peer selects.
    pub fn selected(&self, peer: &PodsPeer) -> Vec<&Pod> {
        let selects = |pod: &&Pod| self.selects(peer, pod);
        match (self.candidates(peer), &peer.scope) {
            (Some(candidates), _) => candidates.filter(selects).collect(),
            (None, Scope::Own(namespace)) => self.pods_of(namespace).filter(selects).collect(),
            (None, Scope::Matching(_)) => self.pods().filter(selects).collect(),
        }
    }

    /// Whether a peer selects a pod that counts.
    pub fn selects(&self, peer: &PodsPeer, pod: &Pod) -> bool {
        let in_scope = || match &peer.scope {
            Scope::Own(namespace) => pod.key.namespace == *namespace,
            Scope::Matching(selector) => {
                let labels = self.snapshot.namespace_labels(&pod.key.namespace);
                labels.is_some_and(|labels| selector.matches(labels))
            }
        };
        peer.pods.matches(&pod.labels) && in_scope()
    }

    /// Pods that have the label of the rarest `In` requirement, if the peer is
    /// in one namespace, of that; no other pod can match. `None` if there is no
    /// such requirement.
    fn candidates(&self, peer: &PodsPeer) -> Option<impl Iterator<Item = &Pod>> {
        let in_scope = |list| match &peer.scope {
            Scope::Own(namespace) => of_namespace(list, namespace),
            Scope::Matching(_) => list,
        };
        let lists = peer.pods.requirements().filter_map(|Requirement { key, operator }| {
            let Operator::In(values) = operator else { return None };
            let by_value = self.by_label.get(key);
            let lists = values.iter().filter_map(|value| by_value?.get(value));
            Some(lists.map(|list| in_scope(list)).collect::<Vec<&[Arc<Pod>]>>())
        });
        let rarest =
            lists.min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>())?;
        Some(rarest.into_iter().flatten().map(|pod| &**pod))
    }

    fn add(&mut self, pod: &Arc<Pod>) {
        self.addresses.add(pod);
        for (key, value) in &pod.labels {
            let list = self.by_label.entry(key.clone()).or_default();
            let list = list.entry(value.clone()).or_default();
            let place = list.partition_point(|other| other.key < pod.key);
            list.insert(place, Arc::clone(pod));
        }
    }

    fn remove(&mut self, pod: &Pod) {
        self.addresses.remove(pod);
        for (key, value) in &pod.labels {
            let Some(by_value) = self.by_label.get_mut(key) else { continue };
            let Some(list) = by_value.get_mut(value) else { continue };
            list.retain(|other| other.key != pod.key);
            if list.is_empty() {
                by_value.remove(value);
            }
            if by_value.is_empty() {
                self.by_label.remove(key);
            }
        }
    }
}

/// The pods of one namespace, of those in a list sorted by key.
fn of_namespace<'a>(list: &'a [Arc<Pod>], namespace: &str) -> &'a [Arc<Pod>] {
    let first = list.partition_point(|pod| *pod.key.namespace < *namespace);
    let end = list.partition_point(|pod| *pod.key.namespace <= *namespace);
    list.get(first..end).unwrap_or_default()
}

/// Whether a pod is on a node; any is for `None`.
pub(crate) fn is_local(pod: &Pod, node: Option<&str>) -> bool {
    node.is_none() || pod.node.as_deref() == node
}
