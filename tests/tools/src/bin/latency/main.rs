//! From a write to the API to the packets, for any NetworkPolicy controller.
//!
//! In: arguments ([`arguments::USAGE`]). Out: a Markdown table beside the goals, and
//! JSON with every value. Each state gets a cluster of its own, which is always
//! taken down.
//! Never: a limit, because figures depend on the machine; a process for a probe or
//! for a measured write.

mod arguments;
mod changes;
mod cost;
mod figures;
mod load;
mod newcomer;
mod scene;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubebed::kubernetes::Kubernetes;
use serde_json::{Value, json};
use tools::interrupt;

use arguments::{Arguments, Controller, USAGE};
use figures::{Figures, Measure, Unit, names};
use scene::{Scene, pause};

/// How long a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same without a controller.
const NOBODY: Duration = Duration::from_secs(2);
/// How long rules may take to be back.
const MENDED: Duration = Duration::from_secs(240);
/// How long a cluster that was just filled or deployed to is left alone.
const SETTLE: Duration = Duration::from_secs(5);

/// The states of a cluster, by their names in the table.
const EMPTY: &str = "empty";
const LOADED: &str = "loaded";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["help" | "--help" | "-h"] = words[..] {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match Arguments::read(&words).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    interrupt::listen()?;
    let start = Instant::now();
    let say = |line: &str| eprintln!("latency: {:5.1} s  {line}", start.elapsed().as_secs_f32());
    let mut all = Vec::new();
    let mut versions = Value::Null;
    for (state, wanted) in [(EMPTY, arguments.empty), (LOADED, arguments.loaded)] {
        if !wanted {
            continue;
        }
        // A new one for each: with all rules of a node go kube-proxy's, by which
        // agents reach the API server, and it is long until all know all again.
        let kubernetes = Kubernetes::up(arguments.cluster.clone(), &say)?;
        say(&format!("controller: {}", arguments.controller.name()));
        let scene = Scene::new(&kubernetes, &arguments.controller)?;
        versions = self::versions(&kubernetes)?;
        if state == LOADED {
            say(&load::fill(&kubernetes)?);
        }
        all.push(measured(state, arguments, &scene, &say)?);
    }
    if let Some(path) = &arguments.json {
        let states: Vec<Value> = all.iter().map(Figures::json).collect();
        let text = json!({
            "controller": arguments.controller.name(),
            "cluster": arguments.cluster.to_string(),
            "rounds": arguments.rounds,
            "versions": versions,
            "states": states,
        });
        std::fs::write(path, format!("{text:#}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    print!("{}", figures::table(&all));
    Ok(())
}

/// All measures of the cluster as it is now.
fn measured(
    state: &'static str,
    arguments: &Arguments,
    scene: &Scene<'_>,
    say: &dyn Fn(&str),
) -> Result<Figures> {
    let rounds = arguments.rounds;
    let nobody = matches!(arguments.controller, Controller::Nobody);
    let (patience, mended) = if nobody { (NOBODY, NOBODY) } else { (PATIENCE, MENDED) };
    pause(SETTLE)?;
    say(&format!("{state}: policies, labels"));
    let mut measures = changes::measure(scene, rounds, patience)?;
    changes::befriend(scene)?;
    pause(SETTLE)?;
    say(&format!("{state}: what the agent costs"));
    measures.extend(match &arguments.process {
        Some(process) => cost::measure(scene, process, rounds)?,
        None => [(names::RSS, Unit::Mebibytes), (names::CPU, Unit::Seconds)]
            .map(|(name, unit)| Measure::new(name, unit, Vec::new()))
            .to_vec(),
    });
    say(&format!("{state}: new pods"));
    measures.extend(newcomer::measure(scene, rounds, patience)?);
    scene.delete_policy("friends")?;
    pause(SETTLE)?;
    say(&format!("{state}: nft flush ruleset"));
    // Last, because nobody knows which parts of the node work afterwards.
    measures.push(changes::flush(scene, rounds, mended)?);
    Ok(Figures { state, measures })
}

/// As the first node tells them.
fn versions(kubernetes: &Kubernetes) -> Result<Value> {
    let node = kubernetes.kubectl(&["get", "node", scene::NODES[0], "-o", "json"], "")?;
    let node: Value = serde_json::from_str(&node.success()?).context("read a node")?;
    let info = &node["status"]["nodeInfo"];
    let processors = std::thread::available_parallelism().context("count processors")?;
    Ok(json!({
        "kernel": info["kernelVersion"],
        "containerd": info["containerRuntimeVersion"],
        "kubernetes": info["kubeletVersion"],
        "nftpol": env!("CARGO_PKG_VERSION"),
        "processors": processors,
    }))
}
