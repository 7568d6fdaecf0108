//! What the loop works with, and what it needs of each part.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ruleset::Ruleset;
use tokio::sync::watch;

use super::Inbox;
use crate::clock::Clock;
use crate::conntrack_cleanup::{ConntrackCleanup, Counters};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::problems::Problems;
use crate::status::Status;

/// What a loop works with.
pub struct Parts<S> {
    /// From the watches.
    pub inbox: Box<dyn Inbox>,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The way to the kernel.
    pub pipeline: Pipeline<S>,
    /// For live connections; `None` without conntrack.
    pub flow_cleanup: Option<Box<dyn FlowCleanup>>,
    /// Looks around on the node from time to time.
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

/// Looks for things on the node that hide packets from the rules or break them.
pub trait Surroundings<S> {
    /// Looks, and updates the status.
    fn look(&mut self, now: Instant, kernel: &mut S, local_pods: &[IpAddr], status: &Status);
}
