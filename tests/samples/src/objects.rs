//! Reads manifests into the snapshot from which the expectations come.
//!
//! Takes the description of a cluster, and policies as YAML. Returns what `nftpol
//! -f` gets, and its snapshot. Fails when the reader's pods or namespaces differ
//! from the description.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use policy::Snapshot;
use watcher::Store;
use watcher::files::{self, Validation};

use crate::testbed_spec::TestbedSpec;

/// Namespaces, Pods and the policies, as one stream of documents.
pub fn manifests(spec: &TestbedSpec, policies: &str) -> String {
    format!("{}---\n{policies}", spec.manifests())
}

/// The snapshot of a cluster with these policies.
///
/// # Errors
/// When the policies are not valid, or the pods and namespaces read from YAML
/// differ from the description.
pub fn snapshot(spec: &TestbedSpec, policies: &str) -> Result<Snapshot> {
    let loaded = files::parse("manifests", &manifests(spec, policies), Validation::Strict);
    ensure!(!loaded.has_errors(), "the manifests are refused: {:#?}", loaded.findings);
    let store: Store = loaded.objects.into_iter().collect();
    let read = store.snapshot().clone();
    let described = Snapshot::new([], spec.pods(), spec.namespaces());
    let differing =
        Snapshot { policies: described.policies.clone(), ..read.clone() }.diff(&described);
    for key in &differing.pods {
        same(key, read.pods.get(key), described.pods.get(key))?;
    }
    for name in &differing.namespaces {
        same(name, read.namespaces.get(name), described.namespaces.get(name))?;
    }
    Ok(read)
}

fn same<V: PartialEq + Debug>(key: &impl Debug, read: V, described: V) -> Result<()> {
    ensure!(read == described, "{key:?} read as {read:#?}, described as {described:#?}");
    Ok(())
}
