//! Where etcd, kube-apiserver and kubectl are.
//!
//! In: the environment, the workspace. Out: their paths, or an error that
//! says how to get them. Never: a build; `cargo xtask kube` does that.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Names a folder with the programs, as envtest has it
/// (book.kubebuilder.io, "Configuring envtest for integration tests").
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The path of one of them: in `$KUBEBUILDER_ASSETS`, else in `kube` in
/// cargo's target folder.
///
/// # Errors
/// When it is not there.
pub fn path(program: &str) -> Result<PathBuf> {
    let folder = folder();
    let path = folder.join(program);
    if !path.is_file() {
        bail!(
            "no {program} in {}: build it with `cargo xtask kube`, or let {ASSETS} name a \
             folder that has it",
            folder.display()
        );
    }
    Ok(path)
}

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os(ASSETS) {
        return folder.into();
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // A relative CARGO_TARGET_DIR counts from where cargo was called, which
    // for most is the workspace.
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into());
    workspace.join(target).join("kube")
}
