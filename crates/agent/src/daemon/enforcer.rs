//! The loop that enforces.
//!
//! In: messages of the watches, time. Out: a kernel that enforces what the
//! cluster says, as soon as every kind is known; readiness and metrics.
//! Never: a wait for the API server; a change to the kernel before the view
//! is complete.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use agent::cluster_state::ClusterState;
use agent::conntrack_cleanup::ConntrackCleanup;
use agent::pipeline::{Check, Outcome, Pipeline, SyncError};
use nft::{Kernel, ReadError};
use policy::ObjectKey;
use tokio::sync::watch;
use watcher::Kind;
use watcher::api::Event;

use super::announce::Problems;
use super::findings::Findings;
use super::metrics::Metrics;
use super::remote::Message;
use super::status::{Condition, Status};
use super::surroundings::Surroundings;
use crate::{report, tables};

/// How often to look whether others changed the ruleset.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The first event is acted on at once; those that follow within this time of
/// it, together.
const COALESCE: Duration = Duration::from_millis(3);
/// After a failure; twice as long after each more, until
const FIRST_RETRY: Duration = Duration::from_millis(20);
/// this.
const LAST_RETRY: Duration = Duration::from_secs(1);
/// Commits of others are all over the place on a node with kube-proxy. Of the
/// time, at most one part in so many goes into reading our table after them.
const READ_SHARE: u32 = 20;

/// The loop and what it works with.
pub struct Enforcer {
    /// From the watches.
    pub messages: Receiver<Message>,
    /// The way to the kernel.
    pub pipeline: Pipeline<Kernel>,
    /// For live connections; `None` without conntrack.
    pub connections: Option<ConntrackCleanup>,
    /// For Events.
    pub problems: watch::Sender<Problems>,
    /// For the probes.
    pub status: Status,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// The node whose pods are local.
    pub node: String,
    /// For everybody.
    pub state: State,
}

/// What the loop remembers.
#[derive(Debug, Default)]
pub struct State {
    cluster: ClusterState,
    surroundings: Surroundings,
    findings: Findings,
    /// When the oldest event came that the kernel does not show yet.
    pending: Option<Instant>,
    /// When the last attempt ended.
    ended: Option<Instant>,
    /// The last attempt failed: when to try again.
    retry: Option<Instant>,
    /// How long the last wait before a retry was.
    pause: Duration,
    /// When the table may be read again after commits of others.
    may_read: Option<Instant>,
    /// Whether the table was ours once.
    enforced: bool,
    /// Whether there is no table of ours beside ours, such as one of another
    /// version.
    sole: bool,
}

impl Enforcer {
    /// Runs until asked to stop; the rules stay.
    pub fn run(mut self) {
        loop {
            self.status.beat();
            match self.messages.recv_timeout(self.patience()) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Event(came, event)) => self.take(came, event),
                Err(RecvTimeoutError::Timeout) => {}
            }
            while let Ok(message) = self.messages.try_recv() {
                match message {
                    Message::Stop => return,
                    Message::Event(came, event) => self.take(came, event),
                }
            }
            self.work();
        }
    }

    /// How long to wait for the next event.
    fn patience(&self) -> Duration {
        let state = &self.state;
        match (state.retry, state.pending, state.ended) {
            (Some(when), ..) => LOOK_EVERY.min(when.saturating_duration_since(Instant::now())),
            (None, Some(_), Some(ended)) => COALESCE.saturating_sub(ended.elapsed()),
            _ => LOOK_EVERY,
        }
    }

    fn take(&mut self, came: Instant, event: Event) {
        if self.state.cluster.take(event) {
            self.state.pending.get_or_insert(came);
        }
    }

    fn work(&mut self) {
        let missing = self.state.cluster.missing();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.into_iter().map(Kind::name).collect();
            let problem = format!("waiting for the API server to list {}", names.join(", "));
            return self.status.fails(Condition::Listed, problem);
        }
        self.status.holds(Condition::Listed);
        if self.state.surroundings.is_due() {
            let pods = self.local_addresses();
            self.state.surroundings.look(self.pipeline.sink(), &pods, &self.status);
            if let Some(connections) = &mut self.connections {
                connections.revive();
                self.metrics.cut(&connections.counters());
            }
        }
        if self.is_due() {
            self.sync(false);
        }
        if self.state.pending.is_none() && self.state.retry.is_none() {
            self.guard();
        }
    }

    /// Whether the cluster's state is to be brought to the kernel now.
    fn is_due(&self) -> bool {
        let state = &self.state;
        match state.retry {
            Some(when) => Instant::now() >= when,
            None => {
                let coalesced = state.ended.is_none_or(|ended| ended.elapsed() >= COALESCE);
                state.pending.is_some() && coalesced
            }
        }
    }

    /// Looks whether the table is still what it was, and restores it.
    fn guard(&mut self) {
        match self.pipeline.check() {
            Ok(Check::Current) => {}
            Ok(Check::Due) => self.sync(false),
            Ok(Check::Touched) => self.sync(true),
            Ok(Check::Moved) => {
                if self.state.may_read.is_none_or(|when| Instant::now() >= when) {
                    let start = Instant::now();
                    self.pipeline.distrust();
                    self.sync(true);
                    self.state.may_read = Some(Instant::now() + start.elapsed() * READ_SHARE);
                }
            }
            Err(error) => self.failed(&error.into()),
        }
    }

    /// Makes the kernel enforce what is known. `restoring`: nothing else
    /// changed, so what there is to do was done by others.
    fn sync(&mut self, restoring: bool) {
        let start = Instant::now();
        let changed = self.state.cluster.changed();
        let snapshot = self.state.cluster.snapshot();
        let result = match self.pipeline.sync_changed(snapshot, &changed) {
            // The last: what cannot be read can still be built anew.
            Err(
                SyncError::Plan { .. }
                | SyncError::InTheWay { .. }
                | SyncError::Read(ReadError::KeepsChanging(_)),
            ) => {
                self.metrics.replacements.inc();
                // Until it is done, the stand-in is beside ours.
                self.state.sole = false;
                self.pipeline.replace(snapshot)
            }
            result => result,
        };
        self.state.ended = Some(Instant::now());
        self.metrics.proved(&self.pipeline.proofs());
        match result {
            Ok(outcome) => self.succeeded(start, restoring, &outcome),
            Err(error) => self.failed(&error),
        }
    }

    fn succeeded(&mut self, start: Instant, restoring: bool, outcome: &Outcome) {
        let metrics = &self.metrics;
        let pending = self.state.pending.take();
        if let Some(came) = pending {
            metrics.event_to_kernel_seconds.observe(came.elapsed().as_secs_f64());
        }
        let restored = outcome.restored || restoring && outcome.batches > 0;
        if restored {
            metrics.repairs.inc();
            tracing::warn!(
                "others changed table inet nftpol; restored in {} ms ({} operations)",
                start.elapsed().as_millis(),
                outcome.operations
            );
        }
        metrics.synced(start.elapsed(), outcome, self.state.cluster.snapshot());
        self.state.retry = None;
        self.state.pause = Duration::ZERO;
        // What happened before the first attempt, nobody here knows, nor what
        // others had done before the table was found as it was.
        let is_first = !std::mem::replace(&mut self.state.enforced, true);
        let is_known = !(is_first || restored);
        let before = outcome.before.clone().filter(|_| is_known);
        if is_first {
            tracing::info!(
                "enforcing: table inet nftpol holds what the policies say ({} operations)",
                outcome.operations
            );
            report::foreign(&outcome.foreign);
        }
        if !self.state.sole {
            self.remove_others();
        }
        self.status.holds(Condition::Enforced);
        if let Some(connections) = &self.connections {
            connections.changed(before, Arc::clone(&outcome.after));
        }
        let State { cluster, findings, .. } = &mut self.state;
        let isolates = |policy: &ObjectKey| self.pipeline.isolates(policy);
        findings.tell(cluster, outcome, isolates, &self.problems, &self.metrics);
    }

    /// Once ours enforces, no other table of ours is needed.
    fn remove_others(&mut self) {
        match tables::remove_others(self.pipeline.sink()) {
            Ok(removed) => {
                self.state.sole = true;
                for table in removed {
                    tracing::info!("removed table inet {table} of another version");
                }
            }
            // Both enforce: what one of them denies is denied.
            Err(error) => {
                tracing::warn!("a table of another version stays until the next change: {error:#}");
            }
        }
    }

    fn failed(&mut self, error: &SyncError) {
        self.metrics.syncs.get_or_create(&[("result", "failed")]).inc();
        self.status.fails(Condition::Enforced, error.to_string());
        let state = &mut self.state;
        state.pause = (state.pause * 2).clamp(FIRST_RETRY, LAST_RETRY);
        state.retry = Some(Instant::now() + state.pause);
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        let pods = self.state.cluster.snapshot().pods.values();
        pods.filter(|pod| pod.is_subject() && pod.node.as_deref() == Some(self.node.as_str()))
            .flat_map(|pod| pod.addresses.iter().copied())
            .collect()
    }
}
