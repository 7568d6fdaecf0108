//! The node's interfaces, for commands that run in its network namespace.
//!
//! In: the command line, the pods of the files. Out: a pipeline that binds what is
//! seen. Never: a change to an interface.

use std::collections::BTreeSet;

use agent::binding_options::BindingOptions;
use agent::enforcer::Interfaces;
use agent::interfaces::NodeInterfaces;
use agent::local_pods::LocalPods;
use agent::pipeline::{InForce, Pipeline};
use agent::report;
use agent::unbindable::Unbindable;
use anyhow::{Context, Result};
use nft::{Features, Kernel, ReadError};
use policy::{BindingFinding, Mode, NodeNetwork, ObjectKey, Snapshot};

use crate::cli::Binding;

/// Findings that are printed at once at most.
const PRINTED: usize = 20;
/// Pods that a notice names.
const NAMED: usize = 5;
/// How often the claims are read while others keep changing the tables.
const CLAIM_TRIES: u32 = 10;

/// The node's interfaces.
pub struct Node {
    /// `None` where the kernel cannot bind.
    interfaces: Option<NodeInterfaces>,
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
    /// Remembers what the kernel's tables bind, looks at the interfaces, and tells
    /// the pipeline. `mode`: in audit, nothing is bound. `node`: whose pods are local.
    ///
    /// # Errors
    /// The tables or the interfaces cannot be read.
    pub fn look(
        (binding, mode, node): (&Binding, Mode, Option<&str>),
        features: &Features,
        pipeline: &mut Pipeline<Kernel>,
        snapshot: &Snapshot,
    ) -> Result<Self> {
        let mut this = Self {
            interfaces: (features.binding && mode == Mode::Enforce)
                .then(|| NodeInterfaces::new(binding.given())),
            options: binding.options(features, mode),
            local: LocalPods::of(node),
            seen: None,
            printed: BTreeSet::new(),
            failed: None,
        };
        let Some(interfaces) = &mut this.interfaces else {
            if mode == Mode::Enforce {
                Unbindable::default().lacks().iter().for_each(report::warning);
            }
            this.bind_to(pipeline, Unbindable::seen());
            return Ok(this);
        };
        let InForce { claims, network, .. } =
            in_force(pipeline).context("read what is bound already")?;
        interfaces.remember(claims, network.pod_ranges);
        if this.local.follow(snapshot) {
            interfaces.pods(this.options.bindable(&this.local, Vec::new()));
        }
        interfaces.look_now().context("list the node's interfaces")?;
        this.bind(pipeline);
        Ok(this)
    }

    /// From now on [`Self::follow`] sees what changes.
    ///
    /// # Errors
    /// The kernel gives no sockets, or the system no thread.
    pub fn watch(&mut self) -> Result<()> {
        let Some(interfaces) = &mut self.interfaces else { return Ok(()) };
        interfaces.watch().context("watch the node's interfaces")
    }

    /// Tells the pipeline what changed, of the pods or of the interfaces. Whether
    /// anything is to be bound otherwise.
    pub fn follow(&mut self, pipeline: &mut Pipeline<Kernel>, snapshot: &Snapshot) -> bool {
        let Some(interfaces) = &mut self.interfaces else {
            return self.bind_to(pipeline, Unbindable::seen());
        };
        if self.local.follow(snapshot) {
            interfaces.pods(self.options.bindable(&self.local, Vec::new()));
        }
        let failed = interfaces.look().err();
        if let Some(error) = failed.as_ref().filter(|error| self.failed.as_ref() != Some(error)) {
            report::warning(format_args!("the node's interfaces cannot be listed: {error}"));
        }
        self.failed = failed;
        self.bind(pipeline)
    }

    /// The network that is bound.
    pub fn network(&self) -> NodeNetwork {
        self.options.possible(self.seen.clone().unwrap_or_default())
    }

    fn bind(&mut self, pipeline: &mut Pipeline<Kernel>) -> bool {
        let Some(interfaces) = &self.interfaces else { return false };
        let findings: BTreeSet<BindingFinding> = interfaces.findings().iter().cloned().collect();
        print(&findings.difference(&self.printed).collect::<Vec<_>>());
        self.printed = findings;
        let Some(network) = interfaces.network().cloned() else { return false };
        self.bind_to(pipeline, network)
    }

    fn bind_to(&mut self, pipeline: &mut Pipeline<Kernel>, network: NodeNetwork) -> bool {
        if self.seen.as_ref() == Some(&network) {
            return false;
        }
        self.seen = Some(network.clone());
        pipeline.bind(self.options.possible(network));
        true
    }
}

/// Prints these findings, in one line those of pods that are not bound.
fn print(findings: &[&BindingFinding]) {
    let (unbound, others): (Vec<_>, Vec<_>) = findings
        .iter()
        .map(|finding| (*finding, unbound(finding)))
        .partition(|one| one.1.is_some());
    others.iter().take(PRINTED).for_each(|(finding, _)| report::warning(finding));
    if let Some(more) = others.len().checked_sub(PRINTED).filter(|more| *more > 0) {
        report::warning(format_args!("{more} more findings of this kind are not listed"));
    }
    let pods: BTreeSet<&ObjectKey> = unbound.into_iter().filter_map(|(_, pod)| pod).collect();
    if !pods.is_empty() {
        report::notice(format_args!(
            "no interface here is bound to an address of these pods, so others can send under it: \
             {}",
            report::some(pods.iter(), NAMED)
        ));
    }
}

/// The pod with an address that no interface has.
fn unbound(finding: &BindingFinding) -> Option<&ObjectKey> {
    match finding {
        BindingFinding::NoInterface { pod, .. } => Some(pod),
        BindingFinding::ClaimedTwice { .. }
        | BindingFinding::Contested { .. }
        | BindingFinding::UnreportedAddress { .. }
        | BindingFinding::MacClaimedTwice { .. }
        | BindingFinding::MacChanged { .. }
        | BindingFinding::UnboundPort { .. }
        | BindingFinding::VlanFiltering { .. } => None,
    }
}

/// What the kernel's tables bind.
fn in_force(pipeline: &mut Pipeline<Kernel>) -> Result<InForce, ReadError> {
    let mut tries = 1;
    loop {
        match pipeline.in_force(|_| None) {
            Err(ReadError::KeepsChanging(_)) if tries < CLAIM_TRIES => tries += 1,
            in_force => return in_force,
        }
    }
}
