//! After every event of random histories, the kernel's table means what the
//! specification says.
//!
//! The whole way is under test: watches, the agent's view of the cluster, compiler,
//! difference, kernel. A second socket reads the table, and `verify` compares it with
//! the objects.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use agent::cluster_state::ClusterState;
use agent::pipeline::Pipeline;
use anyhow::{Context, Result, anyhow, bail, ensure};
use compiler::{Options, scaffold};
use netbed::fire::say;
use netbed::net::Namespace;
use nft::Kernel;
use policy::Snapshot;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use ruleset::TableId;
use ruleset::plan::{Budget, plan};
use samples::random::{self, Delivery, Grouping, NODES, Step, Unknown, Watches};
use watcher::Kind;
use watcher::api::Event;

/// Steps of a history.
const STEPS: usize = 30;
/// Histories of each test.
const HISTORIES: u32 = 500;

/// Each test has histories of its own, the same in every run. `PROPTEST_CASES` draws
/// that many new ones, with a random seed unless `PROPTEST_RNG_SEED` is set.
fn cases(seed: u64) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: HISTORIES, rng_seed: RngSeed::Fixed(seed), ..default },
    }
}

/// The first objects, the order in which the kinds are listed, whether ended pods are
/// watched, the steps, how large a commit is, and what becomes of addresses that no
/// object names. With the smallest budget it has one
/// operation, unless packets must meet several together.
type History = (Snapshot, Vec<Kind>, bool, Vec<Step>, Option<Budget>, Unknown);

fn history() -> impl Strategy<Value = History> {
    let order = Just(Kind::ALL.to_vec()).prop_shuffle();
    let budget = proptest::option::of(Just(Budget::SMALLEST));
    let steps = vec(random::step(), STEPS);
    (random::crowd(), order, any::<bool>(), steps, budget, random::unknown())
}

/// What the tests did so far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    histories: usize,
    steps: usize,
    syncs: usize,
    batches: usize,
    operations: usize,
    /// Isolated addresses, summed over all proofs.
    addresses: usize,
}

/// The rules of a network namespace, through two sockets.
struct Node {
    namespace: Namespace,
    reader: Kernel,
    counts: Counts,
    /// Addresses that a local pod reported in this history.
    were_reported: BTreeSet<IpAddr>,
    /// Those of them that a pod of another node has taken over.
    ended: BTreeSet<IpAddr>,
}

impl Node {
    fn new() -> Result<Self> {
        let namespace = Namespace::new("hi")?;
        let reader = namespace.run(Kernel::open)??;
        Ok(Self {
            namespace,
            reader,
            counts: Counts::default(),
            were_reported: BTreeSet::new(),
            ended: BTreeSet::new(),
        })
    }

    /// Starts an agent and shows it the history.
    fn live(&mut self, (objects, order, ended, steps, budget, unknown): &History) -> Result<()> {
        let options = Options { node: Some(NODES[0].0.to_owned()), ..Options::default() };
        let mut pipeline = Pipeline::new(self.namespace.run(Kernel::open)??, options);
        if let Some(budget) = budget {
            pipeline = pipeline.in_pieces_of(*budget);
        }
        pipeline.bind(unknown.network());
        let mut cluster = ClusterState::default().keeping(NODES[0].0);
        self.were_reported.clear();
        self.ended.clear();
        let mut watches = Watches::new(objects.clone(), *ended);
        let lists = watches.lists(order);
        self.sync(&mut pipeline, &mut cluster, lists).context("the first lists")?;
        for (index, step) in steps.iter().enumerate() {
            for events in watches.step(step) {
                self.sync(&mut pipeline, &mut cluster, events)
                    .with_context(|| format!("step {index}: {step:?}"))?;
            }
            self.counts.steps += 1;
        }
        for events in watches.step(&the_rest()) {
            self.sync(&mut pipeline, &mut cluster, events).context("what was held")?;
        }
        let mut objects = Snapshot { kept: Default::default(), ..cluster.snapshot().clone() };
        for policy in cluster.kept_policies().keys() {
            objects.policies.remove(policy);
        }
        ensure!(objects == watches.objects(), "the agent's view is wrong");
        self.counts.histories += 1;
        Ok(())
    }

    /// Handles events that arrive together as the agent does, and then proves the
    /// table.
    fn sync(
        &mut self,
        pipeline: &mut Pipeline<Kernel>,
        cluster: &mut ClusterState,
        events: Vec<Event>,
    ) -> Result<()> {
        for event in events {
            cluster.take(event);
            self.check_kept(cluster.snapshot())?;
        }
        let outcome = pipeline.sync(cluster.snapshot())?;
        ensure!(outcome.set_aside.is_empty(), "set aside: {:?}", outcome.set_aside);
        let dump = self.reader.dump(&TableId::inet(scaffold::table()))?.context("no table")?;
        ensure!(dump.foreign.is_empty(), "foreign: {:?}", dump.foreign);
        if dump.ruleset != *outcome.after {
            let missing = plan(Some(&dump.ruleset), &outcome.after);
            bail!("the kernel's table is not what was sent; missing: {missing:#?}");
        }
        let (node, set_aside) = (Some(NODES[0].0), &outcome.set_aside);
        let network = pipeline.network();
        let report =
            verify::verify(cluster.snapshot(), node, set_aside, network, &dump.ruleset, None)?;
        let wrong = report.differences.first();
        ensure!(wrong.is_none(), "{}", wrong.map(ToString::to_string).unwrap_or_default());
        self.counts.syncs += 1;
        self.counts.batches += outcome.batches();
        self.counts.operations += outcome.operations();
        self.counts.addresses += report.counts.addresses;
        Ok(())
    }
}

impl Node {
    /// No interface is known and no time passes. So what a local pod once reported is kept,
    /// unless one reports it now. A younger pod of another node can end it, too.
    fn check_kept(&mut self, snapshot: &Snapshot) -> Result<()> {
        let pods = || snapshot.pods.values().filter(|pod| pod.is_subject());
        let local = pods().filter(|pod| pod.node.as_deref() == Some(NODES[0].0));
        let reported: BTreeSet<IpAddr> =
            local.flat_map(|pod| pod.addresses.iter().copied()).collect();
        for address in snapshot.kept.keys() {
            ensure!(!reported.contains(address), "{address} is kept and reported");
            ensure!(self.were_reported.contains(address), "{address} never was reported");
        }
        for address in self.were_reported.difference(&reported) {
            let ended = pods().any(|pod| pod.addresses.contains(address));
            let is_kept = snapshot.kept.contains_key(address) || ended;
            ensure!(is_kept || self.ended.contains(address), "{address} is not kept");
        }
        self.were_reported.extend(&reported);
        let kept = &snapshot.kept;
        self.ended.retain(|address| !reported.contains(address));
        let ended = self.were_reported.difference(&reported);
        self.ended.extend(ended.filter(|address| !kept.contains_key(*address)));
        Ok(())
    }
}

/// Changes nothing and delivers everything that was held back.
fn the_rest() -> Step {
    let delivery = Delivery {
        order: Kind::ALL.to_vec(),
        held: [].into(),
        relisted: [].into(),
        grouping: Grouping::Together,
        twice: false,
    };
    Step { edits: Vec::new(), delivery }
}

fn all(name: &str, seed: u64, before_each: impl Fn(&mut Node) -> Result<()>) -> Result<()> {
    let config = cases(seed);
    let seeded = format!("{name}: {} histories, {:?}", config.cases, config.rng_seed);
    say(&format!("{seeded}\n"))?;
    let node = RefCell::new(Node::new()?);
    let start = Instant::now();
    let result = TestRunner::new(config).run(&history(), |history| {
        let mut node = node.borrow_mut();
        let lived = before_each(&mut node).and_then(|()| node.live(&history));
        lived.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    say(&format!("{seeded}: {} in {:.1?}\n", node.borrow().counts, start.elapsed()))?;
    result.map_err(|error| anyhow!("{error}"))
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, steps, syncs, batches, operations, addresses } = self;
        write!(
            f,
            "{histories} lived, {steps} steps, {syncs} syncs and proofs of {addresses} isolated \
             addresses, {batches} batches, {operations} operations"
        )
    }
}

#[test]
fn histories_from_the_table_that_the_one_before_left() -> Result<()> {
    all("adopting", 1, |_| Ok(()))
}

#[test]
fn histories_from_an_empty_kernel() -> Result<()> {
    all("from nothing", 2, without_table)
}

fn without_table(node: &mut Node) -> Result<()> {
    node.reader.delete_table(&TableId::inet(scaffold::table()))?;
    Ok(())
}
