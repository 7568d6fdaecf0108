//! An agent under constant change, for as long as you like.
//!
//! Runs for the given minutes (default 30) and prints memory, CPU time and counts
//! every half minute.
//!
//! It fails when memory grows, when the kernel's table is not what the API server's
//! objects compile to, when packets contradict the specification, or when the agent
//! logs an error. It prints its seed, so that you can repeat a run.

use std::time::{Duration, Instant};

use agent::pipeline::Pipeline;
use anyhow::{Context, Result, ensure};
use compiler::Options;
use kubebed::apiserver::ApiServer;
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World, soon};
use netbed::probe::Knock;
use netbed::scenario::Scenario;
use nft::Kernel;
use policy::{Labels, ObjectKey, Pod};
use samples::fixtures;
use samples::from_scratch::compiled;
use samples::testbed_spec::Network;

const NODE: &str = "node-1";
const SAMPLE_EVERY: Duration = Duration::from_secs(30);
/// The share of the time in which memory may settle.
const SETTLING: f64 = 0.2;
/// How much larger the last samples may be than those after settling.
const GROWTH: f64 = 1.10;
/// Fake pods beside the real ones, on the node and elsewhere.
const FAKES: usize = 400;

fn main() -> Result<()> {
    let minutes: f64 = match std::env::args().nth(1) {
        None => 30.0,
        Some(minutes) => minutes.parse().context("how many minutes")?,
    };
    let mut spec = fixtures::town(Network::Bridge, &[NODE, "node-2"]);
    spec = spec.namespace("churn", &[]);
    let world = World::new(spec, "sk")?;
    let scenario = Scenario::new(&world.cluster, &[Knock::Tcp(80), Knock::Udp(53)])?;
    let policies = fixtures::files("packets")?;
    let mut agents = [NODE, "node-2"].map(|node| world.agent(node, &[]));
    for agent in &mut agents {
        let agent = agent.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        agent.ready_within(PATIENCE)?;
    }
    let [Ok(agent), Ok(_other)] = agents else { anyhow::bail!("agents") };

    let mut churn = Churn::new(&world.server, 1);
    let length = Duration::from_secs_f64(minutes * 60.0);
    let start = Instant::now();
    let (mut samples, mut next) = (Vec::new(), Duration::ZERO);
    println!("| minute | RSS, MiB | CPU, s | changes | syncs |\n|---:|---:|---:|---:|---:|");
    while start.elapsed() < length {
        churn.step(&policies)?;
        if start.elapsed() >= next {
            next += SAMPLE_EVERY;
            samples.push(sample(&agent, start.elapsed(), churn.steps)?);
        }
    }
    // Wait until everything in flight has arrived.
    soon(&world, &scenario).context("packets at the end")?;
    same_table(&world)?;
    let log = agent.stop()?;
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    ensure!(errors.is_empty(), "errors were logged: {errors:#?}");
    flat(&samples)?;
    println!(
        "{} changes in {:.1?}: memory flat, table as compiled, packets right, no error",
        churn.steps,
        start.elapsed()
    );
    Ok(())
}

/// Prints and returns the memory in MiB.
fn sample(agent: &Daemon<'_>, at: Duration, changes: u64) -> Result<f64> {
    let resident = agent.metric("process_resident_memory_bytes")? / f64::from(1 << 20);
    let cpu = agent.metric("process_cpu_seconds_total")?;
    let syncs = agent.metric("nftpol_syncs_total{result=\"ok\"}")?;
    let minute = at.as_secs_f64() / 60.0;
    println!("| {minute:.1} | {resident:.1} | {cpu:.1} | {changes} | {syncs} |");
    Ok(resident)
}

/// Checks that memory in the last quarter is about that after settling.
fn flat(samples: &[f64]) -> Result<()> {
    let settled = (samples.len() as f64 * SETTLING).ceil() as usize;
    let samples = samples.get(settled..).unwrap_or_default();
    let quarter = samples.len().div_ceil(4);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len().max(1) as f64;
    let first = mean(samples.get(..quarter).unwrap_or_default());
    let last = mean(samples.get(samples.len() - quarter..).unwrap_or_default());
    println!("RSS after settling {first:.1} MiB, at the end {last:.1} MiB");
    ensure!(last <= first * GROWTH, "memory grew from {first:.1} to {last:.1} MiB");
    Ok(())
}

/// Checks that the kernel holds what the API server's objects compile to.
fn same_table(world: &World) -> Result<()> {
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    let expected = compiled(&world.snapshot()?, &options).ruleset;
    let namespace = &world.cluster.endpoint(NODE)?.namespace;
    let kernel = namespace.run(Kernel::open)??;
    let difference = Pipeline::new(kernel, options).difference(&expected)?;
    ensure!(
        difference.pieces.is_empty() && difference.foreign.is_empty(),
        "the kernel's table is not what the objects compile to: {difference:#?}"
    );
    let (sets, chains) = (expected.sets.len(), expected.chains.len());
    println!("table as compiled: {sets} sets, {chains} chains");
    Ok(())
}

/// Random changes, one after another.
struct Churn<'a> {
    server: &'a ApiServer,
    random: u64,
    steps: u64,
    /// Which fake pods exist.
    fakes: Vec<bool>,
    /// Which files of policies are applied.
    applied: Vec<bool>,
}

impl<'a> Churn<'a> {
    fn new(server: &'a ApiServer, seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self { server, random: seed, steps: 0, fakes: vec![false; FAKES], applied: Vec::new() }
    }

    /// The next number of a fixed sequence (xorshift, Marsaglia 2003).
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % bound as u64) as usize
    }

    fn step(&mut self, policies: &[(std::path::PathBuf, String)]) -> Result<()> {
        self.steps += 1;
        self.applied.resize(policies.len(), false);
        match self.below(40) {
            0 => {
                let which = self.below(policies.len());
                let verb = if self.applied[which] { "delete" } else { "apply" };
                self.applied[which] ^= true;
                let text = &policies[which].1;
                self.server.kubectl(&[verb, "-f", "-"], text)?.success().map(drop)
            }
            1 => {
                let labels: Labels = [("team".to_owned(), format!("t{}", self.below(3)))].into();
                let namespace = policy::Namespace {
                    name: "churn".to_owned(),
                    labels,
                    is_ending: false,
                    switch: Default::default(),
                };
                self.server.apply_namespaces(&[namespace])
            }
            2..=9 => {
                let which = self.below(FAKES);
                if !self.fakes[which] {
                    return Ok(());
                }
                let labels = self.labels();
                self.server.relabel_pods(&[(key(which), labels)])
            }
            _ => {
                let which = self.below(FAKES);
                self.fakes[which] ^= true;
                if !self.fakes[which] {
                    return self.server.delete_pods(&[key(which)]);
                }
                let labels = self.labels();
                self.server.create_pods(&[fake(which, labels, self.steps)])
            }
        }
    }

    fn labels(&mut self) -> Labels {
        let app = ["web", "api", "db", "mon"][self.below(4)];
        let tier = ["front", "back"][self.below(2)];
        [("app", app), ("tier", tier)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }
}

fn key(which: usize) -> ObjectKey {
    ObjectKey::new(["churn", "dev", "shop"][which % 3], format!("fake-{which}"))
}

/// Later pods use the same addresses again.
fn fake(which: usize, labels: Labels, step: u64) -> Pod {
    let number = u8::try_from(step % 200).unwrap_or_default();
    let node = if which.is_multiple_of(2) { NODE } else { "node-2" };
    Pod {
        key: key(which),
        labels,
        node: Some(node.to_owned()),
        addresses: vec![
            std::net::Ipv4Addr::new(10, 99, (which % 2) as u8, number).into(),
            std::net::Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, (which % 2) as u16, number.into())
                .into(),
        ],
        host_addresses: Vec::new(),
        host_network: false,
        phase: policy::Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}
