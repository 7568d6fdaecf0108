//! Finds etcd, kube-apiserver, kubectl and the programs of nodes.
//!
//! Looks in the environment and the workspace. If a program is missing, the error
//! explains how to get it. `cargo xtask kube` builds them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Names a folder with the programs, as in envtest (book.kubebuilder.io,
/// "Configuring envtest for integration tests").
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The path of a program: in `$KUBEBUILDER_ASSETS`, else in `kube` in cargo's
/// target folder.
///
/// # Errors
/// When the program is missing.
pub fn path(program: &str) -> Result<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::var_os(ASSETS).map(PathBuf::from).into_iter().chain([built()]).collect();
    let found = folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| {
        let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        format!(
            "no {program} in {}: build it with `cargo xtask kube all`, or let {ASSETS} name a \
             folder that has it",
            folders.join(", ")
        )
    })
}

fn built() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // A relative CARGO_TARGET_DIR is relative to where cargo was called. For most
    // people that is the workspace.
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    workspace.join(target).join("kube")
}
