//! The alerts and the dashboard, with a real Prometheus that asks a real agent.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost};
use kubebed::world::{PATIENCE, manifests};
use netbed::program;
use samples::fixtures;
use samples::scratch::Folder;
use serde_json::{Value, json};

use super::prometheus::{Prometheus, TARGETS, dashboard, rules};

/// Where the second agent of the node serves its pages.
const SECOND: &str = "127.0.0.1:9479";

/// Every alert, by series that raise it and series that do not.
#[test]
fn each_alert_is_raised_by_its_cause_and_has_a_section() -> Result<()> {
    let folder = Folder::new("rules")?;
    fs::write(folder.path().join("alerts.yaml"), rules()?)?;
    let tests = fixtures::read("install/alerts.test.yaml")?;
    fs::write(folder.path().join("tests.yaml"), &tests)?;
    for words in [["check", "rules", "alerts.yaml"], ["test", "rules", "tests.yaml"]] {
        let mut command = Command::new("promtool");
        command.current_dir(folder.path()).args(words);
        program::finish(command, "")?.success()?;
    }
    let page = fs::read_to_string(manifests().join("../docs/operate.md"))?;
    for alert in words_after(&rules()?, "- alert: ") {
        ensure!(tests.contains(&format!("alertname: {alert}\n")), "{alert} is not tried");
        ensure!(page.contains(&format!("\n### {alert}\n")), "{alert} has no section");
        let link = format!("runbook_url: docs/operate.md#{}\n", alert.to_lowercase());
        ensure!(rules()?.contains(&link), "{alert} does not name its section");
    }
    Ok(())
}

#[test]
fn prometheus_asks_an_agent() -> Result<()> {
    let mut outpost = Outpost::new()?;
    let kubeconfig = outpost.kubeconfig().to_owned();
    let Outpost { server, range, .. } = &mut outpost;
    let node = range.node();
    let start = |options: &[&str]| Daemon::start(node, &kubeconfig, NODE, options);
    let mut agent = start(&["--table-owner=off", "--verify"])?;
    agent.ready_within(PATIENCE)?;
    let second = start(&["--health-address", SECOND])?;
    names_exist(&agent)?;
    let prometheus = Prometheus::start(node, TARGETS)?;
    prometheus.until("up == 1", 2)?;

    // The second agent waits: it is not ready. Then it is gone.
    prometheus.fires("NftpolNotReady", "node=\"node-2\",condition=\"alone\"")?;
    second.stop()?;
    prometheus.fires("NftpolAgentDown", "node=\"node-2\"")?;
    server.store_policy(&unusable())?;
    prometheus.fires("NftpolBrokenPolicy", "reason=\"unusable_part\"")?;
    for number in 1_u8..=5 {
        let mut command = node.command("nft");
        command.args(["delete", "table", "inet", "nftpol"]);
        program::finish(command, "")?.success()?;
        prometheus.until(&format!("nftpol_repairs_total >= {number}"), 1)?;
    }
    prometheus.fires("NftpolTableFight", "node=\"node-1\"")?;
    // From the second time on it is known who did it.
    let named =
        |line: &str| line.contains("nft (pid ") && line.contains("changed table inet nftpol");
    ensure!(agent.log().lines().any(named), "nobody is named: {}", agent.log());
    the_dashboard_is_answered(&prometheus)?;
    server.stop();
    prometheus.fires("NftpolStale", "node=\"node-1\"")?;
    drop(prometheus);
    agent.stop().map(drop)
}

/// What alerts and dashboard ask for is what the agent serves.
fn names_exist(agent: &Daemon<'_>) -> Result<()> {
    let (_, page) = agent.get("/metrics")?;
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut served = BTreeSet::new();
    for (name, kind) in kinds {
        served.insert(match kind {
            "counter" => format!("{}_total", name.trim_end_matches("_total")),
            "histogram" => format!("{name}_bucket"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        });
    }
    let asked = rules()? + &dashboard()?.to_string();
    let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
    let asked = asked
        .split(word)
        .filter(|name| name.starts_with("nftpol_") || name.starts_with("process_"));
    for name in asked {
        ensure!(served.contains(name), "{name} is not served: {served:?}");
    }
    Ok(())
}

/// Queries that may have no answer while all is well.
const EMPTY: [&str; 3] = ["== 0", "nftpol_binding_findings", "nftpol_build_info"];

fn the_dashboard_is_answered(prometheus: &Prometheus<'_>) -> Result<()> {
    let dashboard = dashboard()?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = panel["title"].as_str().context("a panel without a title")?;
        ensure!(ids.insert(panel["id"].as_u64()), "{title}: an id twice");
        let place = |key: &str| panel["gridPos"][key].as_u64().context("no place");
        let (x, y, w, h) = (place("x")?, place("y")?, place("w")?, place("h")?);
        ensure!(x + w <= 24, "{title} is too wide");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            ensure!(cells.insert(cell), "{title} covers another panel");
        }
        for target in panel["targets"].as_array().context("no targets")? {
            let query = target["expr"].as_str().context("no query")?.replace("$node", ".*");
            let answer = prometheus.ask(&query).with_context(|| title.to_owned())?;
            let may_be_empty = EMPTY.iter().any(|part| query.contains(part));
            ensure!(may_be_empty || !answer.is_empty(), "{title}: no answer to {query}");
        }
    }
    ensure!(panels.len() > 10, "{} panels", panels.len());
    Ok(())
}

/// A policy that an older API server took (`events.rs` of the test `agent`).
fn unusable() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {
            "name": "old", "namespace": "fire", "uid": "6f2c1a0e-52d5-4f0c-9a53-0a4d1a5b7c12",
            "creationTimestamp": "2020-01-01T00:00:00Z",
        },
        "spec": {
            "podSelector": {"matchLabels": {"app": "spare"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}],
        },
    })
}

fn words_after<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(mark)).collect()
}
