//! Networks that need more than a list of CNI plugins: kube-router, Calico, macvlan.
//!
//! Starts their programs in nodes and waits for what they do. Never: a rule or a route
//! that those programs make themselves.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;
use samples::testbed_spec::{TestbedSpec, pod_address};
use serde_json::{Value, json};

use super::{Kubernetes, Node, plugins};

/// How long kubelets and BGP may take. GoBGP's second try to connect comes after ten
/// seconds or more (pkg/server/fsm.go of gobgp 3).
const PATIENCE: Duration = Duration::from_secs(120);
/// The names of our programs of these networks.
const KUBE_ROUTER: &str = "kube-router";
const FELIX: &str = "calico-felix";
/// The API group of Calico's kinds.
const CALICO: &str = "crd.projectcalico.org";
/// The kinds that Calico 3.31 reads from the API server, and whether they are in
/// namespaces (libcalico-go/config/crd).
const CALICOS_KINDS: [(&str, &str, bool); 22] = [
    ("bgpconfigurations", "BGPConfiguration", false),
    ("bgpfilters", "BGPFilter", false),
    ("bgppeers", "BGPPeer", false),
    ("blockaffinities", "BlockAffinity", false),
    ("caliconodestatuses", "CalicoNodeStatus", false),
    ("clusterinformations", "ClusterInformation", false),
    ("felixconfigurations", "FelixConfiguration", false),
    ("globalnetworkpolicies", "GlobalNetworkPolicy", false),
    ("globalnetworksets", "GlobalNetworkSet", false),
    ("hostendpoints", "HostEndpoint", false),
    ("ipamblocks", "IPAMBlock", false),
    ("ipamconfigs", "IPAMConfig", false),
    ("ipamhandles", "IPAMHandle", false),
    ("ippools", "IPPool", false),
    ("ipreservations", "IPReservation", false),
    ("kubecontrollersconfigurations", "KubeControllersConfiguration", false),
    ("networkpolicies", "NetworkPolicy", true),
    ("networksets", "NetworkSet", true),
    ("stagedglobalnetworkpolicies", "StagedGlobalNetworkPolicy", false),
    ("stagedkubernetesnetworkpolicies", "StagedKubernetesNetworkPolicy", true),
    ("stagednetworkpolicies", "StagedNetworkPolicy", true),
    ("tiers", "Tier", false),
];

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
    fn wait_for_routes(&mut self) -> Result<()> {
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

    /// Lets the API server serve Calico's kinds, without their schemas, and makes the
    /// objects that Calico's own set-up makes.
    pub(super) fn add_calicos_kinds(&self) -> Result<()> {
        let kinds =
            CALICOS_KINDS.map(|(plural, kind, namespaced)| definition(plural, kind, namespaced));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": kinds});
        self.server.apply(&list.to_string())?;
        let wait = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"];
        self.kubectl(&wait, "")?.success()?;
        let object = |kind: &str, name: &str, spec: Value| {
            json!({
                "apiVersion": format!("{CALICO}/v1"),
                "kind": kind,
                "metadata": {"name": name},
                "spec": spec,
            })
        };
        let objects = [
            object("ClusterInformation", "default", json!({"datastoreReady": true})),
            object("Tier", "default", json!({"order": 1_000_000, "defaultAction": "Deny"})),
        ];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        until("the API server serves Calico's kinds", || {
            Ok(self.server.apply(&list.to_string()).is_ok())
        })
    }

    /// Starts Calico's Felix on a node. It enforces policies, by iptables.
    ///
    /// # Errors
    /// When there is no such node, no such program, or it does not start.
    pub fn start_felix(&mut self, node: &str) -> Result<()> {
        let Self { options, nodes, server, .. } = self;
        let node = nodes.iter_mut().find(|one| one.name() == node).context("no such node")?;
        let felix = |name: &str| format!("FELIX_{name}");
        let given = [
            ("DATASTORETYPE", "kubernetes".to_owned()),
            ("FELIXHOSTNAME", node.name().to_owned()),
            ("DEFAULTENDPOINTTOHOSTACTION", "ACCEPT".to_owned()),
            ("IPV6SUPPORT", options.dual_stack.to_string()),
            ("LOGSEVERITYSCREEN", "INFO".to_owned()),
            ("LOGFILEPATH", "none".to_owned()),
            ("LOGSEVERITYSYS", "none".to_owned()),
            ("USAGEREPORTINGENABLED", "false".to_owned()),
            ("IPINIPENABLED", "false".to_owned()),
            ("VXLANENABLED", "false".to_owned()),
            // Its own routes to other nodes are none: others make them.
            ("ROUTESOURCE", "WorkloadIPs".to_owned()),
            ("HEALTHENABLED", "true".to_owned()),
            ("XDPENABLED", "false".to_owned()),
        ];
        let given = given.map(|(name, value)| (felix(name), value));
        let kubeconfig = server.admin_kubeconfig().display().to_string();
        let mut variables: Vec<(&str, String)> =
            given.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        variables.push(("KUBECONFIG", kubeconfig));
        variables.push(("CALICO_NETWORKING_BACKEND", "none".to_owned()));
        node.start_program(server, FELIX, &variables, &[])
    }

    /// Kills Felix on a node. Its rules stay.
    ///
    /// # Errors
    /// When there is no such node, or it does not end.
    pub fn end_felix(&mut self, node: &str) -> Result<()> {
        let node: Option<&mut Node> = self.nodes.iter_mut().find(|one| one.name() == node);
        node.context("no such node")?.end_program(FELIX)
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

fn definition(plural: &str, kind: &str, namespaced: bool) -> Value {
    let singular = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{CALICO}")},
        "spec": {
            "group": CALICO,
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "names": {
                "plural": plural,
                "singular": singular,
                "kind": kind,
                "listKind": format!("{kind}List"),
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

/// Waits until the condition holds.
fn until(what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is()? {
        ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        sleep(Duration::from_millis(200));
    }
    Ok(())
}
