//! The ends of connections that a question is about: workloads, pods, nodes, and
//! addresses outside the cluster.
//!
//! In: one cluster, or two versions of it. Out: [`Unit`]s, each with its addresses in
//! each version.
//! Never: an end that exists only because two policies differ in it alone. Outside
//! addresses are one end as long as no ipBlock of any version tells them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::{ObjectKey, Pod, Snapshot};

use super::outside::{self, Outside};
use crate::Cluster;
use crate::reach::Family;

/// How many ends may be judged. Each is judged with each, and a pair takes 16 bytes.
const MOST: usize = 5_000;

/// Too many ends: their pairs would take too much memory and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the matrix would have {0} rows, and {MOST} are the most. Give it fewer manifests: each \
     workload is a row, and so is each range of addresses that ipBlocks tell apart"
)]
pub struct TooManyEnds(pub usize);

impl TooManyEnds {
    /// Whether this many are too many.
    pub(super) fn check(ends: usize) -> Result<(), Self> {
        if ends > MOST { Err(Self(ends)) } else { Ok(()) }
    }
}

/// What an end is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Addresses outside the cluster.
    Outside(Outside),
    /// A node, by its name, else its address. Pods in the node's network have its
    /// addresses, too.
    Node(String),
    /// An address that is kept although no pod reports it.
    Kept(IpAddr),
    /// The pods of a workload: its kind, namespace and name.
    Workload(String, ObjectKey),
    /// One pod.
    Pod(ObjectKey),
}

impl Unit {
    /// The namespace, for pods.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Workload(_, key) | Self::Pod(key) => Some(&key.namespace),
            Self::Outside(_) | Self::Node(_) | Self::Kept(_) => None,
        }
    }

    /// Whether policies can hold for it: it has, or had, a pod.
    pub fn is_pod(&self) -> bool {
        match self {
            Self::Workload(..) | Self::Pod(_) | Self::Kept(_) => true,
            Self::Outside(_) | Self::Node(_) => false,
        }
    }
}

/// The addresses of each end in each version. Those of pods that have ended, and of
/// pods in their node's network, are no ends.
pub fn units(versions: &[&Cluster]) -> BTreeMap<Unit, Vec<Vec<IpAddr>>> {
    let mut units: BTreeMap<Unit, Vec<Vec<IpAddr>>> = BTreeMap::new();
    let mut add = |unit: Unit, version: usize, address: IpAddr| {
        let addresses = units.entry(unit).or_insert_with(|| vec![Vec::new(); versions.len()]);
        if !addresses[version].contains(&address) {
            addresses[version].push(address);
        }
    };
    for (version, cluster) in versions.iter().enumerate() {
        for pod in pods(cluster) {
            let unit = unit_of(versions, cluster, pod);
            pod.addresses.iter().for_each(|address| add(unit.clone(), version, *address));
        }
        for address in cluster.snapshot.kept.keys() {
            add(Unit::Kept(*address), version, *address);
        }
    }
    // A node, and the world outside, are there whether or not a version shows them.
    let snapshots: Vec<&Snapshot> = versions.iter().map(|cluster| &cluster.snapshot).collect();
    let nodes: Vec<_> = versions.iter().map(|one| nodes(one)).collect();
    let mut taken: BTreeSet<IpAddr> =
        nodes.iter().flat_map(BTreeMap::values).flatten().copied().collect();
    for snapshot in &snapshots {
        let pods = snapshot.pods.values().filter(|pod| pod.is_subject());
        taken.extend(pods.flat_map(|pod| &pod.addresses));
        taken.extend(snapshot.kept.keys());
    }
    let outside = outside::ends(&snapshots, &taken);
    for version in 0..versions.len() {
        for name in nodes.iter().flat_map(BTreeMap::keys) {
            let here = nodes[version].get(name);
            let known = here.or_else(|| nodes.iter().find_map(|one| one.get(name)));
            for address in known.into_iter().flatten() {
                add(Unit::Node(name.clone()), version, *address);
            }
        }
        for (unit, addresses) in &outside {
            addresses.iter().for_each(|one| add(Unit::Outside(unit.clone()), version, *one));
        }
    }
    units
}

/// The pods that policies can select, on the network that the cluster is about.
pub fn pods(cluster: &Cluster) -> impl Iterator<Item = &Pod> {
    cluster.ends().filter(|pod| pod.is_subject())
}

/// The nodes with their addresses, as Nodes and pods tell them. Those that are made up for
/// the pods of manifests do not count.
pub fn nodes(cluster: &Cluster) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let mut nodes: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for node in cluster.nodes.values() {
        nodes.entry(node.name.clone()).or_default().extend(&node.addresses);
    }
    let real = cluster.snapshot.pods.values().filter(|pod| !cluster.symbolic.contains(&pod.key));
    for pod in real {
        for address in &pod.host_addresses {
            let name = pod.node.clone().unwrap_or_else(|| address.to_string());
            nodes.entry(name).or_default().insert(*address);
        }
    }
    nodes
}

/// A pod that all versions have stands for itself. Otherwise it stands for its workload.
pub fn unit_of(versions: &[&Cluster], cluster: &Cluster, pod: &Pod) -> Unit {
    let real = |one: &&Cluster| {
        one.snapshot.pods.contains_key(&pod.key) && !one.symbolic.contains(&pod.key)
    };
    match cluster.workloads.get(&pod.key) {
        Some(workload) if !(versions.len() > 1 && versions.iter().all(real)) => {
            Unit::Workload(workload.kind.clone(), workload.key.clone())
        }
        Some(_) | None => Unit::Pod(pod.key.clone()),
    }
}

/// The addresses of one family.
pub fn of_family(addresses: &[IpAddr], family: Family) -> impl Iterator<Item = IpAddr> {
    addresses.iter().copied().filter(move |address| family.has(*address))
}
