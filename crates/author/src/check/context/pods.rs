//! Which pods policies and peers select, and what labels there are.
//!
//! Never: a look at all pods for each policy or peer that names a label.

use std::collections::BTreeSet;
use std::rc::Rc;

use policy::{NetworkPolicy, ObjectKey, Operator, Pod, PodPeer, Selector};

use super::{Context, Known, is_alive};

impl<'a> Context<'a> {
    /// The pods of a namespace.
    pub fn pods_in(&self, namespace: &str) -> Vec<&'a Pod> {
        let pods = self.cluster.snapshot.pods.range(ObjectKey::new(namespace, "")..);
        let pods = pods.take_while(|(key, _)| key.namespace == namespace);
        pods.map(|(_, pod)| pod.as_ref()).collect()
    }

    /// The pods of a namespace that a selector may match: a few, where it has a label.
    fn candidates(&self, namespace: &str, selector: &Selector) -> Vec<&'a Pod> {
        let mut labels = selector.requirements().filter_map(|one| match &one.operator {
            Operator::In(values) => Some((&*one.key, values)),
            Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
        });
        let Some((key, values)) = labels.next() else { return self.pods_in(namespace) };
        let pods = values.iter().filter_map(|value| self.labelled.get(&(namespace, key, value)));
        let mut pods: Vec<&Pod> = pods.flatten().copied().collect();
        pods.sort_by(|one, other| one.key.cmp(&other.key));
        pods
    }

    /// The labels of the pods of these namespaces that have not ended.
    pub fn known(&self, namespaces: &BTreeSet<&'a str>) -> Rc<Known<'a>> {
        let names: Vec<&str> = namespaces.iter().copied().collect();
        if let Some(known) = self.known.borrow().get(&names) {
            return Rc::clone(known);
        }
        let pods = names.iter().flat_map(|name| self.pods_in(name)).filter(|pod| is_alive(pod));
        let known = Rc::new(Known::of(pods.map(|pod| &pod.labels)));
        self.known.borrow_mut().insert(names, Rc::clone(&known));
        known
    }

    /// The labels of the pods of a policy's namespace that have not ended.
    pub fn known_of(&self, policy: &NetworkPolicy) -> Rc<Known<'a>> {
        let first = self.pods_in(&policy.key.namespace).first().map(|pod| &*pod.key.namespace);
        self.known(&first.into_iter().collect())
    }

    /// The labels of the namespaces whose labels are known.
    pub fn known_namespaces(&self) -> &Known<'a> {
        self.known_namespaces.get_or_init(|| {
            let all = self.cluster.snapshot.namespaces.values();
            let all = all.filter(|one| self.knows_namespace(&one.name));
            Known::of(all.map(|one| &one.labels))
        })
    }

    /// The pods that a policy selects.
    pub fn subjects(&self, policy: &NetworkPolicy) -> Vec<&'a Pod> {
        let snapshot = &self.cluster.snapshot;
        self.candidates(&policy.key.namespace, &policy.pod_selector)
            .into_iter()
            .filter(|pod| snapshot.selects(policy, pod))
            .collect()
    }

    /// The namespaces that a peer means.
    pub fn namespaces(&self, policy: &NetworkPolicy, peer: &PodPeer) -> BTreeSet<&'a str> {
        let all = &self.cluster.snapshot.namespaces;
        match &peer.namespaces {
            None => all
                .get_key_value(&policy.key.namespace)
                .map(|(name, _)| name.as_str())
                .into_iter()
                .collect(),
            Some(selector) => all
                .values()
                .filter(|one| selector.matches(&one.labels))
                .map(|one| one.name.as_str())
                .collect(),
        }
    }

    /// The pods that a peer selects. `host`: of those in their node's network instead, which
    /// no peer selects.
    pub fn selected(&self, policy: &NetworkPolicy, peer: &PodPeer, host: bool) -> Vec<&'a Pod> {
        let namespaces = self.namespaces(policy, peer).into_iter();
        let candidates = namespaces.flat_map(|namespace| self.candidates(namespace, &peer.pods));
        candidates
            .filter(|pod| pod.host_network == host && is_alive(pod))
            .filter(|pod| peer.pods.matches(&pod.labels))
            .collect()
    }
}
