//! Pods that no policy covers, in namespaces that have policies.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::context::{Context, some};
use crate::check::finding::Finding;

const ID: &str = "uncovered-pods";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let snapshot = &context.cluster.snapshot;
    // A policy that cannot be read isolates pods, too.
    let with_policies: BTreeSet<&str> =
        snapshot.policies.keys().map(|key| &*key.namespace).collect();
    let mut open: BTreeMap<&str, Vec<&policy::Pod>> = BTreeMap::new();
    for pod in context.pods().filter(|pod| pod.is_subject()) {
        let namespace = &*pod.key.namespace;
        if !with_policies.contains(namespace) {
            continue;
        }
        let policies = snapshot.policies.range(policy::ObjectKey::new(namespace, "")..);
        let mut policies = policies.take_while(|(key, _)| key.namespace == namespace);
        if !policies.any(|(_, policy)| snapshot.selects(policy, pod)) {
            open.entry(namespace).or_default().push(pod);
        }
    }
    let mut found = Vec::new();
    for (namespace, pods) in open {
        let Some(first) = pods.first() else { continue };
        let names = some(pods.iter().map(|pod| context.name(pod)));
        let message = format!(
            "no policy here covers {names} of namespace {namespace}: everyone reaches it, and it reaches \
             everyone"
        );
        let (kind, key) = match context.cluster.workloads.get(&first.key) {
            Some(workload) => (&*workload.kind, &workload.key),
            None => ("Pod", &first.key),
        };
        found.push(context.finding_of(ID, kind, key, message));
    }
    found
}
