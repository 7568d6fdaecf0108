//! Look-ups over a snapshot: pods by namespace, by label and by address.
//!
//! In: a snapshot, then each later one with what differs. Out: which pods are
//! selected, which pod has an address. The answers depend on the present
//! snapshot alone, not on the way to it.

mod addresses;
mod labelled;

use std::net::IpAddr;
use std::sync::Arc;

use policy::{NetworkPolicy, ObjectKey, Operator, Pod, Requirement, Selector, Snapshot, Subject};

use crate::engine::changes::Changes;
use crate::sets::{PodsPeer, Scope};
use crate::work;
use addresses::Addresses;
use labelled::Labelled;

/// A snapshot, and its pods that count (see [`Pod::is_subject`]) by label and by
/// address.
#[derive(Debug, Default)]
pub(crate) struct ClusterIndex {
    snapshot: Snapshot,
    addresses: Addresses,
    labelled: Labelled,
}

impl ClusterIndex {
    /// The objects.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Goes on to a later snapshot.
    pub fn follow(&mut self, changes: &Changes<'_>) {
        self.snapshot = changes.after.clone();
        for pod in &changes.pods {
            if let Some(pod) = pod.before.filter(|pod| pod.is_subject()) {
                self.remove(pod);
            }
            if let Some(pod) = pod.after.filter(|pod| pod.is_subject()) {
                self.add(pod);
            }
        }
    }

    /// The pod that owns this address.
    pub fn owner(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.addresses.owner(address)
    }

    /// The addresses that several pods report.
    pub fn shared(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.shared()
    }

    /// All pods that count and report an address, in no order.
    pub fn reporters(&self, address: IpAddr) -> impl Iterator<Item = &Arc<Pod>> {
        self.addresses.reporters(address)
    }

    /// The subjects of an address on a node (see [`policy::subjects`]), in order.
    pub fn subjects(&self, address: IpAddr, node: Option<&str>) -> Vec<Subject<'_>> {
        let reporters = self.addresses.reporters(address).inspect(|_| work::look());
        let mut pods: Vec<&Pod> =
            reporters.map(|pod| &**pod).filter(|pod| pod.is_on(node)).collect();
        if pods.iter().any(|pod| !pod.is_ending) {
            pods.retain(|pod| !pod.is_ending);
        }
        pods.sort_by(|one, other| one.key.cmp(&other.key));
        let kept = self.snapshot.kept.get(&address).filter(|kept| kept.is_on(node));
        let kept = kept.filter(|_| pods.is_empty());
        let kept = kept.map(|kept| Subject { pod: &kept.pod, is_shut: kept.is_shut() });
        pods.into_iter().map(|pod| Subject { pod, is_shut: false }).chain(kept).collect()
    }

    /// The pods with this key that a node isolates by policies or because they are kept:
    /// the object, and what is kept of earlier ones.
    pub fn pods_with(&self, key: &ObjectKey, node: Option<&str>) -> Vec<Subject<'_>> {
        let pod = self.snapshot.pods.get(key).map(|pod| &**pod);
        let pod = pod.filter(|pod| pod.is_subject() && pod.is_on(node));
        let kept = self.snapshot.kept.values();
        let kept = kept.filter(|kept| kept.pod.key == *key && kept.is_on(node));
        let kept = kept.map(|kept| Subject { pod: &kept.pod, is_shut: kept.is_shut() });
        pod.map(|pod| Subject { pod, is_shut: false }).into_iter().chain(kept).collect()
    }

    /// What is kept of pods that a policy selects, by address.
    pub fn kept_by(&self, policy: &NetworkPolicy) -> impl Iterator<Item = (IpAddr, &Pod)> {
        let kept = self.snapshot.kept.iter().map(|(address, kept)| (*address, &*kept.pod));
        kept.filter(|(_, pod)| self.snapshot.selects(policy, pod))
    }

    /// The addresses that a pod reports and owns.
    pub fn addresses_of(&self, pod: &Pod) -> impl Iterator<Item = IpAddr> {
        let own = |address: &IpAddr| {
            let is_it = |owner: &Arc<Pod>| std::ptr::eq(&**owner, pod) || owner.key == pod.key;
            self.owner(*address).is_some_and(is_it)
        };
        pod.addresses.iter().copied().filter(own)
    }

    /// All pods that count.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        let pods = self.snapshot.pods.values().map(|pod| &**pod);
        pods.inspect(|_| work::look()).filter(|pod| pod.is_subject())
    }

    /// The pods of a namespace that count.
    pub fn pods_of(&self, namespace: &str) -> impl Iterator<Item = &Pod> {
        let pods = self.snapshot.pods.range(ObjectKey::new(namespace, "")..);
        let pods = pods.take_while(move |(key, _)| key.namespace == namespace);
        pods.map(|(_, pod)| &**pod).inspect(|_| work::look()).filter(|pod| pod.is_subject())
    }

    /// The policies that select a pod, by key.
    pub fn policies_of(&self, pod: &Pod) -> impl Iterator<Item = &NetworkPolicy> {
        let in_namespace = self.snapshot.policies.range(ObjectKey::new(&pod.key.namespace, "")..);
        let in_namespace = in_namespace.take_while(|(key, _)| key.namespace == pod.key.namespace);
        in_namespace
            .map(|(_, policy)| &**policy)
            .inspect(|_| work::look())
            .filter(|policy| policy.pod_selector.matches(&pod.labels))
    }

    /// The pods that a policy selects.
    pub fn selected_by(&self, policy: &NetworkPolicy) -> impl Iterator<Item = &Pod> {
        let candidates = self.candidates(&policy.pod_selector, Some(&policy.key.namespace));
        candidates.into_iter().filter(|pod| policy.pod_selector.matches(&pod.labels))
    }

    /// The pods that a peer selects.
    pub fn selected(&self, peer: &PodsPeer) -> Vec<&Pod> {
        let mut pods = match &peer.scope {
            Scope::Own(namespace) => self.candidates(&peer.pods, Some(namespace)),
            Scope::Matching(namespaces) => self.candidates_in(namespaces, &peer.pods),
        };
        // Pods of one namespace come one after the other.
        let mut last: Option<(&str, bool)> = None;
        pods.retain(|&pod| {
            work::look();
            let namespace = pod.key.namespace.as_str();
            peer.pods.matches(&pod.labels)
                && match last {
                    Some((known, is_in_scope)) if known == namespace => is_in_scope,
                    _ => last.insert((namespace, self.is_in_scope(&peer.scope, namespace))).1,
                }
        });
        pods
    }

    /// Whether a peer selects a pod that counts.
    pub fn selects(&self, peer: &PodsPeer, pod: &Pod) -> bool {
        work::look();
        peer.pods.matches(&pod.labels) && self.is_in_scope(&peer.scope, &pod.key.namespace)
    }

    fn is_in_scope(&self, scope: &Scope, namespace: &str) -> bool {
        match scope {
            Scope::Own(own) => own == namespace,
            Scope::Matching(selector) => {
                let labels = self.snapshot.namespace_labels(namespace);
                labels.is_some_and(|labels| selector.matches(labels))
            }
        }
    }

    /// Pods among which are all that a selector matches in the namespaces that another
    /// one matches. If a label has more pods than there are namespaces, the namespaces
    /// are asked first.
    fn candidates_in(&self, namespaces: &Selector, pods: &Selector) -> Vec<&Pod> {
        let labels = pods.requirements().filter_map(|Requirement { key, operator }| {
            let Operator::In(values) = operator else { return None };
            let count: usize = values.iter().map(|value| self.labelled.count(key, value)).sum();
            Some((count, key, values))
        });
        let Some((count, key, values)) = labels.min_by_key(|(count, ..)| *count) else {
            return self.candidates(pods, None);
        };
        if count <= self.snapshot.namespaces.len() {
            return self.candidates(pods, None);
        }
        let all = self.snapshot.namespaces.values().inspect(|_| work::look());
        let matching = all.filter(|namespace| namespaces.matches(&namespace.labels));
        let with_label = matching.flat_map(|namespace| {
            let values = values.iter();
            values.flat_map(|value| self.labelled.with(key, value, Some(&namespace.name)))
        });
        with_label.collect()
    }

    /// Pods, of one namespace if that is given, among which are all that a
    /// selector matches: those with the label of its rarest `In` requirement,
    /// else all.
    fn candidates(&self, selector: &Selector, namespace: Option<&str>) -> Vec<&Pod> {
        let mut lists: Vec<_> = selector
            .requirements()
            .filter_map(|Requirement { key, operator }| match operator {
                Operator::In(values) => Some((key, values)),
                _ => None,
            })
            .map(|(key, values)| {
                let pods =
                    values.iter().map(move |value| self.labelled.with(key, value, namespace));
                (Vec::new(), pods.flatten())
            })
            .collect();
        if lists.is_empty() {
            return match namespace {
                Some(namespace) => self.pods_of(namespace).collect(),
                None => self.pods().collect(),
            };
        }
        // Side by side, so that the cost is that of the shortest.
        loop {
            for (found, rest) in &mut lists {
                match rest.next() {
                    Some(pod) => found.push(pod),
                    None => return std::mem::take(found),
                }
            }
        }
    }

    fn add(&mut self, pod: &Arc<Pod>) {
        self.addresses.add(pod);
        self.labelled.add(pod);
    }

    fn remove(&mut self, pod: &Pod) {
        self.addresses.remove(pod);
        self.labelled.remove(pod);
    }
}

#[cfg(test)]
mod tests;
