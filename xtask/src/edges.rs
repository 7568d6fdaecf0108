//! Checks which crate may depend on which.
//!
//! Reads the output of `cargo metadata` and reports every edge that is not drawn
//! below. Never: a look into source files.
//!
//! ```text
//! watcher --> policy <-- compiler --> ruleset <-- nft      agent --> all of these
//!             policy <-- verify ----> ruleset
//! watcher <-- author --> policy, compiler               cni <-- agent
//!
//! samples <-- netbed <-- kubebed <-- tools <-- suite        xtask --> nothing
//!
//! fuzz --> watcher, nft
//!
//! The members under tests/ may also depend on all crates above.
//! ```

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo::Cargo;

/// For each member of the workspace: the members that it may depend on, and the
/// crates that it must not reach by any path.
const RULES: [(&str, &[&str], &[&str]); 16] = [
    ("policy", &[], IMPURE),
    ("ruleset", &[], IMPURE),
    ("compiler", &["policy", "ruleset"], IMPURE),
    ("verify", &["policy", "ruleset"], IMPURE),
    ("watcher", &["policy"], KERNEL),
    ("nft", &["ruleset"], CLUSTER),
    (
        "author",
        &["policy", "watcher", "compiler"],
        &["nftnl", "nftnl-sys", "mnl", "mnl-sys", "nix"],
    ),
    ("agent", &["policy", "watcher", "compiler", "verify", "ruleset", "nft", "author", "cni"], &[]),
    ("cni", &[], &["kube", "k8s-openapi", "tokio", "nftnl", "nftnl-sys", "mnl", "mnl-sys"]),
    ("samples", &["policy", "watcher", "compiler", "ruleset"], KERNEL),
    ("netbed", &["policy", "watcher", "compiler", "ruleset", "nft", "agent", "samples"], &[]),
    ("kubebed", &["policy", "watcher", "compiler", "ruleset", "nft", "samples", "netbed"], &[]),
    ("tools", EVERYTHING, &[]),
    ("suite", WITH_TOOLS, &[]),
    ("fuzz", &["watcher", "nft"], &[]),
    ("xtask", &[], &["kube", "k8s-openapi", "tokio", "libc", "mnl", "nftnl"]),
];

/// Crates that the programs and the tests may use.
const EVERYTHING: &[&str] = &[
    "policy", "watcher", "compiler", "verify", "ruleset", "nft", "author", "cni", "agent",
    "samples", "netbed", "kubebed",
];
/// The tests of the programs use them, too.
const WITH_TOOLS: &[&str] = &[
    "policy", "watcher", "compiler", "verify", "ruleset", "nft", "author", "cni", "agent",
    "samples", "netbed", "kubebed", "tools",
];
/// Crates that the synchronous, pure crates must not reach.
const IMPURE: &[&str] =
    &["tokio", "kube", "k8s-openapi", "nftnl", "nftnl-sys", "mnl", "mnl-sys", "nix"];
/// Crates that the way to the cluster must not reach.
const KERNEL: &[&str] = &["nftnl", "nftnl-sys", "mnl", "mnl-sys"];
/// Crates that the way to the kernel must not reach.
const CLUSTER: &[&str] = &["tokio", "kube", "k8s-openapi"];

/// Checks this workspace.
pub fn run(cargo: &Cargo) -> Result<()> {
    let graph = Graph::read(&cargo.metadata()?)?;
    let wrong = check(&graph);
    if !wrong.is_empty() {
        bail!("these dependencies are not allowed:\n  {}", wrong.join("\n  "));
    }
    eprintln!("edges: {} crates, as drawn", graph.members.len());
    Ok(())
}

/// Packages and their dependencies.
#[derive(Debug, Default)]
struct Graph {
    /// Names of the workspace's members, by package id.
    members: BTreeMap<String, String>,
    /// Names of all packages, by id.
    names: BTreeMap<String, String>,
    /// The ids that an id depends on, each with whether only its tests need it.
    edges: BTreeMap<String, Vec<(String, bool)>>,
}

impl Graph {
    /// Reads the output of `cargo metadata --format-version=1`
    /// (doc.rust-lang.org/cargo/commands/cargo-metadata.html).
    fn read(metadata: &Value) -> Result<Self> {
        let mut graph = Self::default();
        for package in list(metadata, "packages")? {
            graph.names.insert(text(package, "id")?, text(package, "name")?);
        }
        for id in list(metadata, "workspace_members")? {
            let id = id.as_str().context("a workspace member is not a string")?;
            let name = graph.names.get(id).with_context(|| format!("no package {id}"))?;
            graph.members.insert(id.to_owned(), name.clone());
        }
        let resolve = metadata.get("resolve").context("no field resolve")?;
        for node in list(resolve, "nodes")? {
            let mut edges = Vec::new();
            for dependency in list(node, "deps")? {
                let kinds = list(dependency, "dep_kinds")?;
                let tests = kinds.iter().all(|kind| kind["kind"] == "dev");
                edges.push((text(dependency, "pkg")?, tests));
            }
            graph.edges.insert(text(node, "id")?, edges);
        }
        Ok(graph)
    }

    fn dependencies(&self, id: &str) -> &[(String, bool)] {
        self.edges.get(id).map_or(&[], Vec::as_slice)
    }

    /// Names of all packages that `id` is built from, without tests. Each has the
    /// package that brought it in.
    fn reached<'a>(&'a self, id: &'a str) -> BTreeMap<&'a str, &'a str> {
        let (mut seen, mut names) = (BTreeSet::from([id]), BTreeMap::new());
        let mut queue = vec![id];
        while let Some(from) = queue.pop() {
            for (to, tests) in self.dependencies(from) {
                if !tests && seen.insert(to) {
                    names.insert(self.name(to), self.name(from));
                    queue.push(to);
                }
            }
        }
        names
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }
}

/// Every edge that is not allowed, one sentence each. Edges between members count
/// for tests, too: a test that crosses the drawing belongs in `tests/suite`.
fn check(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, member) in &graph.members {
        let Some((_, allowed, never)) = RULES.iter().find(|(name, ..)| name == member) else {
            wrong.push(format!("{member} is a new crate: say in xtask what it may depend on"));
            continue;
        };
        for (to, _) in graph.dependencies(id) {
            if let Some(to) = graph.members.get(to)
                && !allowed.contains(&to.as_str())
            {
                wrong.push(format!("{member} -> {to} is not drawn"));
            }
        }
        let reached = graph.reached(id);
        for name in *never {
            if let Some(by) = reached.get(name) {
                wrong.push(format!("{member} must not reach {name} (it comes by {by})"));
            }
        }
    }
    wrong
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value.get(key).and_then(Value::as_array).with_context(|| format!("no list {key}"))
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value.get(key).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no text {key}"))?.to_owned())
}

#[cfg(test)]
mod tests;
