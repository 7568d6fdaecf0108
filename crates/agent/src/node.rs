//! The node's interfaces, for commands that run in its network namespace.
//!
//! In: the command line, the pods of the files. Out: a pipeline that binds what is
//! seen. Never: a change to an interface.

use std::collections::BTreeSet;
use std::time::Instant;

use agent::binding_options::BindingOptions;
use agent::enforcer::Interfaces;
use agent::local_pods::LocalPods;
use agent::pipeline::Pipeline;
use agent::report;
use anyhow::{Context, Result, anyhow};
use nft::{Features, Kernel};
use policy::{BindingFinding, NodeNetwork, Snapshot};

use crate::cli::Binding;
use crate::interfaces;

/// Findings that are printed at once at most.
const PRINTED: usize = 20;
/// How often the claims are read while others keep changing the tables.
const CLAIM_TRIES: u32 = 10;

/// The node's interfaces.
pub struct Node {
    interfaces: Box<dyn Interfaces>,
    options: BindingOptions,
    local: LocalPods,
    /// What the pipeline binds, before the operator's word.
    seen: Option<NodeNetwork>,
    /// Findings are not repeated while they stay true.
    printed: BTreeSet<BindingFinding>,
    /// The error of the last look.
    failed: Option<String>,
}

impl Node {
    /// Nothing is looked at yet. `node`: whose pods are local.
    ///
    /// # Errors
    /// The interfaces cannot be asked for.
    pub fn new(binding: &Binding, node: Option<&str>, features: &Features) -> Result<Self> {
        Ok(Self {
            interfaces: interfaces::open(features)?,
            options: binding.options(features.bridge),
            local: LocalPods::of(node),
            seen: None,
            printed: BTreeSet::new(),
            failed: None,
        })
    }

    /// Remembers what the kernel's tables bind, and looks for the first time.
    ///
    /// # Errors
    /// The tables or the interfaces cannot be read.
    pub fn look_once(
        &mut self,
        pipeline: &mut Pipeline<Kernel>,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let mut tries = 1;
        let claims = loop {
            match pipeline.claims() {
                Err(nft::ReadError::KeepsChanging(_)) if tries < CLAIM_TRIES => tries += 1,
                claims => break claims.context("read what is bound already")?,
            }
        };
        self.interfaces.remember(claims);
        if let Some(lacks) = self.interfaces.lacks() {
            report::warning(lacks);
        }
        self.look(pipeline, snapshot);
        match &self.failed {
            Some(error) => Err(anyhow!("list the node's interfaces: {error}")),
            None => Ok(()),
        }
    }

    /// Looks, if it is time to. Whether what is to be bound changed.
    pub fn look(&mut self, pipeline: &mut Pipeline<Kernel>, snapshot: &Snapshot) -> bool {
        self.local.follow(snapshot);
        let pods = self.options.bindable(&self.local);
        let failed = self.interfaces.look(Instant::now(), &pods).err();
        if let Some(error) = failed.as_ref().filter(|error| self.failed.as_ref() != Some(error)) {
            report::warning(format_args!("the node's interfaces cannot be listed: {error}"));
        }
        self.failed = failed;
        self.print_findings();
        let Some(network) = self.interfaces.network() else { return false };
        if self.seen.as_ref() == Some(network) {
            return false;
        }
        self.seen = Some(network.clone());
        pipeline.bind(self.options.complete(network.clone()));
        true
    }

    /// The network that is bound.
    pub fn network(&self) -> NodeNetwork {
        self.options.complete(self.seen.clone().unwrap_or_default())
    }

    fn print_findings(&mut self) {
        let now: BTreeSet<BindingFinding> = self.interfaces.findings().iter().cloned().collect();
        let new: Vec<_> = now.difference(&self.printed).collect();
        new.iter().take(PRINTED).for_each(report::warning);
        if let Some(more) = new.len().checked_sub(PRINTED).filter(|more| *more > 0) {
            report::warning(format_args!("{more} more findings of this kind are not listed"));
        }
        self.printed = now;
    }
}
