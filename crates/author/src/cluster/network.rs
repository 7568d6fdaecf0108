//! A further network, as a cluster of its own.
//!
//! In: a cluster, the name of a network. Out: the pods on it under their addresses there, the
//! MultiNetworkPolicies for it in the words of NetworkPolicy ([`policy::secondary`]).
//! Never: Services and nodes, which are on the primary network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::secondary::{self, NETWORK, networks_of};
use policy::{ObjectKey, Pod, PolicyFor, Snapshot, network_name};
use thiserror::Error;

use super::Cluster;
use super::addresses::has_blocks;

/// How many networks a line names.
const NAMED: usize = 3;

/// A further network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its NetworkAttachmentDefinition.
    pub key: ObjectKey,
    /// The pods and workloads that are not on it, with the networks that they are on.
    pub elsewhere: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

/// A network about which nothing can be said.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Not the name of one.
    #[error("--network {0}: give it as NAMESPACE/NAME, such as default/macvlan-1")]
    NoName(String),
    /// Nothing names it.
    #[error(
        "there is no network {0}: no pod is on it, and no MultiNetworkPolicy and no \
         NetworkAttachmentDefinition names it{near}", near = nearest(.1)
    )]
    Unknown(ObjectKey, Vec<String>),
    /// The policies could not be listed.
    #[error("you may not list multi-networkpolicies, so what passes there cannot be told")]
    Unread,
}

fn nearest(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; those that there are: {}", names.join(", ")),
    }
}

/// Says how many policies are of further networks, and of which; `None` if none is.
pub fn further_networks(snapshot: &Snapshot) -> Option<String> {
    let policies = &snapshot.multi_policies;
    let named = policies.values().flat_map(|one| match &one.networks {
        PolicyFor::Networks(networks) => networks.iter().collect(),
        PolicyFor::Unreadable => Vec::new(),
    });
    let names: BTreeSet<String> = named.map(ToString::to_string).collect();
    let shown: Vec<String> = names.iter().take(NAMED).cloned().collect();
    let shown = match (shown.is_empty(), names.len().saturating_sub(NAMED)) {
        (true, _) => String::new(),
        (false, 0) => format!(" ({})", shown.join(", ")),
        (false, more) => format!(" ({} and {more} more)", shown.join(", ")),
    };
    match policies.len() {
        0 => None,
        1 => Some(format!("1 MultiNetworkPolicy is of further networks{shown}")),
        count => Some(format!("{count} MultiNetworkPolicies are of further networks{shown}")),
    }
}

/// Says how many policies are in audit; `None` if none is.
pub(super) fn audited(snapshot: &Snapshot) -> Option<String> {
    let audited = snapshot.policies.values().filter(|one| !one.is_enforced()).count();
    (audited > 0).then(|| {
        format!(
            "{audited} {} in audit (nftpol.dev/mode) and drop nothing; what passes is told as if \
             they were not there",
            if audited == 1 { "policy is" } else { "policies are" }
        )
    })
}

impl Cluster {
    /// The further networks that anything names.
    pub fn networks(&self) -> BTreeSet<ObjectKey> {
        let of_pods = self.snapshot.pods.values().flat_map(|pod| networks_of(pod));
        let policies = self.snapshot.multi_policies.values();
        let of_policies = policies.flat_map(|one| match &one.networks {
            PolicyFor::Networks(networks) => networks.clone(),
            PolicyFor::Unreadable => BTreeSet::new(),
        });
        self.declared_networks.iter().cloned().chain(of_pods).chain(of_policies).collect()
    }

    /// The network that an author names. A name alone is of the answer's namespace.
    ///
    /// # Errors
    /// See [`NetworkError::NoName`].
    pub fn network_of(&self, written: &str) -> Result<ObjectKey, NetworkError> {
        network_name(written, &self.namespace)
            .ok_or_else(|| NetworkError::NoName(written.to_owned()))
    }

    /// Whether there can be an answer about a network.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn knows_network(&self, network: &ObjectKey) -> Result<(), NetworkError> {
        let known = self.networks();
        if self.lacks_multi_policies {
            return Err(NetworkError::Unread);
        }
        if known.contains(network) {
            return Ok(());
        }
        let names = known.iter().map(ToString::to_string).collect();
        Err(NetworkError::Unknown(network.clone(), names))
    }

    /// The network, as a cluster of its own.
    #[must_use]
    pub fn on_network(&self, network: &ObjectKey) -> Self {
        // A pod that is asked to end is judged in its own namespace until it is gone, whoever
        // else reports its address.
        let staying = |pod: &Arc<Pod>| match pod.is_ending {
            true => Arc::new(Pod { is_ending: false, ..Pod::clone(pod) }),
            false => Arc::clone(pod),
        };
        let snapshot = secondary::on_network(&self.snapshot, network);
        let pods = snapshot.pods.iter().map(|(key, pod)| (key.clone(), staying(pod))).collect();
        let snapshot = Snapshot { pods, ..snapshot };
        let symbolic = self.symbolic_on.iter().filter(|(_, on)| on == network);
        let is_here = |key: &ObjectKey| snapshot.pods.contains_key(key);
        let workloads = self.workloads.iter().filter(|(key, _)| is_here(key));
        let workloads: BTreeMap<_, _> =
            workloads.map(|(key, one)| (key.clone(), one.clone())).collect();
        let mut one = Self {
            symbolic: symbolic.map(|(pod, _)| pod.clone()).collect(),
            network: Some(Network {
                key: network.clone(),
                elsewhere: self.elsewhere(network, &workloads),
            }),
            workloads,
            templates: self.templates.clone(),
            made_up: self.made_up,
            listens: self.listens.clone(),
            assumed_namespaces: self.assumed_namespaces.clone(),
            namespace: self.namespace.clone(),
            focus: self.focus.clone(),
            is_whole: self.is_whole,
            places: self.places.of_multi_policies(),
            declared_networks: self.declared_networks.clone(),
            snapshot,
            ..Self::default()
        };
        one.notices = one.notices_of(network);
        one
    }

    /// Pods and workloads that are not on a network.
    fn elsewhere(
        &self,
        network: &ObjectKey,
        here: &BTreeMap<ObjectKey, super::Workload>,
    ) -> BTreeMap<ObjectKey, BTreeSet<ObjectKey>> {
        let mut elsewhere: BTreeMap<ObjectKey, BTreeSet<ObjectKey>> = BTreeMap::new();
        for (key, pod) in &self.snapshot.pods {
            let networks = networks_of(pod);
            let workload = self.workloads.get(key).map(|one| &one.key);
            let is_other = |key: &ObjectKey| here.values().all(|one| one.key != *key);
            if !networks.contains(network) {
                for key in [key].into_iter().chain(workload.filter(|key| is_other(key))) {
                    elsewhere.entry(key.clone()).or_default().extend(networks.iter().cloned());
                }
            }
        }
        elsewhere
    }

    /// The pods that an answer is about: all, or those on the network.
    pub fn ends(&self) -> impl Iterator<Item = &Pod> {
        let here = self.network.as_ref().map(|network| network.key.to_string());
        let pods = self.snapshot.pods.values().map(|pod| &**pod);
        pods.filter(move |pod| here.is_none() || pod.labels.get(NETWORK) == here.as_deref())
    }

    /// What is made up or not clear there.
    fn notices_of(&self, network: &ObjectKey) -> Vec<String> {
        let mut notices: Vec<String> = audited(&self.snapshot).into_iter().collect();
        let mut owners: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        for pod in self.ends().filter(|pod| pod.is_subject()) {
            pod.addresses.iter().for_each(|address| {
                owners.entry(*address).or_default().push(pod.key.to_string());
            });
        }
        if self.ends().next().is_none() {
            notices.push(format!("no pod here is on network {network}"));
        }
        for (address, pods) in owners.iter().filter(|(_, pods)| pods.len() > 1) {
            notices.push(format!(
                "{} report {address} on network {network}: where their policies differ, it is \
                 told as if nothing passed",
                pods.join(" and ")
            ));
        }
        let count = self.symbolic.len();
        if count > 0 && has_blocks(&self.snapshot) {
            notices.push(format!(
                "{count} {} no address on network {network} here, so it is not known which \
                 ipBlock holds them",
                if count == 1 { "pod has" } else { "pods have" }
            ));
        }
        let without: Vec<String> = self
            .ends()
            .filter(|pod| pod.is_subject() && pod.addresses.is_empty())
            .map(|pod| pod.key.to_string())
            .collect();
        if !without.is_empty() {
            notices.push(format!(
                "{} on network {network} without an address: nothing passes there while a policy \
                 isolates a pod without one",
                match without.as_slice() {
                    [one] => format!("{one} is"),
                    all => format!("{} are", all.join(", ")),
                }
            ));
        }
        notices
    }
}
