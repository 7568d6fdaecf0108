//! Installs nftpol from the repository's `manifests/`, as users do, and waits until
//! an agent is ready on every node.

use anyhow::Result;

use super::{Kubernetes, Network};
use crate::world::manifests;

impl Kubernetes {
    /// Applies `manifests/`, or the overlay that the cluster's network needs, and waits
    /// until every node has ready agents.
    ///
    /// # Errors
    /// When they are refused, or no agent is ready within two minutes.
    pub fn deploy(&self) -> Result<()> {
        let is_past_the_node = self.options.network == Network::Macvlan;
        let (folder, agents): (_, &[&str]) = match is_past_the_node {
            true => (manifests().join("overlays/pod-namespaces"), &["nftpol", "nftpol-pods"]),
            false => (manifests(), &["nftpol"]),
        };
        self.kubectl(&["apply", "-k", &folder.display().to_string()], "")?.success()?;
        for agent in agents {
            let agent = format!("daemonset/{agent}");
            let wait = ["-n", "kube-system", "rollout", "status", &agent, "--timeout=120s"];
            self.kubectl(&wait, "")?.success()?;
        }
        Ok(())
    }
}
