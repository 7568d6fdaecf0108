//! Faults of nodes.
//!
//! Kills one of a node's programs, or all of them, and starts them again. Does not
//! wait until the cluster has recovered.
//!
//! To kill a node and start it again has the effect of a power failure. Its
//! processes and mounts are gone and its files stay. The state of its kernel in the
//! network namespace is removed: rules, flows, bridges, and the devices of pods and
//! overlays. What a real node configures at its start stays: its address and
//! routes, `br_netfilter` and forwarding.

use anyhow::{Context, Result};
use netbed::net::Namespace;
use netbed::program;
use serde_json::Value;

use super::{Kubernetes, Node};

/// Kinds of devices that CNI plugins and flannel make (ip-link(8)).
const DEVICES: [&str; 4] = ["bridge", "veth", "vxlan", "tun"];
/// The node's wire, which is a veth, too.
const WIRE: &str = "eth0";

impl Kubernetes {
    /// Kills a program of a node and starts it again: `containerd`, `kubelet`,
    /// `kube-proxy` or `flannel`. Returns when the old one is gone and the new one
    /// runs. containerd must also answer.
    ///
    /// # Errors
    /// When the node does not run this program, or it does not end or start.
    pub fn restart(&mut self, node: &str, program: &str) -> Result<()> {
        let node = self.nodes.iter_mut().find(|one| one.name() == node);
        node.context("no such node")?.restart(&self.server, program)
    }

    /// Kills a node.
    ///
    /// # Errors
    /// When there is no such node or a part of it stays.
    pub fn kill_node(&mut self, node: &str) -> Result<()> {
        let endpoint = self.cluster.endpoint(node)?;
        let node = self.nodes.iter_mut().find(|one| one.name() == node);
        node.context("no such node")?.kill()?;
        empty(&endpoint.namespace).context("empty the kernel of a node")
    }

    /// Starts a killed node. First runs this command in it, if it has words, as a unit of
    /// systemd would.
    ///
    /// # Errors
    /// When there is no such node, the command fails, or the node does not come up.
    pub fn boot_node(&mut self, node: &str, before: &[&str]) -> Result<()> {
        let node: Option<&mut Node> = self.nodes.iter_mut().find(|one| one.name() == node);
        node.context("no such node")?.boot(&self.server, before)
    }
}

/// Restores the state of a kernel that has just started.
fn empty(namespace: &Namespace) -> Result<()> {
    let run = |words: &[&str]| {
        let mut command = namespace.command(words[0]);
        command.args(&words[1..]);
        program::finish(command, "")?.success()
    };
    run(&["nft", "flush", "ruleset"])?;
    run(&["conntrack", "--flush"])?;
    for kind in DEVICES {
        let list: Value = serde_json::from_str(&run(&["ip", "-j", "link", "show", "type", kind])?)?;
        let names = list.as_array().into_iter().flatten().filter_map(|one| one["ifname"].as_str());
        for name in names.filter(|name| *name != WIRE) {
            // The namespace at the other end may be ending at this moment.
            drop(run(&["ip", "link", "delete", name]));
        }
    }
    Ok(())
}
