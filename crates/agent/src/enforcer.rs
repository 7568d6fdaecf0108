//! The loop that enforces.
//!
//! In: messages of the watches, time. Out: a kernel that enforces what the
//! cluster says, as soon as every kind is known; readiness and metrics.
//! Never: a wait for the API server; a change to the kernel before the view
//! is complete and a Pod of this node was seen.
//!
//! ```text
//!  inbox ──────▶ cluster_state ─┬─────────────┐
//!                               ▼             ├─▶ pipeline ─▶ kernel
//!  interfaces ─▶ binding ─▶ node's network ───┤      │
//!                                             │      ├─▶ conntrack_cleanup
//!  clock ──────▶ next ────────────────────────┘      ├─▶ findings ─▶ problems, gauges, log
//!                                                    └─▶ status, metrics
//! ```

mod audit_report;
mod binding;
mod binding_report;
mod findings;
mod inbox;
mod kept;
mod next;
mod parts;
mod plugin;
mod repairs;
mod sync;
mod tunnel_report;
mod unknown_report;
mod urgency;

pub use inbox::{Inbox, Message, Received};
pub use next::{COALESCE, FIRST_RETRY, LAST_RETRY, LOOK_EVERY, READ_SHARE};
pub use parts::{FlowCleanup, Interfaces, Parts, Surroundings};
pub use plugin::CniQuestion;
pub use repairs::{FIGHT, LONGEST_PAUSE, QUIET, REPAIR_SHARE, Repairs, SHORTEST_PAUSE};

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use policy::Mode;
use watcher::api::Event;
use watcher::{Kind, Known};

use crate::Sink;
use crate::cluster_state::ClusterState;
use crate::own_node::OwnNode;
use crate::pipeline::Check;
use crate::status::Condition;
use crate::view::View;
use audit_report::AuditReport;
use binding::Binding;
use findings::Findings;
use kept::KeptReport;
use next::{Next, Step};
use plugin::CniQuestions;

/// How often to look at the node around the table.
const SURROUNDINGS_EVERY: Duration = Duration::from_secs(2);

/// How long the lists of a healthy start take at most.
const STARTING: Duration = Duration::from_secs(10);

/// A thread ended that must not: the process has to be started again. The
/// rules stay in force.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the thread {0:?} died; the rules stay in force")]
pub struct ThreadDied(pub &'static str);

/// What others do in a fight.
const IN_A_FIGHT: &str = "a table of nftpol again and again";

/// The loop.
pub struct Enforcer<S> {
    parts: Parts<S>,
    cluster: ClusterState,
    own_node: OwnNode,
    binding: Binding,
    findings: Findings,
    started: Instant,
    kept: KeptReport,
    audits: AuditReport,
    next: Next,
    /// Messages that came while a change was under way.
    held: VecDeque<Message>,
    /// How long the syncs took that were interrupted since the last that succeeded.
    interrupted: Duration,
    looked_around: Option<Instant>,
    /// Whether a sync has succeeded since the start.
    enforced: bool,
    /// Whether there is no table of ours beside ours, such as one of another
    /// version.
    is_only_table: bool,
    /// Who changed a table last, where that is known.
    changed_by: Option<String>,
    /// For threads that answer questions.
    view: View,
    cni: CniQuestions,
}

/// Whether the loop continues.
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
    pub fn new(mut parts: Parts<S>) -> Self {
        let (own_node, binding) = (OwnNode::of(&parts.node), Binding::of(&parts.node));
        Self {
            cluster: ClusterState::default().keeping(&parts.node),
            own_node,
            binding,
            started: parts.clock.now(),
            kept: KeptReport::default(),
            audits: AuditReport::default(),
            findings: Findings::default(),
            next: Next::default(),
            held: VecDeque::new(),
            interrupted: Duration::ZERO,
            looked_around: None,
            enforced: false,
            is_only_table: false,
            changed_by: None,
            view: View::default(),
            cni: CniQuestions::of(parts.cni.take()),
            parts,
        }
    }

    /// Where nobody says whether policies are enforced, this holds.
    #[must_use]
    pub fn in_mode(mut self, mode: Mode) -> Self {
        self.cluster = std::mem::take(&mut self.cluster).in_mode(mode);
        self
    }

    /// The objects that the loop knows, now and later.
    pub fn known(&self) -> Known {
        self.cluster.known()
    }

    /// What others may look at, now and later.
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Runs until asked to stop; the rules stay.
    ///
    /// # Errors
    /// A thread died that this one works with.
    pub fn run(&mut self) -> Result<(), ThreadDied> {
        loop {
            self.parts.status.heartbeat();
            self.pass_time();
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
            let received = match self.held.pop_front() {
                Some(message) => Received::Message(message),
                None => self.parts.inbox.receive(wait),
            };
            match received {
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
        self.view.knows(self.cluster.snapshot());
    }

    fn work(&mut self) -> Result<(), ThreadDied> {
        self.answer_cni();
        let missing = self.cluster.missing();
        if !missing.is_empty() {
            let names: Vec<&str> = missing.into_iter().map(Kind::name).collect();
            let problem = format!("waiting for the API server to list {}", names.join(", "));
            let status = &self.parts.status;
            match self.now().saturating_duration_since(self.started) < STARTING {
                true => status.begins(Condition::Listed, problem),
                false => {
                    let seconds = STARTING.as_secs();
                    status.fails(Condition::Listed, format!("{problem} for more than {seconds} s"));
                }
            }
            return Ok(());
        }
        self.parts.status.holds(Condition::Listed);
        match self.cluster.unreadable() {
            None => self.parts.status.holds(Condition::Readable),
            Some(problem) => self.parts.status.fails(Condition::Readable, problem),
        }
        let is_known = self.look_at_interfaces()?;
        self.look_around()?;
        let now = self.now();
        let is_seen = self.own_node.is_seen(self.cluster.snapshot(), now, &self.parts.status);
        if !is_known || !is_seen {
            return Ok(());
        }
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
        let pods = self.binding.local_addresses();
        let Parts { surroundings, pipeline, status, metrics, flow_cleanup, .. } = &mut self.parts;
        surroundings.look(now, pipeline.sink(), &pods, status);
        if let Some(flow_cleanup) = flow_cleanup {
            metrics.connections(&flow_cleanup.counters());
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
                let restoring = self.next.is_idle();
                if self.next.touched(start) {
                    self.sync(restoring);
                }
            }
            Ok(Check::ReadWhenAffordable) => {
                // With events to act on, a sync follows anyway.
                if self.next.is_idle() && self.next.may_read(start) {
                    self.parts.pipeline.distrust();
                    self.sync(true);
                    let now = self.now();
                    self.next.read(now, now.saturating_duration_since(start));
                }
            }
            Err(error) => self.not_checked(&error),
        }
    }

    /// Updates the condition, unless the last attempt failed: then the reason
    /// stays.
    fn report_readiness(&self) {
        let status = &self.parts.status;
        if !self.enforced || !self.next.is_well() {
            return;
        }
        match self.next.is_fight(self.now()) {
            true => {
                // Once for each fight: the process has another number each time.
                let known = status.problem(Condition::Enforced);
                if known.is_some_and(|known| known.contains(IN_A_FIGHT)) {
                    return;
                }
                let who = self.changed_by.as_deref();
                let who = who.map_or("others change".to_owned(), |who| format!("{who} changes"));
                let problem = format!(
                    "{who} {IN_A_FIGHT}; what is changed is restored each time (`nft monitor` shows \
                     what is done)"
                );
                status.fails(Condition::Enforced, problem);
            }
            false => status.holds(Condition::Enforced),
        }
    }

    fn now(&self) -> Instant {
        self.parts.clock.now()
    }
}
