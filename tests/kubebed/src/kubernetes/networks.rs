//! Networks that need more than a list of CNI plugins: kube-router, macvlan. Calico is in
//! `calico.rs`.
//!
//! Starts their programs in nodes and waits for what they do. Never: a rule or a route
//! that those programs make themselves.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;
use samples::testbed_spec::{TestbedSpec, pod_address};
use serde_json::Value;

use super::{Kubernetes, plugins};

/// How long kubelets and BGP may take. GoBGP's second try to connect comes after ten
/// seconds or more (pkg/server/fsm.go of gobgp 3).
const PATIENCE: Duration = Duration::from_secs(120);
/// The name of the program.
const KUBE_ROUTER: &str = "kube-router";

impl Kubernetes {
    /// Starts kube-router on every node, and waits until each node has routes to the
    /// pods of all others. It reads its node's addresses, which come from the kubelet.
    pub(super) fn start_kube_router(&mut self) -> Result<()> {
        let families = self.options.families();
        until("kubelets report their addresses", || {
            let nodes = self.kubectl(&["get", "nodes", "-o", "json"], "")?.success()?;
            let nodes: Value = serde_json::from_str(&nodes).context("read the nodes")?;
            let nodes = nodes["items"].as_array().into_iter().flatten();
            let own = nodes.map(|node| {
                let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
                addresses.filter(|address| address["type"] == "InternalIP").count()
            });
            Ok(own.filter(|count| *count == families.len()).count() == self.nodes.len())
        })?;
        for index in 0..self.nodes.len() {
            self.run_kube_router(index, false)?;
        }
        self.wait_for_routes()
    }

    /// Starts kube-router of a node again, with or without its enforcement of policies.
    ///
    /// # Errors
    /// When there is no such node, or the program does not end or start.
    pub fn restart_kube_router(&mut self, node: &str, enforces: bool) -> Result<()> {
        let index = self.nodes.iter().position(|one| one.name() == node);
        self.run_kube_router(index.context("no such node")?, enforces)
    }

    fn run_kube_router(&mut self, index: usize, enforces: bool) -> Result<()> {
        let Self { options, nodes, server, .. } = self;
        let node = &mut nodes[index];
        let list = node.network().display().to_string();
        let mut arguments = vec![
            format!("--kubeconfig={}", server.admin_kubeconfig().display()),
            format!("--hostname-override={}", node.name()),
            "--run-router=true".to_owned(),
            format!("--run-firewall={enforces}"),
            "--run-service-proxy=false".to_owned(),
            "--enable-overlay=false".to_owned(),
            // As in kube-router's own manifests. Routes stay while it restarts.
            "--bgp-graceful-restart=true".to_owned(),
        ];
        if options.dual_stack {
            arguments.push("--enable-ipv6=true".to_owned());
        }
        node.start_program(server, KUBE_ROUTER, &[("KUBE_ROUTER_CNI_CONF_FILE", list)], &arguments)
    }

    /// Waits until each node has a route to the pods of every other one.
    pub(super) fn wait_for_routes(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            self.check()?;
            let missing = self.missing_routes()?;
            if missing.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "no routes after {PATIENCE:?}: {missing:?}");
            sleep(Duration::from_millis(200));
        }
    }

    fn missing_routes(&self) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for (own, endpoint) in self.cluster.nodes().enumerate() {
            for &v6 in self.options.families() {
                let family = if v6 { "-6" } else { "-4" };
                let mut command = endpoint.namespace.command("ip");
                command.args([family, "route", "show"]);
                let routes = program::finish(command, "")?.success()?;
                for other in (0..self.nodes.len()).filter(|other| *other != own) {
                    let range = TestbedSpec::pod_range(other, v6);
                    if !routes.lines().any(|route| route.starts_with(&format!("{range} "))) {
                        missing.push(format!("{} to {range}", endpoint.name));
                    }
                }
            }
        }
        Ok(missing)
    }
}

/// The node's own interface among its pods. An interface of kind macvlan and the one
/// that it is on do not hear each other (ip-link(8), "macvlan").
pub(super) fn shim(node: &Namespace, index: usize, families: &[bool]) -> Result<()> {
    let name = plugins::SHIM;
    let mut lines = format!("link add link eth0 name {name} type macvlan mode bridge\n");
    for &v6 in families {
        let range = TestbedSpec::pods_range(v6);
        let length = range.split_once('/').map_or("", |(_, length)| length);
        let flags = if v6 { " nodad" } else { "" };
        let address = pod_address(index, 1, v6);
        lines.push_str(&format!("addr add {address}/{length} dev {name}{flags}\n"));
    }
    lines.push_str(&format!("link set {name} up\n"));
    node.ip(&lines).context("make the node's interface among its pods")
}

/// Waits until the condition holds.
pub(super) fn until(what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is()? {
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        sleep(Duration::from_millis(200));
    }
    Ok(())
}
