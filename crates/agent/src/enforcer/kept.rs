//! Addresses that stay isolated although no object reports them any more.
//!
//! In: the cluster with what is kept, the node's interfaces, the time. Out: log lines and
//! gauges; what is kept no longer. Never: an end that nobody saw. See [`policy::Keeper`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::{Kept, KeptFor, NetworkPolicy, ObjectKey, Snapshot};

use super::Enforcer;
use crate::Sink;
use crate::metrics::Metrics;

/// A pod that ends as it should can lose its object a moment before its interface.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// What was kept at the last look.
#[derive(Debug, Default)]
pub(super) struct KeptReport {
    kept: OrdMap<IpAddr, Arc<Kept>>,
    policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    /// Since when each address is kept that was not logged yet.
    fresh: BTreeMap<IpAddr, Instant>,
    is_counted: bool,
}

impl KeptReport {
    /// Whether something else is kept than at the last call.
    pub fn follow(&mut self, snapshot: &Snapshot, now: Instant) -> bool {
        if self.kept.ptr_eq(&snapshot.kept) {
            return false;
        }
        let before = std::mem::replace(&mut self.kept, snapshot.kept.clone());
        let mut has_changed = false;
        for change in before.diff(&self.kept) {
            has_changed = true;
            match change {
                DiffItem::Add(address, _) | DiffItem::Update { new: (address, _), .. } => {
                    self.fresh.insert(*address, now);
                }
                DiffItem::Remove(address, kept) => {
                    if self.fresh.remove(address).is_none() {
                        tracing::info!("{address} of {} is not kept any longer", kept.name());
                    }
                }
            }
        }
        self.is_counted &= !has_changed;
        has_changed
    }

    /// Logs what is kept for a while.
    pub fn tell(&mut self, now: Instant) {
        let is_due = |since: &mut Instant| now.saturating_duration_since(*since) >= TOLD_AFTER;
        for (address, _) in self.fresh.extract_if(.., |_, since| is_due(since)) {
            if let Some(kept) = self.kept.get(&address) {
                told(address, kept);
            }
        }
    }

    /// Logs which policies are kept now, and which are not any longer.
    pub fn follow_policies(&mut self, policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>) {
        if self.policies.ptr_eq(&policies) {
            return;
        }
        let before = std::mem::replace(&mut self.policies, policies);
        for key in self.policies.keys().filter(|key| !before.contains_key(*key)) {
            tracing::info!(
                "policy {key} is kept: its Namespace ends, and pods of it are still here"
            );
        }
        for key in before.keys().filter(|key| !self.policies.contains_key(*key)) {
            tracing::info!("policy {key} is not kept any longer");
        }
        self.is_counted = false;
    }

    /// Sets the gauges if they changed.
    pub fn count(&mut self, metrics: &Metrics) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        for why in KeptFor::ALL {
            let count = self.kept.values().filter(|kept| kept.why == why).count();
            metrics.kept_addresses.get_or_create(&[("reason", why.name())]).set(count as i64);
        }
        metrics.kept_policies.set(self.policies.len() as i64);
    }
}

fn told(address: IpAddr, kept: &Kept) {
    let effect = match kept.is_shut() {
        true => "nothing is allowed from or to it",
        false => "its policies stay in force",
    };
    let until = "until its interface is gone or another pod of this node reports it";
    tracing::info!("{address} of {} is kept: {}; {effect} {until}", kept.name(), kept.why);
}

impl<S: Sink> Enforcer<S> {
    /// Ends what is kept of pods whose interfaces are gone.
    pub(super) fn forget_kept(&mut self, now: Instant) {
        let network = self.parts.interfaces.network();
        let is_news = self.cluster.look(network, now.saturating_duration_since(self.started));
        if is_news {
            self.kept.follow(self.cluster.snapshot(), now);
            self.bind_pods();
            self.next.event(now);
        }
        self.kept.follow_policies(self.cluster.kept_policies());
        self.kept.tell(now);
        self.kept.count(&self.parts.metrics);
    }
}
