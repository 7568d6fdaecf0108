//! nftpol in the cluster, as its users put it there.
//!
//! In: the repository's `manifests/`. Out: a ready agent on every node.
//! Never: a manifest of the tests' own.

use anyhow::Result;

use super::Kubernetes;
use crate::world::manifests;

impl Kubernetes {
    /// Applies `manifests/` and waits until every node has a ready agent.
    ///
    /// # Errors
    /// When they are refused, or no agent is ready within two minutes.
    pub fn deploy(&self) -> Result<()> {
        let path = manifests().display().to_string();
        self.kubectl(&["apply", "-k", &path], "")?.success()?;
        let wait = ["-n", "kube-system", "rollout", "status", "daemonset/nftpol", "--timeout=120s"];
        self.kubectl(&wait, "")?.success().map(drop)
    }
}
