//! A network beside the primary one, as a cluster of its own.
//!
//! In: the objects of a cluster, with [`MultiNetworkPolicy`] objects and the networks that
//! pods report. Out: for one network a [`Snapshot`] that means what
//! [`crate::spec::secondary`] says, in the words of NetworkPolicy. So the same engine, table
//! and proof serve both.
//! Never: an address of a pod's primary network; an address of the pod's node; an object that
//! is copied for each network. A tenant chooses how many networks its pods and policies name.
//!
//! | of the cluster | becomes |
//! |---|---|
//! | a pod on the network | a pod of the same name, with its addresses there, and the labels [`NETWORK`] and [`HERE`] |
//! | the same pod on another network | one more pod, `name on namespace/network`, without [`HERE`] |
//! | a policy for the network | a NetworkPolicy: its podSelector asks for [`HERE`], each podSelector of a peer for one of the policy's networks |
//! | other policies, other pods | nothing |
//!
//! The keys of the labels have blanks, so no object of the API has them.

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
/// The label of the pods that are on the network of the snapshot.
pub const HERE: &str = "on this network";

/// The networks that are asked for, each as a snapshot that follows the cluster.
#[derive(Clone, Debug, Default)]
pub struct Secondary {
    /// The cluster, as of the last call.
    cluster: Snapshot,
    /// Each policy in the words of NetworkPolicy.
    policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    /// Each pod on each of its networks, as the others see it.
    elsewhere: OrdMap<ObjectKey, Arc<Pod>>,
    /// The pods on each network.
    on: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
    networks: BTreeMap<ObjectKey, Snapshot>,
}

impl Secondary {
    /// Goes on to another state of the cluster, for these networks alone. The cost is that of
    /// the changed objects, for each network. A network that was not asked for before costs as
    /// much as it has pods.
    pub fn follow(&mut self, cluster: &Snapshot, wanted: &BTreeSet<ObjectKey>) {
        self.networks.retain(|network, _| wanted.contains(network));
        let policies = differing(&self.cluster.multi_policies, &cluster.multi_policies);
        let pods = differing(&self.cluster.pods, &cluster.pods);
        let before = std::mem::replace(&mut self.cluster, cluster.clone());
        for key in &policies {
            match cluster.multi_policies.get(key) {
                Some(policy) => self.policies.insert(key.clone(), Arc::new(translated(policy))),
                None => self.policies.remove(key),
            };
        }
        for key in &pods {
            before.pods.get(key).into_iter().for_each(|pod| self.remove(pod));
            cluster.pods.get(key).into_iter().for_each(|pod| self.add(pod));
        }
        for (network, snapshot) in &mut self.networks {
            snapshot.namespaces = cluster.namespaces.clone();
            for key in &policies {
                let policy = cluster.multi_policies.get(key);
                let policy = policy.filter(|policy| policy.networks.holds_on(network));
                match policy.and_then(|_| self.policies.get(key)) {
                    Some(policy) => snapshot.policies.insert(key.clone(), Arc::clone(policy)),
                    None => snapshot.policies.remove(key),
                };
            }
        }
        let new = wanted.iter().filter(|network| !self.networks.contains_key(*network));
        let new: Vec<(ObjectKey, Snapshot)> =
            new.map(|network| (network.clone(), self.begin(network))).collect();
        self.networks.extend(new);
    }

    /// A network.
    pub fn network(&self, network: &ObjectKey) -> Option<&Snapshot> {
        self.networks.get(network)
    }

    fn begin(&self, network: &ObjectKey) -> Snapshot {
        let mut pods = self.elsewhere.clone();
        for key in self.on.get(network).into_iter().flatten() {
            let Some(pod) = self.cluster.pods.get(key) else { continue };
            pods.remove(&elsewhere_key(key, network));
            for (_, addresses) in by_network(pod).filter(|(on, _)| on == network) {
                pods.insert(key.clone(), Arc::new(here(pod, network, addresses)));
            }
        }
        let holding = self.cluster.multi_policies.iter();
        let holding = holding.filter(|(_, policy)| policy.networks.holds_on(network));
        let policies =
            holding.filter_map(|(key, _)| Some((key.clone(), self.policies.get(key)?.clone())));
        Snapshot {
            policies: policies.collect(),
            pods,
            namespaces: self.cluster.namespaces.clone(),
            ..Snapshot::default()
        }
    }

    fn remove(&mut self, pod: &Pod) {
        for network in networks_of(pod) {
            let key = elsewhere_key(&pod.key, &network);
            self.elsewhere.remove(&key);
            if let Some(pods) = self.on.get_mut(&network) {
                pods.remove(&pod.key);
                if pods.is_empty() {
                    self.on.remove(&network);
                }
            }
            for (here, snapshot) in &mut self.networks {
                snapshot.pods.remove(if *here == network { &pod.key } else { &key });
            }
        }
    }

    fn add(&mut self, pod: &Pod) {
        for (network, addresses) in by_network(pod) {
            let there = Arc::new(elsewhere(pod, &network, addresses.clone()));
            self.on.entry(network.clone()).or_default().insert(pod.key.clone());
            self.elsewhere.insert(there.key.clone(), Arc::clone(&there));
            for (on, snapshot) in &mut self.networks {
                let one = match *on == network {
                    true => Arc::new(here(pod, &network, addresses.clone())),
                    false => Arc::clone(&there),
                };
                snapshot.pods.insert(one.key.clone(), one);
            }
        }
    }
}

/// A network, from scratch.
pub fn on_network(cluster: &Snapshot, network: &ObjectKey) -> Snapshot {
    let mut pods = OrdMap::new();
    for pod in cluster.pods.values() {
        for (on, addresses) in by_network(pod) {
            let one = match on == *network {
                true => here(pod, network, addresses),
                false => elsewhere(pod, &on, addresses),
            };
            pods.insert(one.key.clone(), Arc::new(one));
        }
    }
    let policies = cluster.multi_policies.iter();
    let policies = policies.filter(|(_, policy)| policy.networks.holds_on(network));
    Snapshot {
        policies: policies.map(|(key, one)| (key.clone(), Arc::new(translated(one)))).collect(),
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

/// A pod's addresses on each of its networks.
fn by_network(pod: &Pod) -> impl Iterator<Item = (ObjectKey, Vec<IpAddr>)> {
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
    addresses.into_iter()
}

fn elsewhere_key(pod: &ObjectKey, network: &ObjectKey) -> ObjectKey {
    ObjectKey::new(pod.namespace.as_str(), format!("{} on {network}", pod.name))
}

/// Of two pods with one address that on this network has it, then the older one: whoever
/// makes a pod later cannot take an address by writing it into the annotation. The owner is
/// the one that was created later (`takes_precedence`), so time runs backward here.
fn here(pod: &Pod, network: &ObjectKey, addresses: Vec<IpAddr>) -> Pod {
    let mut one = elsewhere(pod, network, addresses);
    one.labels.insert(HERE.to_owned(), String::new());
    Pod { key: pod.key.clone(), created: one.created.saturating_add(i64::MAX), ..one }
}

fn elsewhere(pod: &Pod, network: &ObjectKey, addresses: Vec<IpAddr>) -> Pod {
    let mut labels = pod.labels.clone();
    labels.insert(NETWORK.to_owned(), network.to_string());
    Pod {
        key: elsewhere_key(&pod.key, network),
        labels,
        addresses,
        created: 0i64.saturating_sub(pod.created.max(0)),
        host_addresses: Vec::new(),
        ..pod.clone()
    }
}

/// A policy in the words of NetworkPolicy. They are the same on each network where it holds.
fn translated(policy: &MultiNetworkPolicy) -> NetworkPolicy {
    let there = match &policy.networks {
        PolicyFor::Networks(networks) => {
            let names = networks.iter().map(ToString::to_string).collect();
            Requirement { key: NETWORK.to_owned(), operator: Operator::In(names) }
        }
        PolicyFor::Unreadable => is_here(),
    };
    let rules = |rules: &Option<Vec<Rule>>| {
        let rules = rules.as_ref()?.iter();
        Some(rules.map(|rule| Rule { peers: peers(&rule.peers, &there), ..rule.clone() }).collect())
    };
    let own = &policy.policy;
    NetworkPolicy {
        pod_selector: and(&own.pod_selector, &is_here()),
        ingress: rules(&own.ingress),
        egress: rules(&own.egress),
        ..own.clone()
    }
}

fn is_here() -> Requirement {
    Requirement { key: HERE.to_owned(), operator: Operator::Exists }
}

fn peers(peers: &Peers, there: &Requirement) -> Peers {
    let Peers::Only(peers) = peers else { return Peers::Anyone };
    let one = |peer: &Peer| match peer {
        Peer::Pods(pods) => {
            let mut pods = pods.clone();
            pods.pods = and(&pods.pods, there);
            Peer::Pods(pods)
        }
        Peer::IpBlock(block) => Peer::IpBlock(block.clone()),
    };
    Peers::Only(peers.iter().map(one).collect())
}

fn and(selector: &Selector, more: &Requirement) -> Selector {
    Selector::new(selector.requirements().cloned().chain([more.clone()]))
}

#[cfg(test)]
mod tests;
