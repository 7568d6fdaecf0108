//! Reads a snapshot from manifests or from the API server.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use author::cluster::further_networks;
use clap::Args;
use policy::{Now, Severity, Snapshot, with_modes};
use tokio::runtime::Builder;
use watcher::Store;
use watcher::api::{self, Access, Found};
use watcher::files::{self, Finding, Source, Validation};

use crate::cli::{Input, NODE_NAME, PlaceArgs};
use agent::clock::wall_seconds;
use agent::{own_node, report};

/// The option of the commands that make a table or show what it would be.
#[derive(Debug, Args)]
pub struct AllowNoPods {
    /// Go on where no Pod is local, so that nobody is isolated. Without this option such an input
    /// is refused, since it mostly means a mistyped node name or a forgotten file.
    #[arg(long)]
    allow_no_pods: bool,
}

impl AllowNoPods {
    /// What an input without local Pods is.
    pub fn without_pods(&self) -> WithoutPods {
        if self.allow_no_pods { WithoutPods::Allowed } else { WithoutPods::Refused }
    }
}

/// What an input is in which no Pod is local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutPods {
    /// A mistake.
    Refused,
    /// What the operator means.
    Allowed,
    /// No proof of anything.
    NothingToProve,
}

/// Whether the policies of further networks are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Further {
    /// The table is of such a network.
    Needed,
    /// They are only told of.
    Beside,
}

impl Further {
    /// By the command's options.
    pub fn of(place: &PlaceArgs) -> Self {
        if place.network.is_some() { Self::Needed } else { Self::Beside }
    }
}

/// Reads the files, or the cluster where none are given, and reports what is
/// wrong with the objects.
/// `following`: these files were read before, and are enforced. If a document
/// cannot be read now, what it held must not be lost.
/// `without`: what an input is in which no Pod is local. `further`: whether an answer needs the
/// policies of further networks.
///
/// # Errors
/// Unreadable files; with `--validate=strict` anything wrong in them. An API
/// server that cannot be asked. No local Pod, unless that is allowed. Neither a
/// policy nor a Pod.
pub fn snapshot(
    input: &Input,
    following: bool,
    without: WithoutPods,
    further: Further,
) -> Result<Snapshot> {
    let written = written(input, following, without, further)?;
    Ok(with_modes(&written, input.mode.mode(), now(Duration::ZERO)))
}

/// This moment; `running`: how long it has been followed.
pub fn now(running: Duration) -> Now {
    Now { wall_seconds: wall_seconds(), steady: running }
}

/// As [`snapshot`], with the modes of policies as their own annotations say.
///
/// # Errors
/// The same.
pub fn written(
    input: &Input,
    following: bool,
    without: WithoutPods,
    further: Further,
) -> Result<Snapshot> {
    let sources = input.sources();
    let snapshot = match sources.is_empty() {
        true => cluster(input, further)?,
        false => manifests(input, &sources, following)?,
    };
    check_pods(input, &sources, &snapshot, without)?;
    Ok(snapshot)
}

/// Says that policies of further networks have no part in the node's table.
pub fn tell_of_further_networks(snapshot: &Snapshot) {
    if let Some(further) = further_networks(snapshot) {
        report::notice(format_args!(
            "{further}; their tables are in the pods' namespaces (--place=pod --pod \
             NAMESPACE/NAME --network NAMESPACE/NAME)"
        ));
    }
}

/// As an agent reads it: mistakes are reported and refuse nothing.
fn cluster(input: &Input, further: Further) -> Result<Snapshot> {
    let access = Access { kubeconfig: input.kubeconfig.clone(), ..Access::default() };
    let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let (found, of_further) = runtime.block_on(async {
        let client = access.client().await?;
        let found = api::list(client.clone()).await.context("read the cluster")?;
        anyhow::Ok((found, api::list_multi_network_policies(&client).await))
    })?;
    let of_further = match of_further {
        Ok(found) => found.unwrap_or_default(),
        Err(error) if further == Further::Needed => {
            return Err(error).context("read the cluster");
        }
        // An answer about the primary network does not need this right.
        Err(error) => {
            report::notice(format_args!("MultiNetworkPolicies are not read: {error}"));
            Vec::new()
        }
    };
    let found: Vec<Found> = found.into_iter().chain(of_further).collect();
    report::lines(found.iter().flat_map(|found| &found.diagnostics));
    let store: Store = found.into_iter().map(|found| found.object).collect();
    Ok(store.snapshot().clone())
}

fn manifests(input: &Input, sources: &[Source], following: bool) -> Result<Snapshot> {
    let loaded = files::read(sources, input.validation()).context("read manifests")?;
    report::lines(&loaded.findings);
    if input.validation() == Validation::Strict && loaded.has_errors() {
        bail!(
            "the manifests are refused and nothing was changed \
             (--validate=warn isolates the pods of broken policies instead)"
        );
    }
    let is_lost =
        |finding: &Finding| finding.severity == Severity::Error && finding.object.is_none();
    if following && loaded.findings.iter().any(is_lost) {
        bail!("a document cannot be read, and what it held is unknown; nothing was changed");
    }
    let store: Store = loaded.objects.into_iter().collect();
    Ok(store.snapshot().clone())
}

/// Refuses an input by which nobody would be isolated: mostly a mistyped node name or
/// a forgotten file.
fn check_pods(
    input: &Input,
    sources: &[Source],
    snapshot: &Snapshot,
    without: WithoutPods,
) -> Result<()> {
    let place = if sources.is_empty() { "the cluster" } else { "the manifests" };
    let consequence = match without {
        WithoutPods::NothingToProve => "there is nothing to prove",
        WithoutPods::Refused | WithoutPods::Allowed => "nothing was changed",
    };
    if snapshot.policies.is_empty() && snapshot.pods.is_empty() {
        bail!(
            "there is neither a NetworkPolicy nor a Pod in {place}, so {consequence} (`nftpol \
             cleanup` removes the rules)"
        );
    }
    let Some(problem) = missing_pods(input.node(), place, snapshot) else { return Ok(()) };
    match without {
        WithoutPods::Allowed => report::notice(format_args!("{problem}: nobody is isolated")),
        WithoutPods::Refused => bail!(
            "{problem}; nobody would be isolated, so {consequence} (--allow-no-pods, if this is \
             what you mean)"
        ),
        WithoutPods::NothingToProve => bail!("{problem}, so {consequence}"),
    }
    Ok(())
}

/// Why no Pod is local, if none is.
fn missing_pods(node: Option<&str>, place: &str, snapshot: &Snapshot) -> Option<String> {
    match node {
        _ if snapshot.pods.is_empty() => Some(format!(
            "there are no Pods in {place} (`kubectl get pods -A -o yaml` writes those of a cluster)"
        )),
        Some(node) => {
            let missing = own_node::missing(node, snapshot)?;
            // Others set this variable, too, such as CI systems.
            let is_from_environment = std::env::var(NODE_NAME).is_ok_and(|name| name == node);
            Some(if is_from_environment {
                format!("{missing}; ${NODE_NAME} names it")
            } else {
                missing
            })
        }
        None => None,
    }
}
