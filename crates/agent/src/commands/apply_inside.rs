//! `nftpol apply --place=pod`: enforces files in the network namespace of one pod.

use std::path::Path;
use std::process::ExitCode;

use agent::pipeline::Pipeline;
use agent::pods::{apart_from_network, has_nodes_table};
use agent::report;
use anyhow::{Context, Result, bail};
use compiler::{Options, Place};
use nft::links::inside_interfaces;
use nft::{Kernel, Namespace};
use policy::{Inside, NodeNetwork, ObjectKey, Snapshot, network_name, secondary, subject_of};

use crate::cli::Apply;
use crate::input;

/// Enforces the manifests for one pod; returns once the kernel has committed.
///
/// # Errors
/// As for the node. The pod is not among the manifests, or the namespace cannot be
/// entered.
pub fn apply_inside(args: &Apply) -> Result<ExitCode> {
    let Some(name) = &args.place.pod else { bail!("--place=pod needs --pod NAMESPACE/NAME") };
    let pod = key_of(name)?;
    let snapshot = input::snapshot(&args.input, false, args.pods.without_pods())?;
    check(&snapshot, args.input.node(), &pod)?;
    let Some(path) = &args.place.netns else { bail!("--place=pod needs --netns FILE") };
    let kernel = enter(path, &pod)?;
    let judged = Judged::of(snapshot, &pod, args.place.network.as_deref())?;
    let inside = match &judged.network {
        None => Inside::of(pod),
        Some(network) => on_network(&judged.cluster, &pod, network, path)?,
    };
    let Judged { place, snapshot, .. } = judged;
    // Nobody reads a log group of the pod's own namespace.
    let options = Options { log: None, ..args.input.options(false) };
    let mut pipeline = Pipeline::at(place, kernel, options);
    pipeline.bind(NodeNetwork { inside: Some(inside), ..NodeNetwork::default() });
    let outcome = pipeline.sync_persistently(&snapshot)?;
    report::outcome(&outcome)?;
    match outcome.set_aside.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => bail!("the kernel refused {count} of the policies; all else is enforced"),
    }
}

/// The kernel in the pod's namespace. A node's own table is never replaced by a pod's: that
/// would open all other pods.
fn enter(path: &Path, pod: &ObjectKey) -> Result<Kernel> {
    let what = || format!("enter the network namespace {}", path.display());
    let namespace = Namespace::open(path).with_context(what)?;
    let own = Namespace::own().context("look at this network namespace")?;
    if namespace.id() == own.id() {
        bail!(
            "{} is the network namespace that this command runs in, not that of pod {pod}; run it \
             on the node, with the file of the pod's (/proc/PID/ns/net); nothing was changed",
            path.display()
        );
    }
    let mut kernel = namespace.inside(Kernel::open).with_context(what)?.with_context(what)?;
    if has_nodes_table(&mut kernel).with_context(what)? {
        bail!(
            "{} has the table of a node, so it is not the network namespace of pod {pod}; nothing \
             was changed",
            path.display()
        );
    }
    Ok(kernel)
}

/// What a table in a pod's namespace is made of.
pub(super) struct Judged {
    /// The cluster as it was read.
    pub cluster: Snapshot,
    /// The network, if it is not the pod's primary one.
    pub network: Option<ObjectKey>,
    pub place: Place,
    /// What the table enforces.
    pub snapshot: Snapshot,
}

impl Judged {
    /// The table of a pod's primary network, or of the named one.
    pub fn of(cluster: Snapshot, pod: &ObjectKey, network: Option<&str>) -> Result<Self> {
        let Some(written) = network else {
            let (place, snapshot) = (Place::inside(pod.clone()), cluster.clone());
            return Ok(Self { cluster, network: None, place, snapshot });
        };
        let Some(network) = network_name(written, &pod.namespace) else {
            bail!("--network {written}: give it as NAMESPACE/NAME, as `default/macvlan-1`");
        };
        let snapshot = secondary::on_network(&cluster, &network);
        if !snapshot.pods.contains_key(pod) {
            bail!(
                "the annotation k8s.v1.cni.cncf.io/network-status of pod {pod} names no network \
                 {network}; nothing was changed"
            );
        }
        let place = Place::on_network(pod.clone(), &network);
        Ok(Self { cluster, network: Some(network), place, snapshot })
    }
}

/// The pod's namespace, seen from the table of one of its networks.
fn on_network(
    cluster: &Snapshot,
    pod: &ObjectKey,
    network: &ObjectKey,
    netns: &Path,
) -> Result<Inside> {
    let what = || format!("look at the interfaces in {}", netns.display());
    let namespace = Namespace::open(netns).with_context(what)?;
    let interfaces = namespace.inside(inside_interfaces).with_context(what)?.with_context(what)?;
    let object = cluster.pods.get(pod).context("no such pod")?;
    let Some(apart) = apart_from_network(object, network, &interfaces) else {
        bail!(
            "none of the interfaces in {} is the one that pod {pod} reports for network {network}; \
             nothing was changed",
            netns.display()
        );
    };
    Ok(Inside { apart: apart.into_iter().collect(), ..Inside::of(pod.clone()) })
}

pub(super) fn key_of(name: &str) -> Result<ObjectKey> {
    match name.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok(ObjectKey::new(namespace, name))
        }
        _ => bail!("--pod {name}: give it as NAMESPACE/NAME, as `default/web`"),
    }
}

/// The table of another pod would open this one.
pub(super) fn check(snapshot: &Snapshot, node: Option<&str>, pod: &ObjectKey) -> Result<()> {
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
