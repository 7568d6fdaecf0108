//! `nftpol apply --place=pod`: enforces files in the network namespace of one pod.

use std::path::Path;
use std::process::ExitCode;

use agent::pipeline::Pipeline;
use agent::pods::has_nodes_table;
use agent::report;
use anyhow::{Context, Result, bail};
use compiler::{Options, Place};
use nft::{Kernel, Namespace};
use policy::{Inside, NodeNetwork, ObjectKey, Snapshot, subject_of};

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
    // Nobody reads a log group of the pod's own namespace.
    let options = Options { log: None, ..args.input.options(false) };
    let mut pipeline = Pipeline::at(Place::inside(pod.clone()), kernel, options);
    pipeline.bind(NodeNetwork { inside: Some(Inside::of(pod)), ..NodeNetwork::default() });
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
