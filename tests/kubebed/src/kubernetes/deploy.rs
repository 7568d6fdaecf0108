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
        let both: &[&str] = &["nftpol", "nftpol-pods"];
        let overlay = |name: &str| manifests().join("overlays").join(name);
        let is_past_the_node = self.options.network == Network::Macvlan;
        let (folder, agents) = match (self.options.second_network, is_past_the_node) {
            (true, true | false) => (overlay("multi-network"), both),
            (false, true) => (overlay("pod-namespaces"), both),
            (false, false) => (manifests(), &both[..1]),
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
