//! What the loop works with, and what it needs of each part.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use imbl::OrdSet;
use policy::{BindingFinding, Claims, NodeNetwork, Placement, Pod, PodRange};
use ruleset::Ruleset;
use tokio::sync::watch;

use super::{CniQuestion, Inbox};
use crate::binding_options::BindingOptions;
use crate::boot_file::BootFile;
use crate::clock::Clock;
use crate::conntrack_cleanup::{ConntrackCleanup, Counters};
use crate::metrics::Metrics;
use crate::node_ranges::NodeRanges;
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
    /// Which interface of the node is which pod's.
    pub interfaces: Box<dyn Interfaces>,
    /// The operator's word on that.
    pub binding: BindingOptions,
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
    /// What is needed when the node starts again; `None` if it is not kept.
    pub boot_file: Option<BootFile>,
    /// What the CNI plugin asks; `None` if nothing can come.
    pub cni: Option<Receiver<CniQuestion>>,
}

/// Ends connections that a change denies.
pub trait FlowCleanup {
    /// See [`ConntrackCleanup::changed`].
    fn changed(&self, before: Option<Arc<Ruleset>>, after: Arc<Ruleset>);

    /// See [`ConntrackCleanup::bound`].
    fn bound(&self, addresses: BTreeSet<IpAddr>);

    /// See [`ConntrackCleanup::is_alive`].
    fn is_alive(&self) -> bool;

    /// See [`ConntrackCleanup::counters`].
    fn counters(&self) -> Counters;
}

impl FlowCleanup for ConntrackCleanup {
    fn changed(&self, before: Option<Arc<Ruleset>>, after: Arc<Ruleset>) {
        Self::changed(self, before, after);
    }

    fn bound(&self, addresses: BTreeSet<IpAddr>) {
        Self::bound(self, addresses);
    }

    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }
}

/// Knows which interface of the node is which pod's.
pub trait Interfaces {
    /// Begins with what an earlier agent knew: who had what, and where pods had their
    /// addresses.
    fn remember(&mut self, claims: Claims, pod_ranges: OrdSet<PodRange>);

    /// These pods are to be bound.
    fn pods(&mut self, pods: Vec<Arc<Pod>>);

    /// The CNI plugin says that these interfaces lead to these pods.
    fn place(&mut self, placements: Vec<Placement>);

    /// Whether anything can be bound to an interface here.
    fn binds(&self) -> bool {
        self.lacks().is_none()
    }

    /// Takes what is seen of the node's interfaces now. Costs little where nothing
    /// changed.
    ///
    /// # Errors
    /// They cannot be listed: why. What was seen before stays.
    fn look(&mut self) -> Result<(), String>;

    /// As of the last look that succeeded; `None` before the first.
    fn network(&self) -> Option<&NodeNetwork>;

    /// Why this kernel cannot bind addresses to interfaces; `None` if it can.
    fn lacks(&self) -> Option<String>;

    /// What the Node object says of where its pods have their addresses; `None` if it is not
    /// asked.
    fn node_ranges(&self) -> Option<&NodeRanges> {
        None
    }

    /// What is wrong, as of that look.
    fn findings(&self) -> &[BindingFinding];

    /// Whether it still looks.
    fn is_alive(&self) -> bool;
}

/// Looks for things on the node that hide packets from the rules or break them.
pub trait Surroundings<S> {
    /// Looks, and updates the status.
    fn look(&mut self, now: Instant, kernel: &mut S, local_pods: &[IpAddr], status: &Status);

    /// Others changed a table, and it was restored: who, as far as that is known. The first
    /// time nobody is.
    fn changed_by(&mut self, _now: Instant, _kernel: &mut S) -> Option<String> {
        None
    }
}
