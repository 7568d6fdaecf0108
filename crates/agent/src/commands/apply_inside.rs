//! `nftpol apply --place=pod`: enforces files in the network namespace of one pod.

use std::process::ExitCode;

use agent::pipeline::Pipeline;
use agent::report;
use anyhow::{Result, bail};
use compiler::Options;

use super::in_pod::InPod;
use crate::cli::Apply;
use crate::input::{self, Further};

/// Enforces the manifests for one pod; returns once the kernel has committed. `None` if the
/// node's table is asked for.
///
/// # Errors
/// As for the node. The pod is not among the manifests, or the namespace cannot be
/// entered.
pub fn apply_inside(args: &Apply) -> Result<Option<ExitCode>> {
    if args.place.pod()?.is_none() {
        return Ok(None);
    }
    let further = Further::of(&args.place);
    let cluster = input::snapshot(&args.input, false, args.pods.without_pods(), further)?;
    let Some(in_pod) = InPod::of(&args.place, args.input.node(), &cluster)? else {
        return Ok(None);
    };
    let Some(path) = &args.netns else { bail!("--place=pod needs --netns FILE") };
    let kernel = in_pod.enter(path)?;
    let network = in_pod.look(path)?;
    let InPod { place, snapshot, .. } = in_pod;
    // Nobody reads a log group of the pod's own namespace.
    let options = Options { log: None, ..args.input.options(false) };
    let mut pipeline = Pipeline::at(place, kernel, options);
    pipeline.bind(network);
    let outcome = pipeline.sync_persistently(&snapshot)?;
    report::outcome(&outcome)?;
    match outcome.set_aside.len() {
        0 => Ok(Some(ExitCode::SUCCESS)),
        count => bail!("the kernel refused {count} of the policies; all else is enforced"),
    }
}
