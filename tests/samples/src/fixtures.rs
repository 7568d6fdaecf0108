//! The files in `tests/fixtures`, and the cluster that most tests use.
//!
//! In: names. Out: text and a description. Never: anything real.

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

/// The YAML files of a directory of `tests/fixtures`, by name, with what they
/// hold.
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

/// Three pods on one node, in the namespace `dev`: `victim`, `third`, and one
/// of this name. Each has its name as the label `app`.
pub fn victim_and(other: &str, network: Network) -> TestbedSpec {
    let spec = TestbedSpec::new(network, &["node-1"]).namespace("dev", &[]);
    [other, "victim", "third"]
        .into_iter()
        .fold(spec, |spec, name| spec.pod("dev", name, &[("app", name)], Families::Both, &[]))
}

/// Isolates `victim` of [`victim_and`] in one direction; nothing is allowed.
pub fn isolated_victim(direction: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: isolated
  namespace: dev
spec:
  podSelector:
    matchLabels:
      app: victim
  policyTypes:
  - {direction}
"
    )
}

/// Thirteen pods in four namespaces: every label, named port and mix of
/// families that the policies in `fixtures/packets` are about.
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
