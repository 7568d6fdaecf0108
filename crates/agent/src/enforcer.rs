//! The loop that enforces.
//!
//! In: messages of the watches, time. Out: a kernel that enforces what the
//! cluster says, as soon as every kind is known; readiness and metrics.
//! Never: a wait for the API server; a change to the kernel before the view
//! is complete.
//!
//! ```text
//!  inbox ──▶ cluster_state ─┐
//!                           ├─▶ pipeline ─▶ kernel
//!  clock ──▶ next ──────────┘      │
//!                                  ├─▶ flow clean-up
//!                                  ├─▶ findings ─▶ problems, gauges, log
//!                                  └─▶ status, metrics
//! ```

mod findings;
mod inbox;
mod next;
mod repairs;

pub use inbox::{Inbox, Message, Received};
pub use next::{COALESCE, FIRST_RETRY, LAST_RETRY, LOOK_EVERY, READ_SHARE};
pub use repairs::{FIGHT, FIRST_PAUSE, LAST_PAUSE, QUIET};

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nft::ReadError;
use policy::ObjectKey;
use ruleset::Ruleset;
use tokio::sync::watch;
use watcher::Kind;
use watcher::api::Event;

use crate::clock::Clock;
use crate::cluster_state::ClusterState;
use crate::conntrack_cleanup::{ConntrackCleanup, Counters};
use crate::metrics::Metrics;
use crate::pipeline::{Check, Outcome, Pipeline, SyncError, SyncFailed};
use crate::problems::Problems;
use crate::status::{Condition, Status};
use crate::{Sink, other_tables, report};
use findings::{Findings, Found};
use next::{Next, Step};

/// How often to look at the node around the table.
const SURROUNDINGS_EVERY: Duration = Duration::from_secs(2);

/// What a loop works with.
pub struct Parts<S> {
    /// From the watches.
    pub inbox: Box<dyn Inbox>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The way to the kernel.
    pub pipeline: Pipeline<S>,
    /// For live connections; `None` without conntrack.
    pub flow_cleanup: Option<Box<dyn FlowCleanup>>,
    /// What else of the node can break enforcement.
    pub surroundings: Box<dyn Surroundings<S>>,
    /// For Events.
    pub problems: watch::Sender<Problems>,
    /// For the probes.
    pub status: Status,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The node whose pods are local.
    pub node: String,
}

/// Ends connections that a change denies.
pub trait FlowCleanup {
    /// See [`ConntrackCleanup::changed`].
    fn changed(&self, before: Option<Arc<Ruleset>>, after: Arc<Ruleset>);

    /// See [`ConntrackCleanup::is_alive`].
    fn is_alive(&self) -> bool;

    /// See [`ConntrackCleanup::counters`].
    fn counters(&self) -> Counters;
}

impl FlowCleanup for ConntrackCleanup {
    fn changed(&self, before: Option<Arc<Ruleset>>, after: Arc<Ruleset>) {
        Self::changed(self, before, after);
    }

    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }
}

/// What of the node can make enforcement blind or break it.
pub trait Surroundings<S> {
    /// Looks, and tells the status.
    fn look(&mut self, now: Instant, kernel: &mut S, local_pods: &[IpAddr], status: &Status);
}

/// A thread ended that must not: the process has to be started again. The
/// rules stay in force.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread {0:?} died; the rules stay in force")]
pub struct ThreadDied(pub &'static str);

/// The loop.
pub struct Enforcer<S> {
    parts: Parts<S>,
    cluster: ClusterState,
    findings: Findings,
    next: Next,
    looked_around: Option<Instant>,
    /// Whether the table was ours once.
    enforced: bool,
    /// Whether there is no table of ours beside ours, such as one of another
    /// version.
    is_only_table: bool,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

impl<S> fmt::Debug for Enforcer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enforcer").field("next", &self.next).finish_non_exhaustive()
    }
}

impl<S: Sink> Enforcer<S> {
    /// A loop that knows nothing yet.
    pub fn new(parts: Parts<S>) -> Self {
        Self {
            parts,
            cluster: ClusterState::default(),
            findings: Findings::default(),
            next: Next::default(),
            looked_around: None,
            enforced: false,
            is_only_table: false,
        }
    }

    /// Runs until asked to stop; the rules stay.
    ///
    /// # Errors
    /// A thread died that this one works with.
    pub fn run(&mut self) -> Result<(), ThreadDied> {
        loop {
            self.parts.status.heartbeat();
            let patience = self.next.patience(self.now());
            if self.receive(patience)? == Go::Stop {
                return Ok(());
            }
            self.work()?;
        }
    }

    /// Takes in all messages that are there, or the first that comes in time.
    fn receive(&mut self, patience: Duration) -> Result<Go, ThreadDied> {
        let mut wait = patience;
        loop {
            match self.parts.inbox.receive(wait) {
                Received::Message(Message::Stop) => return Ok(Go::Stop),
                Received::Message(Message::Event(came, event)) => self.take(came, event),
                Received::Nothing => return Ok(Go::On),
                Received::Closed => return Err(ThreadDied("remote")),
            }
            wait = Duration::ZERO;
        }
    }

    fn take(&mut self, came: Instant, event: Event) {
        if self.cluster.take(event) {
            self.next.event(came);
        }
    }

    fn work(&mut self) -> Result<(), ThreadDied> {
        let missing = self.cluster.missing();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.into_iter().map(Kind::name).collect();
            let problem = format!("waiting for the API server to list {}", names.join(", "));
            self.parts.status.fails(Condition::Listed, problem);
            return Ok(());
        }
        self.parts.status.holds(Condition::Listed);
        self.look_around()?;
        if self.next.must_look_first(self.now()) {
            self.guard();
        }
        if self.next.step(self.now()) == Step::Sync {
            self.sync(false);
        }
        if self.next.step(self.now()) == Step::Guard {
            self.guard();
        }
        self.report_readiness();
        Ok(())
    }

    fn look_around(&mut self) -> Result<(), ThreadDied> {
        let now = self.now();
        let looked = self.looked_around;
        if looked.is_some_and(|looked| now < looked + SURROUNDINGS_EVERY) {
            return Ok(());
        }
        self.looked_around = Some(now);
        let pods = self.local_addresses();
        let Parts { surroundings, pipeline, status, metrics, flow_cleanup, .. } = &mut self.parts;
        surroundings.look(now, pipeline.sink(), &pods, status);
        if let Some(flow_cleanup) = flow_cleanup {
            metrics.cut(&flow_cleanup.counters());
            if !flow_cleanup.is_alive() {
                return Err(ThreadDied("conntrack"));
            }
        }
        Ok(())
    }

    /// Looks whether the table is still what it was, and restores it.
    fn guard(&mut self) {
        let start = self.now();
        match self.parts.pipeline.check() {
            Ok(Check::Nothing) => {}
            Ok(Check::RetryRefused) => self.sync(false),
            Ok(Check::Restore) => {
                if self.next.touched(start) {
                    self.sync(true);
                }
            }
            Ok(Check::ReadWhenAffordable) => {
                if self.next.may_read(start) {
                    self.parts.pipeline.distrust();
                    self.sync(true);
                    let now = self.now();
                    self.next.read(now, now.saturating_duration_since(start));
                }
            }
            Err(error) => self.failed(&SyncError::from(error)),
        }
    }

    /// Makes the kernel enforce what is known. `restoring`: nothing else
    /// changed, so what there is to do was done by others.
    fn sync(&mut self, restoring: bool) {
        let start = self.now();
        let pipeline = &mut self.parts.pipeline;
        let mut result = pipeline.sync(self.cluster.snapshot());
        if let Err(failure) = &result
            && must_be_built_again(&failure.error)
        {
            self.parts.metrics.replacements.inc();
            // Until it is done, the stand-in is beside ours.
            self.is_only_table = false;
            let problem = format!("{}; building the table again", failure.error);
            self.parts.status.fails(Condition::Enforced, problem);
            self.partly_committed(&failure);
            result = self.parts.pipeline.replace(self.cluster.snapshot());
        }
        self.parts.metrics.proved(&self.parts.pipeline.proofs());
        match result {
            Ok(outcome) => self.succeeded(start, restoring, &outcome),
            Err(failure) => {
                self.partly_committed(&failure);
                self.failed(&failure.error);
            }
        }
    }

    fn succeeded(&mut self, start: Instant, restoring: bool, outcome: &Outcome) {
        let now = self.now();
        let took = now.saturating_duration_since(start);
        if let Some(came) = self.next.succeeded(now) {
            let delay = now.saturating_duration_since(came).as_secs_f64();
            self.parts.metrics.event_to_kernel_seconds.observe(delay);
        }
        let restored = outcome.restored || restoring && outcome.batches > 0;
        // What happened before the first attempt, nobody here knows, nor what
        // others had done before the table was found as it was.
        let is_first = !std::mem::replace(&mut self.enforced, true);
        if restored {
            self.next.repaired(now);
            self.parts.metrics.repairs.inc();
            tracing::warn!(
                "others changed table inet nftpol; restored in {} ms ({} operations)",
                took.as_millis(),
                outcome.operations
            );
        }
        self.parts.metrics.synced(took, outcome, self.cluster.snapshot());
        if is_first {
            tracing::info!(
                "enforcing: table inet nftpol holds what the policies say ({} operations)",
                outcome.operations
            );
            report::foreign(&outcome.foreign);
        }
        if !self.is_only_table {
            self.remove_other_tables();
        }
        let before = outcome.before.clone().filter(|_| !is_first && !restored);
        if let Some(flow_cleanup) = &self.parts.flow_cleanup {
            flow_cleanup.changed(before, Arc::clone(&outcome.after));
        }
        self.tell(&outcome.diagnostics, &outcome.set_aside);
    }

    /// An attempt failed, perhaps after some of its batches: what they did has
    /// the same consequences as if it had succeeded.
    fn partly_committed(&mut self, failure: &SyncFailed) {
        if let Some(committed) = &failure.committed {
            self.parts.metrics.committed(committed.batches, committed.operations);
            let before = committed.before.clone().filter(|_| self.enforced);
            if let Some(flow_cleanup) = &self.parts.flow_cleanup {
                flow_cleanup.changed(before, Arc::clone(&committed.after));
            }
        }
        self.tell(&failure.diagnostics, &failure.set_aside);
    }

    fn failed(&mut self, error: &SyncError) {
        let now = self.now();
        self.parts.metrics.syncs.get_or_create(&[("result", "failed")]).inc();
        self.parts.status.fails(Condition::Enforced, error.to_string());
        match error {
            SyncError::RebuildDidNotHelp(_) => self.next.failed_for_long(now),
            _ => self.next.failed(now),
        }
    }

    fn tell(&mut self, diagnostics: &[policy::Diagnostic], set_aside: &BTreeSet<ObjectKey>) {
        let Parts { pipeline, problems, metrics, .. } = &self.parts;
        let isolates = |policy: &ObjectKey| pipeline.isolates(policy);
        let found = Found { diagnostics, set_aside };
        self.findings.tell(&self.cluster, found, isolates, problems, metrics);
    }

    /// Says whether the kernel enforces, unless the last attempt failed and
    /// said why not.
    fn report_readiness(&self) {
        let status = &self.parts.status;
        if !self.enforced || !self.next.is_well() {
            return;
        }
        match self.next.is_fight(self.now()) {
            true => status.fails(
                Condition::Enforced,
                "others change table inet nftpol again and again; it is restored each time, with \
                 growing pauses between (`nft monitor` shows what they do)",
            ),
            false => status.holds(Condition::Enforced),
        }
    }

    /// Once ours enforces, no other table of ours is needed.
    fn remove_other_tables(&mut self) {
        match other_tables::remove(self.parts.pipeline.sink()) {
            Ok(removed) => {
                self.is_only_table = true;
                for table in removed {
                    tracing::info!("removed table inet {table} of another version");
                }
            }
            // Both enforce: what one of them denies is denied.
            Err(error) => {
                tracing::warn!("a table of another version stays until the next change: {error}");
            }
        }
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        let node = self.parts.node.as_str();
        let pods = self.cluster.snapshot().pods.values();
        pods.filter(|pod| pod.is_subject() && pod.node.as_deref() == Some(node))
            .flat_map(|pod| pod.addresses.iter().copied())
            .collect()
    }

    fn now(&self) -> Instant {
        self.parts.clock.now()
    }
}

/// Whether a table that cannot become ours step by step can still be built
/// again: also one that cannot be read.
fn must_be_built_again(error: &SyncError) -> bool {
    matches!(
        error,
        SyncError::Plan { .. }
            | SyncError::InTheWay { .. }
            | SyncError::KeepsRefusing(_)
            | SyncError::Read(ReadError::KeepsChanging(_))
    )
}
