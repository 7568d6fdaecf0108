//! The files in `tests/fixtures`, and the clusters and policies that several tests
//! use.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use policy::{NamedPort, Protocol};

use crate::testbed_spec::{Families, Network, TestbedSpec};

/// A directory of `tests/fixtures`.
pub fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// A file of `tests/fixtures`.
///
/// # Errors
/// When it cannot be read.
pub fn read(name: &str) -> Result<String> {
    let path = directory(name);
    std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// The YAML files of a directory of `tests/fixtures`, by name, with their content.
///
/// # Errors
/// When there are none or one cannot be read.
pub fn files(name: &str) -> Result<Vec<(PathBuf, String)>> {
    let directory = directory(name);
    let listing = std::fs::read_dir(&directory);
    let mut files = Vec::new();
    for entry in listing.with_context(|| format!("read {}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            files.push((path, text));
        }
    }
    ensure!(!files.is_empty(), "no YAML in {}", directory.display());
    files.sort();
    Ok(files)
}

/// Pods of the namespace `dev`. Each has its own name as the label `app`.
pub fn dev_pods(
    network: Network,
    nodes: &[&str],
    names: &[&str],
    families: Families,
) -> TestbedSpec {
    let spec = TestbedSpec::new(network, nodes).namespace("dev", &[]);
    names.iter().fold(spec, |spec, name| spec.pod("dev", name, &[("app", name)], families, &[]))
}

/// Three of [`dev_pods`] on one node: `other`, `victim` and `third`.
pub fn victim_and(other: &str, network: Network) -> TestbedSpec {
    dev_pods(network, &["node-1"], &[other, "victim", "third"], Families::Both)
}

/// Isolates `victim` of [`victim_and`] in one direction.
pub fn isolated_victim(direction: &str) -> String {
    isolated("victim", direction)
}

/// Isolates one of [`dev_pods`], chosen by name, in one direction. Allows nothing.
pub fn isolated(name: &str, direction: &str) -> String {
    let labels = format!("{{matchLabels: {{app: {name}}}}}");
    deny("isolated", "dev", &labels, direction)
}

/// A policy for one of [`dev_pods`], chosen by name. `spec` has the fields beside
/// `podSelector`, each with its value as one line of YAML.
pub fn policy_for(name: &str, spec: &[(&str, &str)]) -> String {
    let fields: String = spec.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  namespace: dev
spec:
  podSelector: {{matchLabels: {{app: {name}}}}}
{fields}"
    )
}

/// One of [`dev_pods`], chosen by name, as a peer.
pub fn peer(name: &str) -> String {
    format!("{{podSelector: {{matchLabels: {{app: {name}}}}}}}")
}

/// Denies all ingress to the pods of a namespace.
pub fn deny_all_ingress(namespace: &str) -> String {
    deny("deny-all", namespace, "{}", "Ingress")
}

/// Denies all ingress to and all egress from the pods of a namespace.
pub fn deny_all(namespace: &str) -> String {
    deny("deny-all", namespace, "{}", "Ingress, Egress")
}

fn deny(name: &str, namespace: &str, pods: &str, direction: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  namespace: {namespace}
spec:
  podSelector: {pods}
  policyTypes: [{direction}]
"
    )
}

/// The demo: one node and what runs on it. The third of `fixtures/policies` selects
/// `app: myapp` and excepts the address of the first pod of `dev`.
pub fn demo(node: &str) -> TestbedSpec {
    let mut spec = TestbedSpec::new(Network::Bridge, &[node]);
    for (namespace, pods) in [
        ("dev", [("api", "api"), ("db", "db"), ("web", "myapp")]),
        ("shop", [("front", "front"), ("cart", "cart"), ("pay", "pay")]),
        ("ops", [("prom", "prometheus"), ("logs", "logs"), ("backup", "backup")]),
    ] {
        spec = spec.namespace(namespace, &[]);
        for (name, app) in pods {
            spec = spec.pod(namespace, name, &[("app", app)], Families::Both, &[]);
        }
    }
    spec
}

/// Thirteen pods in four namespaces, with every label, named port and mix of
/// families that the policies in `fixtures/packets` use.
pub fn town(network: Network, nodes: &[&str]) -> TestbedSpec {
    use Families::{Both, V4, V6};
    use Protocol::{Sctp, Tcp, Udp};
    let port = |name: &str, protocol, port| NamedPort { name: name.into(), protocol, port };
    TestbedSpec::new(network, nodes)
        .namespace("dev", &[("team", "alpha")])
        .namespace("shop", &[("team", "beta")])
        .namespace("ops", &[("team", "ops")])
        .namespace("free", &[])
        .pod("dev", "web", &[("app", "web"), ("tier", "front")], Both, &[port("http", Tcp, 8080)])
        .pod(
            "dev",
            "api",
            &[("app", "api"), ("tier", "back")],
            Both,
            &[port("http", Tcp, 80), port("diameter", Sctp, 3868)],
        )
        .pod("dev", "db", &[("app", "db"), ("tier", "back")], Both, &[])
        .pod("dev", "myapp", &[("app", "myapp")], Both, &[port("http", Udp, 80)])
        .pod(
            "shop",
            "web",
            &[("app", "web"), ("tier", "front")],
            Both,
            &[port("http", Tcp, 8080), port("dns", Udp, 53)],
        )
        .pod(
            "shop",
            "cart",
            &[("app", "cart")],
            Both,
            &[port("http", Tcp, 80), port("http", Tcp, 443), port("dns", Udp, 5000)],
        )
        .pod("shop", "pay", &[("app", "pay"), ("pci", "")], V4, &[])
        .pod("shop", "old", &[("app", "old")], V6, &[port("http", Tcp, 443)])
        .pod("ops", "mon", &[("app", "mon")], Both, &[])
        .pod("ops", "log", &[("app", "log"), ("pci", "yes")], Both, &[])
        .pod("ops", "bastion", &[("app", "bastion")], Both, &[port("http", Tcp, 80)])
        .pod("free", "one", &[("app", "one")], Both, &[])
        .pod("free", "two", &[("app", "two"), ("pci", "")], Both, &[])
}
