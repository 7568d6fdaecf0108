//! A network beside the primary one, as a cluster of its own.
//!
//! In: the objects of a cluster, with [`MultiNetworkPolicy`] objects and the networks that
//! pods report. Out: for one network a [`Snapshot`] that means what
//! [`crate::spec::secondary`] says, in the words of NetworkPolicy. So the same engine, table
//! and proof serve both.
//! Never: an address of a pod's primary network; an address of the pod's node.
//!
//! | of the cluster | becomes |
//! |---|---|
//! | a pod on the network | a pod of the same name, with its addresses there, and the label [`NETWORK`] |
//! | the same pod on another network | one more pod, `name on namespace/network`, that no policy isolates here |
//! | a policy for the network | a NetworkPolicy: its podSelector asks for this network, each podSelector of a peer for one of the policy's networks |
//! | other policies, other pods | nothing |
//!
//! The key of the label has a blank, so no object of the API has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;

use crate::snapshot::differing;
use crate::{
    MultiNetworkPolicy, NetworkPolicy, ObjectKey, Operator, Peer, Peers, Pod, PolicyFor,
    Requirement, Rule, Selector, Snapshot,
};

/// The label of a pod's network.
pub const NETWORK: &str = "on network";

/// The networks that are asked for, each as a snapshot that follows the cluster.
#[derive(Clone, Debug, Default)]
pub struct Secondary {
    /// The cluster, as of the last call.
    cluster: Snapshot,
    networks: BTreeMap<ObjectKey, Snapshot>,
}

impl Secondary {
    /// Goes on to another state of the cluster, for these networks alone. The cost is that of
    /// the changed pods. Where a policy changed, it is that of all pods.
    pub fn follow(&mut self, cluster: &Snapshot, wanted: &BTreeSet<ObjectKey>) {
        self.networks.retain(|network, _| wanted.contains(network));
        let policies = differing(&self.cluster.multi_policies, &cluster.multi_policies);
        let pods = differing(&self.cluster.pods, &cluster.pods);
        let before = std::mem::replace(&mut self.cluster, cluster.clone());
        for network in wanted {
            match self.networks.get_mut(network) {
                Some(snapshot) if policies.is_empty() => {
                    snapshot.namespaces = cluster.namespaces.clone();
                    for key in &pods {
                        let old = before.pods.get(key).into_iter();
                        for gone in old.flat_map(|pod| on_networks(pod, network)) {
                            snapshot.pods.remove(&gone.key);
                        }
                        let new = cluster.pods.get(key).into_iter();
                        put(&mut snapshot.pods, new.flat_map(|pod| on_networks(pod, network)));
                    }
                }
                Some(snapshot) => snapshot.follow(&on_network(cluster, network)),
                None => {
                    self.networks.insert(network.clone(), on_network(cluster, network));
                }
            }
        }
    }

    /// A network.
    pub fn network(&self, network: &ObjectKey) -> Option<&Snapshot> {
        self.networks.get(network)
    }
}

/// A network, from scratch.
pub fn on_network(cluster: &Snapshot, network: &ObjectKey) -> Snapshot {
    let mut pods = OrdMap::new();
    for pod in cluster.pods.values() {
        put(&mut pods, on_networks(pod, network));
    }
    let policies = cluster.multi_policies.iter();
    let policies = policies
        .filter_map(|(key, policy)| Some((key.clone(), Arc::new(translated(policy, network)?))));
    Snapshot {
        policies: policies.collect(),
        pods,
        namespaces: cluster.namespaces.clone(),
        ..Snapshot::default()
    }
}

/// The networks on which a pod is, by its own report.
pub fn networks_of(pod: &Pod) -> BTreeSet<ObjectKey> {
    let all = pod.attachment.networks.iter();
    all.filter_map(|one| one.definition(&pod.key.namespace)).collect()
}

/// A selector of a network's policies as its author wrote it: without the network.
pub fn as_written(selector: &Selector) -> Selector {
    Selector::new(selector.requirements().filter(|one| one.key != NETWORK).cloned())
}

fn put(pods: &mut OrdMap<ObjectKey, Arc<Pod>>, new: impl Iterator<Item = Pod>) {
    for pod in new {
        pods.insert(pod.key.clone(), Arc::new(pod));
    }
}

/// A pod on each of its networks, seen from one of them.
fn on_networks(pod: &Pod, here: &ObjectKey) -> impl Iterator<Item = Pod> {
    let mut addresses: BTreeMap<ObjectKey, Vec<IpAddr>> = BTreeMap::new();
    for one in &pod.attachment.networks {
        let Some(network) = one.definition(&pod.key.namespace) else { continue };
        let all = addresses.entry(network).or_default();
        for address in one.addresses.iter().map(IpAddr::to_canonical) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
    }
    addresses.into_iter().map(|(network, addresses)| on_one(pod, &network, addresses, here))
}

/// Of two pods with one address that on this network has it, then the older one: whoever
/// makes a pod later cannot take an address by writing it into the annotation. The owner is
/// the one that was created later (`takes_precedence`), so time runs backward here.
fn on_one(pod: &Pod, network: &ObjectKey, addresses: Vec<IpAddr>, here: &ObjectKey) -> Pod {
    let mut labels = pod.labels.clone();
    labels.insert(NETWORK.to_owned(), network.to_string());
    let age = 0i64.saturating_sub(pod.created.max(0));
    let (key, created) = match network == here {
        true => (pod.key.clone(), age.saturating_add(i64::MAX)),
        false => {
            let name = format!("{} on {network}", pod.key.name);
            (ObjectKey::new(pod.key.namespace.as_str(), name), age)
        }
    };
    Pod { key, labels, addresses, created, host_addresses: Vec::new(), ..pod.clone() }
}

/// A policy on a network, in the words of NetworkPolicy.
fn translated(policy: &MultiNetworkPolicy, network: &ObjectKey) -> Option<NetworkPolicy> {
    if !policy.networks.holds_on(network) {
        return None;
    }
    let here = BTreeSet::from([network.clone()]);
    let there = match &policy.networks {
        PolicyFor::Networks(networks) => networks,
        PolicyFor::Unreadable => &here,
    };
    let rules = |rules: &Option<Vec<Rule>>| {
        let rules = rules.as_ref()?.iter();
        Some(rules.map(|rule| Rule { peers: peers(&rule.peers, there), ..rule.clone() }).collect())
    };
    let own = &policy.policy;
    Some(NetworkPolicy {
        pod_selector: on_one_of(&own.pod_selector, &here),
        ingress: rules(&own.ingress),
        egress: rules(&own.egress),
        ..own.clone()
    })
}

fn peers(peers: &Peers, networks: &BTreeSet<ObjectKey>) -> Peers {
    let Peers::Only(peers) = peers else { return Peers::Anyone };
    let one = |peer: &Peer| match peer {
        Peer::Pods(pods) => {
            let mut pods = pods.clone();
            pods.pods = on_one_of(&pods.pods, networks);
            Peer::Pods(pods)
        }
        Peer::IpBlock(block) => Peer::IpBlock(block.clone()),
    };
    Peers::Only(peers.iter().map(one).collect())
}

fn on_one_of(selector: &Selector, networks: &BTreeSet<ObjectKey>) -> Selector {
    let names = networks.iter().map(ToString::to_string).collect();
    let network = Requirement { key: NETWORK.to_owned(), operator: Operator::In(names) };
    Selector::new(selector.requirements().cloned().chain([network]))
}

#[cfg(test)]
mod tests;
