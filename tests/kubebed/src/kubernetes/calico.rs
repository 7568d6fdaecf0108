//! Calico's part of a cluster: its kinds in the API server, and its Felix in nodes.
//!
//! In: a cluster, a node. Out: what Calico's own set-up (calico-node) makes in the API
//! server, and Felix as a process. Never: a policy, or a rule that Felix makes itself.

use anyhow::{Context, Result};
use samples::testbed_spec::{TestbedSpec, pod_address};
use serde_json::{Map, Value, json};

use super::networks::until;
use super::{Kubernetes, Network, Node};

/// The name of Felix' program.
const FELIX: &str = "calico-felix";
/// The API group of Calico's kinds.
const CALICO: &str = "crd.projectcalico.org";
/// The kinds that Calico 3.28 reads from the API server, and whether they are in
/// namespaces (libcalico-go/config/crd).
const CALICOS_KINDS: [(&str, &str, bool); 18] = [
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
];

impl Kubernetes {
    /// Lets the API server serve Calico's kinds, without their schemas, and makes the
    /// objects that Calico's own set-up makes.
    pub(super) fn add_calicos_kinds(&self) -> Result<()> {
        let kinds =
            CALICOS_KINDS.map(|(plural, kind, namespaced)| definition(plural, kind, namespaced));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": kinds});
        self.server.apply(&list.to_string())?;
        let wait = ["wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"];
        self.kubectl(&wait, "")?.success()?;
        // As calico-node writes it when it starts.
        let mut objects =
            vec![object("ClusterInformation", "default", json!({"datastoreReady": true}))];
        if self.options.network == Network::CalicoVxlan {
            objects.extend(self.options.families().iter().map(|&v6| pool(v6)));
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        until("the API server serves Calico's kinds", || {
            Ok(self.server.apply(&list.to_string()).is_ok())
        })
    }

    /// Starts Felix on every node, and waits until each node has its routes to the pods of
    /// all others.
    pub(super) fn start_felix_with_routes(&mut self) -> Result<()> {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name().to_owned()).collect();
        names.iter().try_for_each(|name| self.start_felix(name))?;
        self.wait_for_routes()
    }

    /// Starts Calico's Felix on a node, with the settings of manifests/canal.yaml of
    /// Calico 3.28. It enforces policies, by iptables. If it runs already, it is killed
    /// first.
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
            ("VXLANENABLED", (options.network == Network::CalicoVxlan).to_string()),
            ("HEALTHENABLED", "true".to_owned()),
            ("XDPENABLED", "false".to_owned()),
            // As the kubelet's and ours. Its own guess follows what the kubelet has left, and
            // is legacy where that has not started yet (felix/environment).
            ("IPTABLESBACKEND", "nft".to_owned()),
        ];
        let given = given.map(|(name, value)| (felix(name), value));
        let kubeconfig = server.admin_kubeconfig().display().to_string();
        let mut variables: Vec<(&str, String)> =
            given.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        variables.push(("KUBECONFIG", kubeconfig));
        // Nodes' ranges come from their objects, as for the CNI plugin host-local.
        variables.push(("USE_POD_CIDR", "true".to_owned()));
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

/// What calico-node writes into its Node when it starts (libcalico-go/lib/backend/k8s/
/// resources/node.go): the node's addresses, and those of its VXLAN devices. Those are the
/// first of the pods' range, which host-local keeps free.
pub(super) fn annotations(spec: &TestbedSpec, index: usize, families: &[bool]) -> Value {
    let own = families.iter().flat_map(|&v6| {
        let (family, length) = if v6 { ("IPv6", 64) } else { ("IPv4", 24) };
        let address = format!("{}/{length}", spec.node_address(index, v6));
        [
            (format!("projectcalico.org/{family}Address"), Value::from(address)),
            (
                format!("projectcalico.org/{family}VXLANTunnelAddr"),
                pod_address(index, 1, v6).to_string().into(),
            ),
        ]
    });
    Value::Object(own.collect::<Map<_, _>>())
}

/// The pods' range, between nodes by VXLAN (manifests/calico-vxlan.yaml).
fn pool(v6: bool) -> Value {
    let spec = json!({
        "cidr": TestbedSpec::pods_range(v6),
        "blockSize": if v6 { 122 } else { 26 },
        "ipipMode": "Never",
        "vxlanMode": "Always",
        "natOutgoing": false,
        "nodeSelector": "all()",
        "allowedUses": ["Workload", "Tunnel"],
    });
    object("IPPool", if v6 { "pods-6" } else { "pods-4" }, spec)
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{CALICO}/v1"),
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
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
