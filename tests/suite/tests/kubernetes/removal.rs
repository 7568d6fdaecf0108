//! nftpol is removed as `docs/install.md` says, and installed again.

use anyhow::{Result, ensure};
use kubebed::world::manifests;

use crate::scene::Scene;

const REMOVED: &str = "daemonset/nftpol-uninstall";

impl Scene {
    /// The rules outlive the agents, until the uninstall overlay has run on every node.
    pub fn removal(&mut self) -> Result<()> {
        let base = manifests().display().to_string();
        self.kubectl(&["delete", "-k", &base, "--wait=true", "--cascade=foreground"])?;
        for tables in self.tables()? {
            ensure!(tables.contains("table inet nftpol\n"), "gone with the agents: {tables}");
        }
        self.rules_removed()?;
        self.kubernetes.deploy()?;
        self.say("installed again");
        Ok(())
    }

    /// The uninstall overlay, after the agents are gone or while they end.
    pub fn rules_removed(&self) -> Result<()> {
        let overlay = manifests().join("overlays/uninstall").display().to_string();
        self.kubectl(&["apply", "-k", &overlay])?;
        self.kubectl(&["-n", "kube-system", "rollout", "status", REMOVED, "--timeout=120s"])?;
        for tables in self.tables()? {
            ensure!(!tables.contains("nftpol"), "left: {tables}");
        }
        let pods = "--selector=app.kubernetes.io/name=nftpol-uninstall";
        let logs = ["-n", "kube-system", "logs", pods, "-c", "cleanup", "--prefix", "--tail=-1"];
        let said = self.kubectl(&logs)?;
        let deleted = said.matches("table inet nftpol deleted").count();
        ensure!(deleted == self.nodes(), "{deleted} nodes: {said}");
        self.say(&format!("nftpol removed from {deleted} nodes, no table is left"));
        self.kubectl(&["delete", "-k", &overlay, "--wait=true", "--cascade=foreground"]).map(drop)
    }

    /// The tables of each node.
    fn tables(&self) -> Result<Vec<String>> {
        let nodes = (1..=self.nodes()).map(|number| format!("node-{number}"));
        nodes
            .map(|node| self.kubernetes.exec(&node, &["nft", "list", "tables"])?.success())
            .collect()
    }
}
