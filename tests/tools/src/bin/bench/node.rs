//! A node: the steps of the pipeline from a snapshot to the kernel. Beside them the
//! kernel alone and `nft -f`, each in a kernel of its own with the same state.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use compiler::{Engine, Options};
use netbed::net::Namespace;
use nft::Kernel;
use policy::{NodeNetwork, Snapshot};
use ruleset::plan::Planner;
use ruleset::{Batch, Ruleset, text};
use samples::large::NODE;
use samples::scratch::Folder;

use crate::figures::{Cost, measured};
use crate::raw::Raw;

/// Times of one change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// From a snapshot to a ruleset.
    pub compile: Cost,
    /// From two rulesets to batches.
    pub difference: Cost,
    /// Encodes and sends all batches, until the kernel has committed the last one.
    pub send: Cost,
    /// Sends the same bytes.
    pub raw: Cost,
    /// `nft -f` of the same operations.
    pub nft: Duration,
    pub operations: usize,
    pub batches: usize,
}

impl Times {
    pub fn together(&self) -> Cost {
        self.compile + self.difference + self.send
    }
}

/// How much a table holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    pub elements: usize,
    pub rules: usize,
    pub sets: usize,
}

/// A node's kernel, what it enforces, and two other kernels.
pub struct Node {
    kernel: Kernel,
    engine: Engine,
    planner: Planner,
    live: Option<Ruleset>,
    raw: Raw,
    beside: Namespace,
    folder: Folder,
    /// Keeps the kernel's tables alive.
    _namespace: Namespace,
}

impl Node {
    /// Three empty namespaces.
    ///
    /// # Errors
    /// Without the rights to create them.
    pub fn new() -> Result<Self> {
        let (namespace, beside) = (Namespace::new("nb")?, Namespace::new("nb")?);
        let kernel = namespace.run(Kernel::open)?.context("open nfnetlink")?;
        let folder = Folder::new("bench")?;
        let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
        let (engine, planner) = (Engine::new(options), Planner::default());
        let raw = Raw::new()?;
        Ok(Self { kernel, engine, planner, live: None, raw, beside, folder, _namespace: namespace })
    }

    /// Enforces a snapshot in the steps of the pipeline.
    ///
    /// # Errors
    /// When the kernel or nft(8) refuses.
    pub fn enforce(&mut self, snapshot: &Snapshot) -> Result<Times> {
        let (new, compile) = measured(|| self.compile(snapshot))?;
        let (batches, difference) = measured(|| self.planner.plan(self.live.as_ref(), &new))?;
        let batches = batches?;
        let (sent, send) = measured(|| {
            batches.iter().try_for_each(|batch| self.kernel.send(&new.id(), batch, None))
        })?;
        sent.context("send a batch")?;
        let raw = self.raw.send(&new.id(), &batches)?;
        let nft = self.nft(&match &self.live {
            None => text::ruleset(&new),
            Some(_) => operations(&new, &batches),
        })?;
        self.live = Some(new);
        let operations = batches.iter().map(|batch| batch.ops.len()).sum();
        Ok(Times { compile, difference, send, raw, nft, operations, batches: batches.len() })
    }

    /// The steps for a snapshot that changes nothing.
    ///
    /// # Errors
    /// When there is something to send.
    pub fn rest(&mut self, snapshot: &Snapshot) -> Result<()> {
        let new = self.compile(snapshot);
        let batches = self.planner.plan(self.live.as_ref(), &new)?;
        ensure!(batches.is_empty(), "equal objects change the table");
        Ok(())
    }

    fn compile(&mut self, snapshot: &Snapshot) -> Ruleset {
        self.engine.update(snapshot, &NodeNetwork::default()).ruleset.clone()
    }

    /// The number of elements, rules and sets of the table.
    pub fn size(&self) -> Size {
        let Some(live) = &self.live else { return Size::default() };
        let in_sets = live.sets.values().map(|set| set.elements.len());
        let in_maps = live.maps.values().map(|map| map.entries.len());
        Size {
            elements: in_sets.chain(in_maps).sum(),
            rules: live.chains.values().map(|chain| chain.rules.len()).sum(),
            sets: live.sets.len() + live.maps.len(),
        }
    }

    fn nft(&self, script: &str) -> Result<Duration> {
        let file = self.folder.path().join("script.nft");
        fs::write(&file, script).context("write a script")?;
        let mut command = Command::new("nft");
        command.arg("-f").arg(file);
        let start = Instant::now();
        let output = self.beside.run(|| command.output())?.context("start nft")?;
        let took = start.elapsed();
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(took)
    }
}

fn operations(new: &Ruleset, batches: &[Batch]) -> String {
    let operations = batches.iter().flat_map(|batch| &batch.ops);
    operations.map(|op| text::op(&new.id(), op) + "\n").collect()
}
