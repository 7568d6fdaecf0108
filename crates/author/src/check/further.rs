//! The checks of MultiNetworkPolicies.
//!
//! In: a cluster. Out: findings about the policies of further networks, and about the networks.
//! Never: a finding because nothing tells which pods are on which network.
//!
//! For each list of networks that policies name there is a cluster of its own: these policies
//! in the words of NetworkPolicy, and the pods that are on one of the networks. The checks that
//! make sense there are those of NetworkPolicy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::secondary::networks_of;
use policy::{ObjectKey, Pod, PolicyFor, Snapshot};

use super::checks::{CHECKS, network_unknown, not_on_network};
use super::{Context, Finding};
use crate::Cluster;

/// The checks of NetworkPolicy that hold for MultiNetworkPolicy, too. The others are about
/// what is on the primary network alone: DNS, Services, nodes, the API server.
const ALSO: [&str; 11] = [
    "adds-nothing",
    "allows-everything",
    "namespace-name-label",
    "namespace-unknown",
    "peer-selects-nobody",
    "policy-selects-nobody",
    "port-name-of-peer",
    "port-name-unknown",
    "selector-contradiction",
    "split-rule",
    "two-peers",
];

/// The policies for some networks.
pub struct Further<'a> {
    /// All objects.
    pub whole: &'a Cluster,
    /// The networks.
    pub networks: &'a BTreeSet<ObjectKey>,
    /// The networks that pods or NetworkAttachmentDefinitions have.
    pub known: &'a BTreeSet<ObjectKey>,
}

/// Checks the MultiNetworkPolicies.
pub fn check(cluster: &Cluster) -> Vec<Finding> {
    let mut by_networks: BTreeMap<BTreeSet<ObjectKey>, Vec<ObjectKey>> = BTreeMap::new();
    for (key, policy) in &cluster.snapshot.multi_policies {
        if let PolicyFor::Networks(networks) = &policy.networks
            && !networks.is_empty()
        {
            by_networks.entry(networks.clone()).or_default().push(key.clone());
        }
    }
    let pods = cluster.snapshot.pods.values();
    let known = pods.flat_map(|pod| networks_of(pod));
    let known = known.chain(cluster.declared_networks.iter().cloned()).collect();
    let mut findings = Vec::new();
    for (networks, policies) in &by_networks {
        let part = part(cluster, networks, policies);
        let context = Context::new(&part);
        let further = Further { whole: cluster, networks, known: &known };
        findings.extend(network_unknown::check(&context, &further));
        findings.extend(not_on_network::check(&context, &further));
        for check in CHECKS.iter().filter(|check| ALSO.contains(&check.id)) {
            findings.extend(check.run.iter().flat_map(|run| run(&context)));
        }
    }
    for finding in findings.iter_mut().filter(|one| one.kind == "NetworkPolicy") {
        finding.kind = "MultiNetworkPolicy".to_owned();
    }
    findings
}

/// These policies, and the pods on their networks.
fn part(cluster: &Cluster, networks: &BTreeSet<ObjectKey>, policies: &[ObjectKey]) -> Cluster {
    let all = &cluster.snapshot;
    let inner = policies.iter().filter_map(|key| {
        let policy = all.multi_policies.get(key)?;
        Some((key.clone(), Arc::new(policy.policy.clone())))
    });
    let is_on = |pod: &Pod| !pod.host_network && !networks_of(pod).is_disjoint(networks);
    let pods = all.pods.iter().filter(|(_, pod)| is_on(pod));
    let snapshot = Snapshot {
        policies: inner.collect(),
        pods: pods.map(|(key, pod)| (key.clone(), Arc::clone(pod))).collect(),
        namespaces: all.namespaces.clone(),
        ..Snapshot::default()
    };
    let findings = cluster.findings.iter().filter(|one| one.kind == "MultiNetworkPolicy");
    Cluster {
        snapshot,
        workloads: cluster.workloads.clone(),
        templates: cluster.templates.clone(),
        listens: cluster.listens.clone(),
        assumed_namespaces: cluster.assumed_namespaces.clone(),
        namespace: cluster.namespace.clone(),
        focus: cluster.focus.clone(),
        is_whole: cluster.is_whole,
        findings: findings.cloned().collect(),
        places: cluster.places.of_multi_policies(),
        ..Cluster::default()
    }
}
