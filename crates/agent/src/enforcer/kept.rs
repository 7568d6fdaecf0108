//! Addresses that stay isolated although no object reports them any more.
//!
//! In: the cluster with what is kept, the node's interfaces, the time. Out: log lines and
//! gauges; what is kept no longer. Never: an end that nobody saw. See [`policy::Keeper`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::{Kept, KeptFor, NetworkPolicy, ObjectKey, Snapshot};

use super::Enforcer;
use crate::Sink;
use crate::metrics::Metrics;

/// What was kept at the last look.
#[derive(Debug, Default)]
pub(super) struct KeptReport {
    kept: OrdMap<IpAddr, Arc<Kept>>,
    policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    is_told: bool,
}

impl KeptReport {
    /// Whether something else is kept than at the last call. Logs it.
    pub fn follow(&mut self, snapshot: &Snapshot) -> bool {
        if self.kept.ptr_eq(&snapshot.kept) {
            return false;
        }
        let before = std::mem::replace(&mut self.kept, snapshot.kept.clone());
        let mut has_changed = false;
        for change in before.diff(&self.kept) {
            has_changed = true;
            match change {
                DiffItem::Add(address, kept) | DiffItem::Update { new: (address, kept), .. } => {
                    told(*address, kept);
                }
                DiffItem::Remove(address, kept) => {
                    tracing::info!("{address} of {} is not kept any longer", kept.name());
                }
            }
        }
        self.is_told &= !has_changed;
        has_changed
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
        self.is_told = false;
    }

    /// Sets the gauges if they changed.
    pub fn count(&mut self, metrics: &Metrics) {
        if std::mem::replace(&mut self.is_told, true) {
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
            self.kept.follow(self.cluster.snapshot());
            self.bind_pods();
            self.next.event(now);
        }
        self.kept.follow_policies(self.cluster.kept_policies());
        self.kept.count(&self.parts.metrics);
    }
}
