//! Reads a snapshot from manifests or from the API server.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use policy::{Severity, Snapshot};
use watcher::Store;
use watcher::files::{self, Finding, Source, Validation};

use crate::api_client;
use crate::cli::Input;
use agent::report;

/// Nodes that a message names at most.
const NODES_SHOWN: usize = 5;

/// Reads the files, or the cluster where none are given, and reports what is
/// wrong with the objects.
/// `following`: these files were read before, and are enforced. If a document
/// cannot be read now, what it held must not be lost.
///
/// # Errors
/// Unreadable files; with `--validate=strict` anything wrong in them. An API
/// server that cannot be asked.
pub fn snapshot(input: &Input, following: bool) -> Result<Snapshot> {
    let sources = input.sources();
    let snapshot =
        if sources.is_empty() { cluster(input)? } else { manifests(input, &sources, following)? };
    notice_missing_pods(input, &sources, &snapshot);
    Ok(snapshot)
}

/// As an agent reads it: mistakes are reported and refuse nothing.
fn cluster(input: &Input) -> Result<Snapshot> {
    let found = api_client::objects(input.kubeconfig.as_deref())?;
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

/// Policies without pods enforce nothing, which is rarely intended.
fn notice_missing_pods(input: &Input, sources: &[Source], snapshot: &Snapshot) {
    if snapshot.policies.is_empty() {
        return;
    }
    if snapshot.pods.is_empty() && !sources.is_empty() {
        return report::notice(
            "there are no Pods in the manifests: nobody is isolated \
             (`kubectl get pods -A -o yaml` writes them)",
        );
    }
    let Some(node) = input.node() else { return };
    let nodes: BTreeSet<&str> =
        snapshot.pods.values().filter_map(|pod| pod.node.as_deref()).collect();
    if !nodes.contains(node) {
        let nodes: Vec<&str> = nodes.into_iter().take(NODES_SHOWN).collect();
        report::notice(format_args!(
            "no Pod is on node {node:?}: nobody is isolated here (Pods are on: {})",
            if nodes.is_empty() { "no node".to_owned() } else { nodes.join(", ") }
        ));
    }
}
