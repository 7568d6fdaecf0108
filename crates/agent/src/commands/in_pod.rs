//! A table in the network namespace of one pod: of its primary network, or of a further one.
//!
//! In: the command line, the objects. Out: what the table is made of, the kernel in that
//! namespace, and which of its interfaces are judged.
//! Never: the namespace that the command runs in, or one that has a node's table.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use agent::pods::{apart_from_network, has_nodes_table, judged};
use anyhow::{Context, Result, bail};
use compiler::Place;
use nft::links::{InsideInterface, LinkReader, inside_interfaces};
use nft::{Kernel, Namespace};
use policy::{Inside, NodeNetwork, ObjectKey, Pod, Snapshot, network_name, secondary, subject_of};
use ruleset::TableId;

use crate::cli::PlaceArgs;

/// What a table in a pod's namespace is made of.
pub(super) struct InPod {
    pub place: Place,
    /// What the table enforces: the cluster, or one further network of it.
    pub snapshot: Snapshot,
    pub pod: ObjectKey,
    /// The network, if it is not the pod's primary one.
    network: Option<ObjectKey>,
    /// The pod, as it was read.
    object: Pod,
}

impl InPod {
    /// The table that is asked for; `None` if it is the node's. `node`: whose pods are local.
    ///
    /// # Errors
    /// There is no such pod, or it is not on the network.
    pub fn of(args: &PlaceArgs, node: Option<&str>, cluster: &Snapshot) -> Result<Option<Self>> {
        let Some(name) = args.pod()? else { return Ok(None) };
        let pod = key_of(name)?;
        check(cluster, node, &pod)?;
        let object = cluster.pods.get(&pod).context("no such pod")?;
        let object = Pod::clone(object);
        let Some(written) = args.network.as_deref() else {
            let (place, snapshot) = (Place::inside(pod.clone()), cluster.clone());
            return Ok(Some(Self { place, snapshot, pod, network: None, object }));
        };
        let Some(network) = network_name(written, &pod.namespace) else {
            bail!("--network {written}: give it as NAMESPACE/NAME, as `default/macvlan-1`");
        };
        let snapshot = secondary::on_network(cluster, &network);
        if !snapshot.pods.contains_key(&pod) {
            bail!(
                "the annotation k8s.v1.cni.cncf.io/network-status of pod {pod} names no network \
                 {network}; nothing was changed"
            );
        }
        let place = Place::on_network(pod.clone(), &network);
        Ok(Some(Self { place, snapshot, pod, network: Some(network), object }))
    }

    /// The table.
    pub fn table(&self) -> TableId {
        TableId::inet(self.place.table.clone())
    }

    /// The pod's namespace before anybody looked into it.
    pub fn unseen(&self) -> NodeNetwork {
        with(Inside::of(self.pod.clone()))
    }

    /// The kernel in the pod's namespace. A node's own table is never replaced by a pod's: that
    /// would open all other pods.
    ///
    /// # Errors
    /// The namespace cannot be entered, or is that of a node.
    pub fn enter(&self, path: &Path) -> Result<Kernel> {
        let what = || format!("enter the network namespace {}", path.display());
        let namespace = Namespace::open(path).with_context(what)?;
        let own = Namespace::own().context("look at this network namespace")?;
        let pod = &self.pod;
        if namespace.id() == own.id() {
            bail!(
                "{} is the network namespace that this command runs in, not that of pod {pod}; run \
                 it on the node, with the file of the pod's (/proc/PID/ns/net); nothing was changed",
                path.display()
            );
        }
        let mut kernel = namespace.inside(Kernel::open).with_context(what)?.with_context(what)?;
        if has_nodes_table(&mut kernel).with_context(what)? {
            bail!(
                "{} has the table of a node, so it is not the network namespace of pod {pod}; \
                 nothing was changed",
                path.display()
            );
        }
        Ok(kernel)
    }

    /// The pod's namespace, with what the pod agent knows of it: which interfaces are judged,
    /// and the node's addresses where the table is of the primary network.
    ///
    /// # Errors
    /// The interfaces there or here cannot be read, or none is of the network.
    pub fn look(&self, path: &Path) -> Result<NodeNetwork> {
        let what = || format!("look at the interfaces in {}", path.display());
        let namespace = Namespace::open(path).with_context(what)?;
        let interfaces =
            namespace.inside(inside_interfaces).with_context(what)?.with_context(what)?;
        let Some(network) = &self.network else { return self.primary(&interfaces) };
        let Some(apart) = apart_from_network(&self.object, network, &interfaces) else {
            bail!(
                "none of the interfaces in {} is the one that pod {} reports for network \
                 {network}; nothing was changed",
                path.display(),
                self.pod
            );
        };
        Ok(with(Inside { apart: apart.into_iter().collect(), ..Inside::of(self.pod.clone()) }))
    }

    /// Where the pod's packets cross the node, all its interfaces are judged.
    fn primary(&self, interfaces: &[InsideInterface]) -> Result<NodeNetwork> {
        let wanted: BTreeSet<IpAddr> = self.object.addresses.iter().copied().collect();
        let mut reader = LinkReader::open().context("list the node's interfaces")?;
        let links = reader.read(&wanted).context("list the node's interfaces")?;
        let on_node = links.ports.iter().flat_map(|port| &port.addresses);
        let on_node = on_node.map(|one| one.address).collect();
        let mut inside = Inside::of(self.pod.clone());
        if let Some(apart) = judged(&self.object, interfaces, &on_node) {
            inside.apart = apart.into_iter().collect();
            inside.node = links.own_addresses.into_iter().collect();
        }
        Ok(with(inside))
    }
}

fn with(inside: Inside) -> NodeNetwork {
    NodeNetwork { inside: Some(inside), ..NodeNetwork::default() }
}

fn key_of(name: &str) -> Result<ObjectKey> {
    match name.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => bail!("--pod {name}: give it as NAMESPACE/NAME, as `default/web`"),
    }
}

/// The table of another pod would open this one.
fn check(snapshot: &Snapshot, node: Option<&str>, pod: &ObjectKey) -> Result<()> {
    if subject_of(snapshot, node, pod).is_some() {
        return Ok(());
    }
    match (snapshot.pods.get(pod), node) {
        (None, _) => bail!("there is no Pod {pod} in the manifests; nothing was changed"),
        (Some(one), _) if one.host_network => bail!(
            "pod {pod} is in its node's network namespace (hostNetwork), where policies do not \
             apply; nothing was changed"
        ),
        (Some(_), Some(node)) => {
            bail!("pod {pod} has ended or is not on node {node}; nothing was changed")
        }
        (Some(_), None) => bail!("pod {pod} has ended; nothing was changed"),
    }
}
