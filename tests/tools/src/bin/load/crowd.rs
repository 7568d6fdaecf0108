//! The cost of a pod in a namespace of 100 and of 10,000 pods, as a Markdown table on
//! stdout.

use anyhow::{Context, Result};
use kubebed::world::World;
use samples::crowd;
use samples::large::NODE;
use samples::testbed_spec::{Network, TestbedSpec};

use crate::{PODS, come_and_go, fill, start_agent};

/// The number of pods in each namespace.
const SIZES: [usize; 2] = [100, 10_000];
/// Rounds in which pods come and go. The table has the median round.
const ROUNDS: usize = 5;

/// Measures each size and prints its ratio to the first.
pub fn measure() -> Result<()> {
    println!();
    println!(
        "| pods in the namespace, 250 local policies with port names | CPU a pod created and deleted, ms | ratio |"
    );
    println!("|---:|---:|---:|");
    let mut first = None;
    for size in SIZES {
        let milliseconds = milliseconds(size)?;
        let ratio = milliseconds / *first.get_or_insert(milliseconds);
        println!("| {size} | {milliseconds:.2} | {ratio:.2} |");
    }
    Ok(())
}

/// CPU time of the agent for a pod that is created and deleted.
fn milliseconds(size: usize) -> Result<f64> {
    let world = World::new(TestbedSpec::new(Network::Routed, &[NODE]), "lc")?;
    let cluster = crowd::crowd(size)?;
    fill(&world, &cluster)?;
    let (agent, _) = start_agent(&world, world.kubeconfig())?;
    let guest = cluster.pods.get(&crowd::remote_pod()).context("no remote pod")?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = agent.metric("process_cpu_seconds_total")?;
        come_and_go(&world, &agent, guest)?;
        rounds.push((agent.metric("process_cpu_seconds_total")? - before) / PODS as f64 * 1e3);
    }
    agent.stop()?;
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().context("no round")
}
