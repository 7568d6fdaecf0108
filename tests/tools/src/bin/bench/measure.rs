//! One measurement: the steps of the pipeline from a snapshot to the kernel, and
//! `nft -f` beside them. Each cold measurement gets a new namespace.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use compiler::{Engine, Options};
use netbed::net::Namespace;
use nft::Kernel;
use policy::Snapshot;
use ruleset::plan::Planner;
use ruleset::{Batch, Ruleset, text};
use samples::large::NODE;
use samples::scratch::Folder;

/// Times of one change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From a snapshot to a ruleset.
    pub compile: Duration,
    /// From two rulesets to batches.
    pub difference: Duration,
    /// Sends all batches, until the kernel has committed the last one.
    pub send: Duration,
    /// `nft -f` with the same operations, in another kernel with the same state. None
    /// if the operations are the whole table.
    pub operations: Option<Duration>,
    /// `nft -f` with the whole table, replacing the present one.
    pub table: Duration,
}

/// A node's kernel, what it enforces, and another kernel for nft(8).
#[derive(Debug)]
pub struct Node {
    kernel: Kernel,
    engine: Engine,
    planner: Planner,
    live: Option<Ruleset>,
    beside: Namespace,
    folder: Folder,
    /// Keeps the kernel's tables alive.
    _namespace: Namespace,
}

impl Node {
    /// Two empty namespaces.
    ///
    /// # Errors
    /// Without the rights to create them.
    pub fn new() -> Result<Self> {
        let (namespace, beside) = (Namespace::new("nb")?, Namespace::new("nb")?);
        let kernel = namespace.run(Kernel::open)?.context("open nfnetlink")?;
        let folder = Folder::new("bench")?;
        let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
        let (engine, planner) = (Engine::new(options), Planner::default());
        Ok(Self { kernel, engine, planner, live: None, beside, folder, _namespace: namespace })
    }

    /// Enforces a snapshot in the steps of the pipeline.
    ///
    /// # Errors
    /// When the kernel or nft(8) refuses.
    pub fn enforce(&mut self, snapshot: &Snapshot) -> Result<Times> {
        let (new, compile) =
            timed(|| self.engine.update(snapshot, &policy::NodeNetwork::default()).ruleset.clone());
        let (batches, difference) = timed(|| self.planner.plan(self.live.as_ref(), &new));
        let batches = batches?;
        let (sent, send) =
            timed(|| batches.iter().try_for_each(|batch| self.kernel.send(&new.id(), batch, None)));
        sent.context("send a batch")?;
        let whole = text::ruleset(&new);
        let (operations, table) = match &self.live {
            None => (None, self.nft(&whole)?),
            Some(_) => {
                let operations = self.nft(&operations(&new, &batches))?;
                let whole = format!("delete table inet {}\n{whole}", new.table);
                (Some(operations), self.nft(&whole)?)
            }
        };
        self.live = Some(new);
        Ok(Times { compile, difference, send, operations, table })
    }

    /// The number of elements and rules of the table.
    pub fn size(&self) -> (usize, usize) {
        let Some(live) = &self.live else { return (0, 0) };
        let in_sets = live.sets.values().map(|set| set.elements.len());
        let in_maps = live.maps.values().map(|map| map.entries.len());
        let rules = live.chains.values().map(|chain| chain.rules.len());
        (in_sets.chain(in_maps).sum(), rules.sum())
    }

    fn nft(&self, script: &str) -> Result<Duration> {
        let file = self.folder.path().join("script.nft");
        fs::write(&file, script).context("write a script")?;
        let mut command = Command::new("nft");
        command.arg("-f").arg(file);
        let (output, took) = self.beside.run(|| timed(|| command.output()))?;
        let output = output.context("start nft")?;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(took)
    }
}

fn operations(new: &Ruleset, batches: &[Batch]) -> String {
    let operations = batches.iter().flat_map(|batch| &batch.ops);
    operations.map(|op| text::op(&new.id(), op) + "\n").collect()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
