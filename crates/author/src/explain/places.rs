//! The objects and addresses that an end names.
//!
//! In: an end, the cluster. Out: places, each with the addresses that policies see.
//! Never: a guess between two objects of one name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::{ObjectKey, Pod};
use thiserror::Error;

use super::end::{End, Named, short_kind};
use super::outside;
use super::report::EndName;
use crate::cluster::{Cluster, Workload};
use crate::reach::{Family, Reach};

/// One of the things that an end names.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Its name for people.
    pub name: String,
    /// The pod, if it is one, in the network of its node or not.
    pub pod: Option<&'a Pod>,
    /// What policies see.
    pub addresses: Vec<IpAddr>,
    /// Whether the addresses say nothing: they are made up, or stand for many.
    pub symbolic: bool,
    /// The node that it is, or is on.
    pub node: Option<String>,
}

/// An end that names nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// No such object.
    #[error("there is no {what} {name}{}", nearest(.near))]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
        /// Names that are there, the nearest first.
        near: Vec<String>,
    },
    /// Several objects of one name.
    #[error("{name} names {}; write which", .found.join(" and "))]
    Ambiguous {
        /// The name.
        name: String,
        /// How each is written.
        found: Vec<String>,
    },
    /// Nothing to look at.
    #[error("{0} has no running pod")]
    NoPods(String),
    /// Not on the network.
    #[error("{name} is not on network {network}{}", on(.networks))]
    Elsewhere {
        /// The name.
        name: String,
        /// Which network is asked about.
        network: ObjectKey,
        /// The further networks that it is on.
        networks: Vec<String>,
    },
    /// On the network, and not reachable there.
    #[error(
        "{0} reports no address on network {1}: nothing passes there while a policy isolates it"
    )]
    NoAddress(ObjectKey, ObjectKey),
    /// A pod that has ended.
    #[error("{0} has ended: its addresses may be another pod's by now")]
    Ended(ObjectKey),
}

fn nearest(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; the nearest names are {}", names.join(", ")),
    }
}

fn on(networks: &[String]) -> String {
    match networks {
        [] => ": it reports no further network and asks for none (annotation \
               k8s.v1.cni.cncf.io/networks)"
            .to_owned(),
        networks => format!("; it is on {}", networks.join(", ")),
    }
}

/// How many names are suggested.
const SUGGESTED: usize = 5;

/// The nearest of these names: those that contain the text or are contained in it, then
/// by the letters that differ.
pub fn suggested<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let last = |name: &'n str| name.rsplit('/').next().unwrap_or(name);
    let wanted = text.rsplit('/').next().unwrap_or(text);
    let distance = |name: &'n str| {
        let within = name.contains(wanted) || wanted.contains(last(name));
        let own = strsim::damerau_levenshtein(wanted, last(name));
        (!within, own, strsim::damerau_levenshtein(text, name))
    };
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_cached_key(|name| (distance(name), *name));
    names.dedup();
    names.into_iter().take(SUGGESTED).map(str::to_owned).collect()
}

impl Place<'_> {
    /// Its address of a family.
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| family.has(*address))
    }

    /// Its name with addresses and node.
    pub fn end_name(&self) -> EndName {
        let addresses = self.addresses.iter().filter(|_| !self.symbolic);
        EndName {
            name: self.name.clone(),
            addresses: addresses.map(ToString::to_string).collect(),
            node: self.node.clone().filter(|_| self.pod.is_some()),
        }
    }
}

/// The places that an end names. Not for Services.
///
/// # Errors
/// See [`PlaceError`].
pub fn of<'a>(
    cluster: &'a Cluster,
    reach: &Reach<'a>,
    end: &End,
) -> Result<Vec<Place<'a>>, PlaceError> {
    match &end.named {
        Named::Internet => Ok(outside::internet(cluster, reach)),
        Named::Address(address) => Ok(vec![at(cluster, reach, *address)]),
        Named::Node(name) => node(cluster, name),
        Named::Service(key) => Err(PlaceError::Unknown {
            what: "pod of the name of Service",
            name: key.to_string(),
            near: Vec::new(),
        }),
        Named::PodOrWorkload(key) => pod_or_workload(cluster, reach, key),
        Named::Workload("Pod", key) => match cluster.snapshot.pods.get(key) {
            Some(pod) => Ok(vec![of_pod(cluster, reach, pod)?]),
            None => Err(unknown(cluster, "pod", key)),
        },
        Named::Workload(kind, key) => {
            let pods = pods_of(cluster, |one| one.kind == *kind && one.key == *key);
            match pods.is_empty() {
                true => Err(unknown(cluster, kind, key)),
                false => many(cluster, reach, &end.text, pods),
            }
        }
        Named::Selected(namespace, selector) => {
            let pods = cluster
                .ends()
                .filter(|pod| pod.key.namespace == *namespace && selector.matches(&pod.labels));
            many(cluster, reach, &end.text, pods.collect())
        }
        Named::AllOf(namespace) => {
            let pods = cluster.ends().filter(|pod| pod.key.namespace == *namespace);
            many(cluster, reach, &end.text, pods.collect())
        }
    }
}

fn pods_of(cluster: &Cluster, is_wanted: impl Fn(&Workload) -> bool) -> Vec<&Pod> {
    let keys = cluster.workloads.iter().filter(|(_, workload)| is_wanted(workload));
    keys.filter_map(|(key, _)| cluster.snapshot.pods.get(key)).map(|pod| &**pod).collect()
}

fn pod_or_workload<'a>(
    cluster: &'a Cluster,
    reach: &Reach<'a>,
    key: &ObjectKey,
) -> Result<Vec<Place<'a>>, PlaceError> {
    let pod = cluster.snapshot.pods.get(key).map(|pod| &**pod);
    let workloads: BTreeSet<_> = cluster.workloads.values().filter(|one| one.key == *key).collect();
    let written = |kind: &str| format!("{}/{}/{}", key.namespace, short_kind(kind), key.name);
    // A pod that stands for a workload has its name.
    let pod = pod.filter(|pod| cluster.workloads.get(&pod.key).is_none_or(|one| one.key != *key));
    let kinds = pod.map(|_| "Pod").into_iter();
    let kinds: Vec<&str> = kinds.chain(workloads.iter().map(|one| one.kind.as_str())).collect();
    match (kinds.as_slice(), pod) {
        ([], _) => Err(unknown(cluster, "pod or workload", key)),
        ([_], Some(pod)) => Ok(vec![of_pod(cluster, reach, pod)?]),
        ([kind], None) => {
            let pods = pods_of(cluster, |one| one.kind == *kind && one.key == *key);
            many(cluster, reach, &written(kind), pods)
        }
        _ => Err(PlaceError::Ambiguous {
            name: key.to_string(),
            found: kinds.iter().map(|kind| written(kind)).collect(),
        }),
    }
}

fn unknown(cluster: &Cluster, what: &'static str, key: &ObjectKey) -> PlaceError {
    if let Some(network) = &cluster.network
        && let Some(networks) = network.elsewhere.get(key)
    {
        let networks = networks.iter().map(ToString::to_string).collect();
        return PlaceError::Elsewhere {
            name: key.to_string(),
            network: network.key.clone(),
            networks,
        };
    }
    // A pod that stands for a workload has its name, too.
    let is_pod = |key: &&ObjectKey| cluster.workloads.get(*key).is_none_or(|one| one.key != **key);
    let pods = cluster.ends().map(|pod| &pod.key).filter(is_pod).map(ToString::to_string);
    let workloads = cluster.workloads.values();
    let workloads = workloads
        .map(|one| format!("{}/{}/{}", one.key.namespace, short_kind(&one.kind), one.key.name));
    let names: BTreeSet<String> = pods.chain(workloads).collect();
    let names = names.iter().map(String::as_str);
    PlaceError::Unknown { what, name: key.to_string(), near: suggested(&key.to_string(), names) }
}

/// The pods that live; it is an error if none does.
fn many<'a>(
    cluster: &'a Cluster,
    reach: &Reach<'a>,
    text: &str,
    pods: Vec<&'a Pod>,
) -> Result<Vec<Place<'a>>, PlaceError> {
    let places: Vec<_> =
        pods.into_iter().filter_map(|pod| of_pod(cluster, reach, pod).ok()).collect();
    if places.is_empty() { Err(PlaceError::NoPods(text.to_owned())) } else { Ok(places) }
}

/// A pod as a place.
///
/// # Errors
/// It has ended.
pub fn of_pod<'a>(
    cluster: &'a Cluster,
    reach: &Reach<'a>,
    pod: &'a Pod,
) -> Result<Place<'a>, PlaceError> {
    if !pod.is_subject() && !pod.host_network {
        return Err(PlaceError::Ended(pod.key.clone()));
    }
    if let Some(network) = cluster.network.as_ref().filter(|_| pod.addresses.is_empty()) {
        return Err(PlaceError::NoAddress(pod.key.clone(), network.key.clone()));
    }
    let mut symbolic = cluster.symbolic.contains(&pod.key);
    let mut addresses = pod.addresses.clone();
    if pod.host_network {
        addresses.extend(pod.host_addresses.iter().filter(|one| !pod.addresses.contains(one)));
    }
    if addresses.is_empty() {
        // It has none yet: as an address that nothing is known of.
        symbolic = true;
        addresses = outside::unused(reach, cluster);
    }
    let workload = cluster.workloads.get(&pod.key).filter(|_| symbolic);
    let name = match workload {
        Some(one) => format!("{}/{}/{}", one.key.namespace, short_kind(&one.kind), one.key.name),
        None => pod.key.to_string(),
    };
    Ok(Place { name, pod: Some(pod), addresses, symbolic, node: pod.node.clone() })
}

/// What has an address.
pub fn at<'a>(cluster: &'a Cluster, reach: &Reach<'a>, address: IpAddr) -> Place<'a> {
    let nodes = nodes(cluster);
    let node = nodes.iter().find(|(_, addresses)| addresses.contains(&address));
    let (name, pod) = match (reach.owner(address), node) {
        (Some(pod), _) => (format!("{} at {address}", pod.key), Some(pod)),
        (None, Some((node, _))) => (format!("node/{node} at {address}"), None),
        (None, None) => (address.to_string(), None),
    };
    let node = pod.map_or(node.map(|(name, _)| name.clone()), |pod| pod.node.clone());
    Place { name, pod, addresses: vec![address], symbolic: false, node }
}

/// The addresses of each node, as it and its pods report them.
pub fn nodes(cluster: &Cluster) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let known = cluster.nodes.values();
    let mut nodes: BTreeMap<String, BTreeSet<IpAddr>> =
        known.map(|one| (one.name.clone(), one.addresses.iter().copied().collect())).collect();
    for pod in cluster.snapshot.pods.values() {
        let Some(node) = &pod.node else { continue };
        if cluster.symbolic.contains(&pod.key) {
            continue;
        }
        let own = pod.addresses.iter().filter(|_| pod.host_network);
        nodes.entry(node.clone()).or_default().extend(pod.host_addresses.iter().chain(own));
    }
    nodes
}

fn node<'a>(cluster: &Cluster, name: &str) -> Result<Vec<Place<'a>>, PlaceError> {
    let nodes = nodes(cluster);
    let Some(addresses) = nodes.get(name).filter(|addresses| !addresses.is_empty()) else {
        let known = nodes.keys().map(String::as_str);
        return Err(PlaceError::Unknown {
            what: "node with a known address of the name",
            name: name.to_owned(),
            near: suggested(name, known),
        });
    };
    let addresses = addresses.iter().copied().collect();
    Ok(vec![Place {
        name: format!("node/{name}"),
        pod: None,
        addresses,
        symbolic: false,
        node: Some(name.to_owned()),
    }])
}
