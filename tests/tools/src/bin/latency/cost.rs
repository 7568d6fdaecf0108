//! The cost of the agent on a node.
//!
//! Takes the name of the agent's process. Measures resident memory and CPU time on
//! each node, for all processes with that name in the node's network namespace.
//! Agents that enforce policies run in the network of their node. Figures that the
//! agent reports about itself are not used.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::{Pid, SysconfVar, sysconf};
use policy::ObjectKey;
use serde_json::{Value, json};

use crate::figures::{Measure, Unit, names};
use crate::scene::{NAMESPACE, NODES, OURS, Scene, create, pause, pod, ready, until};

/// How long the agent is observed while nothing happens.
const REST: Duration = Duration::from_secs(10);

/// CPU time and memory, while pods come and go.
pub fn measure(scene: &Scene<'_>, process: &str, pods: usize) -> Result<Vec<Measure>> {
    let resident = || each_node(scene, process, resident_mebibytes);
    let cpu = || each_node(scene, process, cpu_seconds);
    let (start, before) = (Instant::now(), cpu()?);
    pause(REST)?;
    let at_rest = less(&cpu()?, &before).map(|spent| spent / start.elapsed().as_secs_f64());
    let (start, before) = (Instant::now(), cpu()?);
    come_and_go(scene, pods)?;
    // The agent's work shortly after the last pod counts, too.
    pause(Duration::from_secs(2))?;
    let took = start.elapsed().as_secs_f64();
    let spent = less(&cpu()?, &before);
    let over = [0, 1].map(|node| Some((spent[node] - at_rest[node] * took) / pods as f64));
    let gross = spent.map(|spent| Some(spent / pods as f64));
    Ok(vec![
        Measure::new(names::RSS, Unit::Mebibytes, resident()?.map(Some).to_vec()),
        // The node with the pods. The other node only hears of them.
        Measure::new(names::CPU, Unit::Seconds, vec![over[0]]),
        Measure::new("the same on the other node", Unit::Seconds, vec![over[1]]),
        Measure::new("the same with what it takes at rest", Unit::Seconds, gross.to_vec()),
        Measure::new(
            "CPU of the agent at rest, each second",
            Unit::Seconds,
            at_rest.map(Some).to_vec(),
        ),
    ])
}

fn less(after: &[f64; 2], before: &[f64; 2]) -> [f64; 2] {
    [0, 1].map(|node| after[node] - before[node])
}

/// Creates pods on the first node all at once, and deletes them.
fn come_and_go(scene: &Scene<'_>, count: usize) -> Result<()> {
    let kubernetes = scene.kubernetes;
    let before = kubernetes.namespaces_of_pods(NODES[0])?;
    let pods = (0..count).map(name);
    let pods = pods.map(|name| pod(NAMESPACE, &name, NODES[0], &json!({"run": "passer-by"})));
    create(kubernetes, &pods.collect::<Vec<Value>>())?;
    ready(kubernetes, &OURS)?;
    let keys = (0..count).map(|number| ObjectKey::new(NAMESPACE, name(number)));
    kubernetes.server().delete_pods(&keys.collect::<Vec<_>>())?;
    until("end of the pods", || Ok(kubernetes.namespaces_of_pods(NODES[0])?.is_subset(&before)))
}

fn name(number: usize) -> String {
    format!("passer-by-{number}")
}

/// The sum over the agent's processes, for each node.
fn each_node(scene: &Scene<'_>, process: &str, of: fn(Pid) -> Result<f64>) -> Result<[f64; 2]> {
    let mut sums = [0.0; 2];
    for (sum, node) in sums.iter_mut().zip(NODES) {
        let namespace = &scene.kubernetes.cluster().endpoint(node)?.namespace;
        let named = |pid: &Pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            // The kernel keeps 15 bytes of the name (TASK_COMM_LEN in linux/sched.h).
            name.trim_end() == &process[..process.len().min(15)]
        };
        let found: Vec<Pid> = namespace.processes().into_iter().filter(named).collect();
        ensure!(!found.is_empty(), "no process {process} on {node}");
        *sum = found.into_iter().map(of).sum::<Result<f64>>()?;
    }
    Ok(sums)
}

/// VmRSS of proc_pid_status(5).
fn resident_mebibytes(pid: Pid) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kilobytes.parse::<f64>().context("read its memory")? / 1024.0)
}

/// utime and stime of proc_pid_stat(5), of all threads, including those that have
/// ended.
fn cpu_seconds(pid: Pid) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("read its CPU time")?;
    // The name in parentheses may contain any character.
    let (_, fields) = stat.rsplit_once(") ").context("no name")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<Result<f64, _>>().context("read its CPU time")?;
    let second = sysconf(SysconfVar::CLK_TCK)?.context("no clock ticks")?;
    Ok(ticks / second as f64)
}
