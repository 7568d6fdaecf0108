//! A real Prometheus that asks real agents, with the alerts of `manifests/`.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::world::{PATIENCE, manifests};
use netbed::net::Namespace;
use netbed::program;
use samples::scratch::Folder;
use serde_json::Value;

const ADDRESS: &str = "127.0.0.1:9090";
const URL: &str = "http://127.0.0.1:9090";

/// As an operator writes it, with shorter intervals. What follows are the targets.
const CONFIGURATION: &str = "
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [alerts.yaml]
scrape_configs:
- job_name: nftpol
";

/// Two agents of a node, as if they were of two.
pub const TARGETS: &str = "
  static_configs:
  - {targets: ['127.0.0.1:9478'], labels: {node: node-1}}
  - {targets: ['127.0.0.1:9479'], labels: {node: node-2}}
";

/// The rules of the PrometheusRule, as Prometheus reads them from a file.
pub fn rules() -> Result<String> {
    let text = fs::read_to_string(manifests().join("components/monitoring/alerts.yaml"))?;
    let (_, spec) = text.split_once("\nspec:\n").context("no spec")?;
    Ok(spec.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect())
}

/// The dashboard.
pub fn dashboard() -> Result<Value> {
    let path = manifests().join("components/monitoring/dashboard.json");
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// Prometheus in a node's namespace, with the alerts, which wait for nothing.
pub struct Prometheus<'a> {
    node: &'a Namespace,
    child: Child,
    _folder: Folder,
}

impl<'a> Prometheus<'a> {
    /// Starts it with these targets.
    pub fn start(node: &'a Namespace, targets: &str) -> Result<Self> {
        let folder = Folder::new("prometheus")?;
        let at = |name: &str| folder.path().join(name);
        let mut rules = String::new();
        for line in self::rules()?.lines().filter(|line| !line.trim().starts_with("for: ")) {
            // Nobody waits for five minutes here.
            let line = line.replace("> 300", "> 3").replace("[10m]", "[6s]");
            rules += &(line + "\n");
        }
        fs::write(at("alerts.yaml"), rules)?;
        fs::write(
            at("prometheus.yml"),
            format!("{CONFIGURATION}{}", targets.trim_start_matches('\n')),
        )?;
        let mut command = node.command("prometheus");
        command.arg(option("--config.file", &at("prometheus.yml")));
        command.arg(option("--storage.tsdb.path", &at("data")));
        command.arg(format!("--web.listen-address={ADDRESS}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("start prometheus (Debian package prometheus)")?;
        Ok(Self { node, child, _folder: folder })
    }

    /// The lines of the answer.
    pub fn ask(&self, query: &str) -> Result<Vec<String>> {
        let mut command = self.node.command("promtool");
        command.args(["query", "instant", URL, query]);
        let answer = program::finish(command, "")?.success().with_context(|| query.to_owned())?;
        Ok(answer.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// Waits until so many series answer.
    pub fn until(&self, query: &str, series: usize) -> Result<()> {
        let start = Instant::now();
        loop {
            let answer = self.ask(query);
            if answer.as_ref().is_ok_and(|lines| lines.len() == series) {
                return Ok(());
            }
            ensure!(start.elapsed() < PATIENCE, "{query}: {answer:?}");
            sleep(Duration::from_millis(200));
        }
    }

    /// Waits until an alert is raised.
    pub fn fires(&self, alert: &str, labels: &str) -> Result<()> {
        let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",{labels}}}");
        self.until(&query, 1)?;
        println!("{alert} fires");
        Ok(())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // If it has already ended, there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
