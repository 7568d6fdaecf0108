//! Which interface of this network namespace is which pod's.
//!
//! In: looks at the links, the pods to bind, what the CNI plugin says of interfaces, who had
//! what before. Out: the network
//! as it is to be bound. Never: a wait for the kernel, but in
//! [`NodeInterfaces::look_now`].

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdSet;
use nft::links::LinksError;
use policy::{BindingFinding, Claims, NodeNetwork, Placement, Pod, PodRange};
use tokio::sync::watch;

use crate::enforcer::Interfaces;
use crate::node_network::{Binder, Given, Look, NodeView, NodeWatcher, look_once};
use crate::node_ranges::NodeRanges;

/// Ports that are named in the log at most.
const NAMED: usize = 50;

/// The interfaces of this network namespace.
pub struct NodeInterfaces {
    /// `None`: only [`Self::look_now`] looks.
    view: Option<Box<dyn NodeView>>,
    given: Given,
    binder: Binder,
    /// Of another thread; and what it said last.
    node: Option<(watch::Receiver<NodeRanges>, NodeRanges)>,
    pods: Vec<Arc<Pod>>,
    /// The look that `binder` concluded from, and whether the pods have changed
    /// since.
    look: Option<Arc<Look>>,
    is_stale: bool,
    /// Ports that were named in the log.
    named: BTreeSet<String>,
}

impl NodeInterfaces {
    /// Nothing is looked at yet. `given`: what the operator says of tunnels.
    pub fn new(given: Given) -> Self {
        Self {
            view: None,
            binder: Binder::new(given.clone(), Claims::default()),
            given,
            node: None,
            pods: Vec::new(),
            look: None,
            is_stale: false,
            named: BTreeSet::new(),
        }
    }

    /// Looks whenever something may have changed. Nobody is woken: who works with
    /// this asks often.
    ///
    /// # Errors
    /// The kernel gives no sockets, or the system no thread.
    pub fn watch(&mut self) -> io::Result<()> {
        self.view = Some(Box::new(NodeWatcher::start(|| ())?));
        self.want();
        Ok(())
    }

    /// The ranges of the node's pods are also those that the Node object says.
    #[must_use]
    pub fn with_node_ranges(mut self, ranges: watch::Receiver<NodeRanges>) -> Self {
        self.node = Some((ranges, NodeRanges::default()));
        self.tell_binder();
        self
    }

    /// Takes what this shows.
    #[must_use]
    pub fn with_view(mut self, view: Box<dyn NodeView>) -> Self {
        self.view = Some(view);
        self
    }

    /// Looks at once.
    ///
    /// # Errors
    /// The links cannot be read.
    pub fn look_now(&mut self) -> Result<(), LinksError> {
        let wanted: BTreeSet<IpAddr> =
            self.pods.iter().flat_map(|pod| pod.addresses.iter().copied()).collect();
        let look = look_once(&wanted)?;
        self.conclude(Arc::new(look));
        Ok(())
    }

    fn want(&self) {
        if let Some(view) = &self.view {
            let addresses = |pod: &Arc<Pod>| pod.addresses.iter().copied().collect();
            view.want(self.pods.iter().map(addresses).collect());
        }
    }

    /// The Node object, as it was read last.
    fn read_node(&mut self) {
        // Once the other thread is gone, the process ends.
        let Some((ranges, last)) = &mut self.node else { return };
        if ranges.has_changed().unwrap_or(false) {
            last.clone_from(&ranges.borrow_and_update());
            self.tell_binder();
        }
    }

    fn tell_binder(&mut self) {
        if let Some((_, last)) = &self.node {
            self.binder.node_says(last.clone());
            self.is_stale = true;
        }
    }

    fn conclude(&mut self, look: Arc<Look>) {
        self.binder.update(&look.seen, self.pods.iter().map(|pod| &**pod));
        self.is_stale = false;
        let crowded = look.crowded.iter().map(|(port, more)| {
            let why = format!("has too many addresses: {more} of them are ignored");
            (port, why)
        });
        let unreadable = look.unreadable.iter().map(|port| {
            (port, "cannot be read, so its pod is not bound: is it of another machine?".to_owned())
        });
        for (port, why) in crowded.chain(unreadable) {
            if self.named.len() < NAMED && self.named.insert(port.clone()) {
                tracing::warn!("what is at the other end of interface {port} {why}");
            }
        }
        self.look = Some(look);
    }
}

impl Interfaces for NodeInterfaces {
    fn remember(&mut self, claims: Claims, pod_ranges: OrdSet<PodRange>) {
        self.binder = Binder::new(self.given.clone(), claims);
        self.binder.remember(pod_ranges);
        self.tell_binder();
        self.is_stale = true;
    }

    fn pods(&mut self, pods: Vec<Arc<Pod>>) {
        self.pods = pods;
        self.is_stale = true;
        self.want();
    }

    fn place(&mut self, placements: Vec<Placement>) {
        self.binder.place(placements);
        self.is_stale = true;
    }

    fn look(&mut self) -> Result<(), String> {
        self.read_node();
        let Some(view) = &self.view else { return Ok(()) };
        let problem = view.problem();
        match view.latest() {
            Some(look) => {
                let is_same = self.look.as_ref().is_some_and(|last| Arc::ptr_eq(last, &look));
                if !is_same || self.is_stale {
                    self.conclude(look);
                }
                problem.map_or(Ok(()), Err)
            }
            None => Err(problem.unwrap_or_else(|| "they were not looked at yet".to_owned())),
        }
    }

    fn network(&self) -> Option<&NodeNetwork> {
        self.look.as_ref().map(|_| self.binder.network())
    }

    fn lacks(&self) -> Option<String> {
        None
    }

    fn node_ranges(&self) -> Option<&NodeRanges> {
        self.node.as_ref().map(|(_, last)| last)
    }

    fn findings(&self) -> &[BindingFinding] {
        self.binder.findings()
    }

    fn is_alive(&self) -> bool {
        self.view.as_ref().is_none_or(|view| view.is_alive())
    }
}

#[cfg(test)]
mod tests;
