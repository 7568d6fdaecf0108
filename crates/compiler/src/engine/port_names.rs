//! Port names that no selected pod has.
//!
//! In: policies whose ingress chains are in use, and pods as they change.
//! Out: a warning for each port name in an ingress rule that allows nothing,
//! because no pod that the policy selects has a port with that name.
//!
//! A policy is counted once, over the pods of its namespace. After that each
//! changed pod adds to the counts or subtracts from them. The counts stay until
//! the policy changes or is deleted, even while it has no chain.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Diagnostic, NetworkPolicy, ObjectKey, Pod, PortNumbers, Ports, Protocol, Severity, Snapshot,
};

use crate::{ClusterIndex, work};

/// How many of the pods that a policy selects have each port name of it.
#[derive(Debug, Default)]
pub(super) struct PortNames {
    counts: BTreeMap<ObjectKey, BTreeMap<(String, Protocol), usize>>,
}

impl PortNames {
    /// Drops the counts of a policy that changed.
    pub fn forget(&mut self, policy: &ObjectKey) {
        self.counts.remove(policy);
    }

    /// Counts one changed pod. Returns the policies with a port name that got its
    /// first pod or lost its last.
    pub fn follow(
        &mut self,
        key: &ObjectKey,
        (before, after): (Option<&Pod>, Option<&Pod>),
        snapshot: &Snapshot,
    ) -> Vec<ObjectKey> {
        let counts = |pod: &&Pod| pod.is_subject() && !pod.ports.is_empty();
        let [before, after] = [before, after].map(|pod| pod.filter(counts));
        let [was, is] = [before, after].map(|pod| pod.map(|pod| (&pod.ports, &pod.labels)));
        if was == is {
            return Vec::new();
        }
        let mut news = Vec::new();
        let in_namespace = self.counts.range_mut(ObjectKey::new(&key.namespace, "")..);
        let in_namespace = in_namespace.take_while(|(policy, _)| policy.namespace == key.namespace);
        for (policy_key, counts) in in_namespace {
            let Some(policy) = snapshot.policies.get(policy_key) else { continue };
            let [before, after] = [before, after].map(|pod| {
                pod.filter(|pod| {
                    work::look();
                    policy.pod_selector.matches(&pod.labels)
                })
            });
            let mut is_news = false;
            for ((name, protocol), count) in counts {
                let has = |pod: Option<&Pod>| pod.is_some_and(|pod| has(pod, name, *protocol));
                let before_count = *count;
                *count += usize::from(has(after));
                *count -= usize::from(has(before));
                is_news |= (before_count > 0) != (*count > 0);
            }
            if is_news {
                news.push(policy_key.clone());
            }
        }
        news
    }

    /// The warnings about a policy. Counts it if it has no counts yet.
    pub fn diagnose(&mut self, policy: &NetworkPolicy, cluster: &ClusterIndex) -> Vec<Diagnostic> {
        if names(policy).next().is_none() {
            return Vec::new();
        }
        let counts = match self.counts.get(&policy.key) {
            Some(counts) => counts,
            None => self.counts.entry(policy.key.clone()).or_insert(count(policy, cluster)),
        };
        let is_had = |name: &str, protocol| {
            counts.get(&(name.to_owned(), protocol)).is_some_and(|count| *count > 0)
        };
        names(policy)
            .filter(|(_, name, protocol)| !is_had(name, *protocol))
            .map(|(rule, name, protocol)| Diagnostic {
                severity: Severity::Warning,
                kind: "NetworkPolicy",
                object: policy.key.clone(),
                field: format!("spec.ingress[{rule}].ports"),
                message: format!(
                    "no pod that the policy selects has a port named {name}/{protocol}: it \
                     allows nothing"
                ),
            })
            .collect()
    }
}

fn count(policy: &NetworkPolicy, cluster: &ClusterIndex) -> BTreeMap<(String, Protocol), usize> {
    let names: BTreeSet<(&str, Protocol)> =
        names(policy).map(|(_, name, protocol)| (name, protocol)).collect();
    let mut counts: BTreeMap<(String, Protocol), usize> =
        names.into_iter().map(|(name, protocol)| ((name.to_owned(), protocol), 0)).collect();
    for pod in cluster.selected_by(policy) {
        for ((name, protocol), count) in &mut counts {
            *count += usize::from(has(pod, name, *protocol));
        }
    }
    counts
}

fn has(pod: &Pod, name: &str, protocol: Protocol) -> bool {
    pod.ports.iter().any(|port| port.name == name && port.protocol == protocol)
}

/// The port names of ingress rules, each with the index of its rule.
fn names(policy: &NetworkPolicy) -> impl Iterator<Item = (usize, &str, Protocol)> {
    policy.ingress.iter().flatten().enumerate().flat_map(|(rule, content)| {
        let ports: &[policy::Port] = match &content.ports {
            Ports::Only(ports) => ports,
            Ports::All => &[],
        };
        ports.iter().filter_map(move |port| match &port.numbers {
            PortNumbers::Named(name) => Some((rule, name.as_str(), port.protocol)),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests;
