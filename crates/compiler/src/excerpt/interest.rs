//! What the policies of a pod read of other pods.
//!
//! In: policies. Out: peers and port names, and who reads a pod by them. Never: a pod's
//! addresses.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Direction, NetworkPolicy, ObjectKey, Peer, Peers, Pod, PortNumbers, Ports, Protocol, Rule,
};

use crate::ClusterIndex;
use crate::engine::selector_index::SelectorIndex;
use crate::sets::{PodsPeer, Scope};

/// Pods that a policy reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interest {
    /// Those that a peer selects.
    Peer(PodsPeer),
    /// Those with a port of this name, whatever their labels: an egress rule allows the name
    /// to any destination, or to ranges.
    PortName(String, Protocol),
}

impl Interest {
    fn peer(&self) -> Option<&PodsPeer> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::PortName(..) => None,
        }
    }

    /// Whether these are all pods of the cluster.
    pub fn is_everyone(&self) -> bool {
        self.peer().is_some_and(|PodsPeer { scope, pods }| match scope {
            Scope::Matching(namespaces) => namespaces.is_everything() && pods.is_everything(),
            Scope::Own(_) => false,
        })
    }

    /// The pods that it is about.
    pub fn pods<'a>(&self, cluster: &'a ClusterIndex) -> Vec<&'a Pod> {
        match self {
            Self::Peer(peer) => cluster.selected(peer),
            Self::PortName(..) => cluster.pods().filter(|pod| self.selects(pod, cluster)).collect(),
        }
    }

    fn selects(&self, pod: &Pod, cluster: &ClusterIndex) -> bool {
        match self {
            Self::Peer(peer) => cluster.selects(peer, pod),
            Self::PortName(name, protocol) => {
                pod.ports.iter().any(|port| port.name == *name && port.protocol == *protocol)
            }
        }
    }
}

/// What a policy reads.
pub(super) fn interests_of(policy: &NetworkPolicy) -> BTreeSet<Interest> {
    let ingress = policy.ingress.iter().flatten().map(|rule| (Direction::Ingress, rule));
    let egress = policy.egress.iter().flatten().map(|rule| (Direction::Egress, rule));
    let all = ingress.chain(egress);
    all.flat_map(|(direction, rule)| of_rule(direction, rule, &policy.key.namespace)).collect()
}

fn of_rule(direction: Direction, rule: &Rule, namespace: &str) -> Vec<Interest> {
    let peers: &[Peer] = match &rule.peers {
        Peers::Anyone => &[],
        Peers::Only(peers) => peers,
    };
    let mut found = Vec::new();
    let mut is_anyone = matches!(rule.peers, Peers::Anyone);
    for peer in peers {
        match peer {
            Peer::Pods(peer) => found.push(Interest::Peer(PodsPeer::new(peer, namespace))),
            Peer::IpBlock(_) => is_anyone = true,
        }
    }
    if direction == Direction::Egress && is_anyone {
        found.extend(port_names(rule));
    }
    found
}

fn port_names(rule: &Rule) -> impl Iterator<Item = Interest> {
    let ports: &[policy::Port] = match &rule.ports {
        Ports::Only(ports) => ports,
        Ports::All => &[],
    };
    ports.iter().filter_map(|port| match &port.numbers {
        PortNumbers::Named(name) => Some(Interest::PortName(name.clone(), port.protocol)),
        PortNumbers::All | PortNumbers::Range(..) => None,
    })
}

/// All interests, each with the pods whose policies have it.
#[derive(Debug, Default)]
pub(super) struct Interests {
    readers: BTreeMap<Interest, BTreeSet<ObjectKey>>,
    index: SelectorIndex<Interest>,
}

impl Interests {
    pub fn add(&mut self, interest: &Interest, reader: &ObjectKey) {
        let readers = self.readers.entry(interest.clone()).or_default();
        if readers.is_empty() {
            self.index.add(interest, [interest.peer()]);
        }
        readers.insert(reader.clone());
    }

    pub fn remove(&mut self, interest: &Interest, reader: &ObjectKey) {
        let Some(readers) = self.readers.get_mut(interest) else { return };
        readers.remove(reader);
        if readers.is_empty() {
            self.readers.remove(interest);
            self.index.remove(interest, [interest.peer()]);
        }
    }

    /// Those who read this pod.
    pub fn readers<'a>(
        &'a self,
        pod: &'a Pod,
        cluster: &'a ClusterIndex,
    ) -> impl Iterator<Item = &'a BTreeSet<ObjectKey>> {
        let selecting = self.index.candidates(pod).filter(|one| one.selects(pod, cluster));
        selecting.filter_map(|one| self.readers.get(one))
    }
}
