//! Reads manifests into the snapshot from which the expectations come.
//!
//! In: the description of a cluster, and policies as YAML. Out: what `nftpol -f`
//! gets, and the snapshot of it. It fails when the reader's pods or namespaces
//! differ from the description.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use anyhow::{Result, ensure};
use policy::Snapshot;
use watcher::Index;
use watcher::files::{self, Validation};

use crate::testbed_spec::TestbedSpec;

/// Namespaces, Pods and the policies, as one stream of documents.
pub fn manifests(spec: &TestbedSpec, policies: &str) -> String {
    format!("{}---\n{policies}", spec.manifests())
}

/// The snapshot of a cluster with these policies.
///
/// # Errors
/// When the policies are not valid, or pods and namespaces come out of their
/// YAML other than they were described.
pub fn snapshot(spec: &TestbedSpec, policies: &str) -> Result<Snapshot> {
    let loaded = files::parse("manifests", &manifests(spec, policies), Validation::Strict);
    ensure!(!loaded.has_errors(), "the manifests are refused: {:#?}", loaded.findings);
    let index: Index = loaded.objects.into_iter().collect();
    let read = index.snapshot().clone();
    let described = Snapshot::new([], spec.pods(), spec.namespaces());
    same(&read.pods, &described.pods)?;
    same(&read.namespaces, &described.namespaces)?;
    Ok(read)
}

fn same<K: Ord + Debug, V: PartialEq + Debug>(
    read: &BTreeMap<K, V>,
    described: &BTreeMap<K, V>,
) -> Result<()> {
    let keys: BTreeSet<&K> = read.keys().chain(described.keys()).collect();
    for key in keys {
        let (read, described) = (read.get(key), described.get(key));
        ensure!(read == described, "{key:?} read as {read:#?}, described as {described:#?}");
    }
    Ok(())
}
