//! From a write to the API to the packets, for any NetworkPolicy controller.
//!
//! Takes the arguments of [`arguments::USAGE`]. Prints a Markdown table beside the
//! goals, and writes JSON with every value. Each state gets a cluster of its own,
//! which is always taken down. There are no limits, because figures depend on the
//! machine. Probes and measured writes start no processes.

mod arguments;
mod changes;
mod cost;
mod figures;
mod load;
mod new_pod;
mod newcomer;
mod scene;
mod unknown;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubebed::kubernetes::Kubernetes;
use serde_json::{Value, json};
use tools::interrupt;

use arguments::{Arguments, Controller, USAGE};
use figures::{Figures, Measure, Unit, names};
use scene::{Scene, pause};

/// How long to wait for the effect of a change.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same without a controller.
const NOBODY: Duration = Duration::from_secs(2);
/// How long to wait until the rules are restored.
const MENDED: Duration = Duration::from_secs(240);
/// How long a cluster rests after it was filled or deployed to.
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
        // Each state gets a new cluster. A flush of a node's rules removes
        // kube-proxy's rules, too, by which agents reach the API server. It takes
        // long until all programs are up to date again.
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
    let mut measures = Vec::new();
    pause(SETTLE)?;
    if !arguments.new_pods {
        say(&format!("{state}: policies, labels"));
        measures.extend(changes::measure(scene, rounds, patience)?);
    }
    changes::befriend(scene)?;
    pause(SETTLE)?;
    if !arguments.new_pods {
        say(&format!("{state}: what the agent costs"));
        measures.extend(costs(arguments, scene)?);
    }
    say(&format!("{state}: new pods"));
    measures.extend(newcomer::measure(scene, rounds, patience)?);
    say(&format!("{state}: new pods without a policy"));
    measures.extend(unknown::free(scene, rounds, patience)?);
    if let Controller::Nftpol(_) = arguments.controller {
        say(&format!("{state}: new pods while no agent runs"));
        measures.extend(unknown::agent_away(scene, rounds)?);
    }
    scene.delete_policy("friends")?;
    if arguments.new_pods {
        return Ok(Figures { state, measures });
    }
    pause(SETTLE)?;
    say(&format!("{state}: nft flush ruleset"));
    // Last, because it is unknown which parts of the node work afterwards.
    measures.push(changes::flush(scene, rounds, mended)?);
    Ok(Figures { state, measures })
}

fn costs(arguments: &Arguments, scene: &Scene<'_>) -> Result<Vec<Measure>> {
    match &arguments.process {
        Some(process) => cost::measure(scene, process, arguments.rounds),
        None => Ok([(names::RSS, Unit::Mebibytes), (names::CPU, Unit::Seconds)]
            .map(|(name, unit)| Measure::new(name, unit, Vec::new()))
            .to_vec()),
    }
}

/// The versions as the first node reports them.
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
