//! Installs nftpol from the repository's `manifests/`, as users do, and waits until
//! an agent is ready on every node.

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
