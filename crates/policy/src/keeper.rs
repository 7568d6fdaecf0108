//! Which addresses stay isolated although no object reports them any more.
//!
//! In: the objects before and after each event, what the node's interfaces are bound to,
//! the time. Out: what [`Snapshot::kept`] holds, and policies. Never: an address of a hostNetwork pod,
//! or of a pod of another node.
//!
//! A pod that is deleted by force, or by garbage collection, loses its object at once and
//! runs on until the kubelet has ended it (kubernetes/kubernetes#110507). The same holds
//! for a pod whose phase is set to Failed for a node that does not answer, and for an
//! address that goes from the status of a living pod.
//!
//! | an address is kept from | until |
//! |---|---|
//! | no local pod reports it any more | a local pod reports it, or what follows |
//! | and an interface was bound to it | no interface is: it is gone |
//! | and no interface ever was | a younger pod of any node reports it, or the pod's `terminationGracePeriodSeconds` and [`UNKNOWN_KEPT_FOR`] are over |
//! | the kernel's table isolates it at the agent's start, and no local pod reports it | the same |
//!
//! A kubelet that is slow or dead ends no pod. So time counts only where nothing else
//! tells whether the pod runs.

mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use crate::{
    BoundPort, InterfaceIndex, Kept, KeptFor, NetworkPolicy, NodeNetwork, ObjectKey, Pod, Snapshot,
    takes_precedence,
};

/// How long an address is kept after its pod's grace period where its interface is not
/// known. It covers a kubelet that starts again, and a container runtime that does.
pub const UNKNOWN_KEPT_FOR: Duration = Duration::from_secs(600);

/// How much later than a policy's deletion that of its Namespace may be told.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Finds what is kept, from one snapshot to the next.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    node: String,
    /// The local pods that report each address.
    reported: BTreeMap<IpAddr, BTreeMap<ObjectKey, Arc<Pod>>>,
    kept: OrdMap<IpAddr, Arc<Kept>>,
    /// Since when each address is kept, from the first look after that.
    since: BTreeMap<IpAddr, Duration>,
    /// Addresses, reported or kept, that an interface was bound to.
    were_bound: BTreeSet<IpAddr>,
    /// What interfaces are bound to, as of the last look; `None` before the first.
    bound: Option<Bound>,
    /// The objects, as of the last event.
    objects: Snapshot,
    /// The policies that are kept.
    policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    /// Policies that were deleted lately while a local pod of their namespace was there,
    /// each with the first look after that.
    deleted: BTreeMap<ObjectKey, (Arc<NetworkPolicy>, Option<Duration>)>,
}

/// An address of a pod.
type Part<'a> = (&'a Arc<Pod>, IpAddr);

#[derive(Clone, Debug)]
struct Bound {
    ports: OrdMap<InterfaceIndex, BoundPort>,
    addresses: BTreeSet<IpAddr>,
}

impl Keeper {
    /// Of a node.
    pub fn of(node: impl Into<String>) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// What is kept, by address.
    pub fn kept(&self) -> &OrdMap<IpAddr, Arc<Kept>> {
        &self.kept
    }

    /// The policies that are kept.
    pub fn policies(&self) -> &OrdMap<ObjectKey, Arc<NetworkPolicy>> {
        &self.policies
    }

    /// The pods that are kept, each with the addresses that are. They are to be bound to
    /// their interfaces like others.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        let mut all: BTreeMap<(&ObjectKey, i64), Vec<Part<'_>>> = BTreeMap::new();
        for (address, kept) in &self.kept {
            let of_pod = all.entry((&kept.pod.key, kept.pod.created)).or_default();
            of_pod.push((&kept.pod, *address));
        }
        let pods = all.values().filter_map(|of_pod| {
            let (pod, _) = of_pod.first()?;
            let addresses: Vec<IpAddr> = of_pod.iter().map(|(_, address)| *address).collect();
            Some(match addresses == pod.addresses {
                true => Arc::clone(pod),
                false => Arc::new(Pod { addresses, ..Pod::clone(pod) }),
            })
        });
        pods.collect()
    }

    /// Objects changed. Whether something else is kept now.
    pub fn follow(&mut self, before: &Snapshot, after: &Snapshot) -> bool {
        let differing = before.diff(after);
        let before_pods = &before.pods;
        self.objects = after.clone();
        let mut gone: BTreeMap<IpAddr, Arc<Pod>> = BTreeMap::new();
        let mut come = Vec::new();
        for key in &differing.pods {
            if let Some(pod) = before_pods.get(key).filter(|pod| self.is_ours(pod)) {
                for address in &pod.addresses {
                    self.remove_report(*address, key);
                    let last = gone.entry(*address).or_insert_with(|| Arc::clone(pod));
                    if speaks_before(pod, last) {
                        *last = Arc::clone(pod);
                    }
                }
            }
            come.extend(after.pods.get(key).filter(|pod| pod.is_subject()));
        }
        let (kept, policies) = (self.kept.clone(), self.policies.clone());
        for pod in come {
            for address in &pod.addresses {
                self.takes_over(pod, *address);
            }
        }
        for (address, pod) in gone {
            if !self.reported.contains_key(&address) && !self.is_interface_gone(address) {
                let kept = Kept { pod, why: KeptFor::Running };
                self.kept.insert(address, Arc::new(kept));
            }
        }
        self.follow_policies(before, &differing);
        self.kept != kept || self.policies != policies
    }

    /// At the agent's start: the kernel's tables isolate these addresses, and bind this.
    /// Whether something else is kept now.
    pub fn begin(&mut self, isolated: &BTreeSet<IpAddr>, bound: &NodeNetwork) -> bool {
        let ports = || bound.ports.values();
        self.were_bound.extend(ports().flat_map(|port| port.addresses.iter().copied()));
        let is_unknown = |address: &IpAddr| {
            !self.reported.contains_key(address) && !self.kept.contains_key(address)
        };
        let mut left: BTreeSet<IpAddr> = isolated.iter().copied().filter(is_unknown).collect();
        let is_news = !left.is_empty();
        // What one interface has is one pod's.
        let of_ports = ports().map(|port| port.addresses.intersection(&left).copied().collect());
        let mut groups: Vec<Vec<IpAddr>> = of_ports.collect();
        for address in groups.iter().flatten() {
            left.remove(address);
        }
        groups.extend(left.into_iter().map(|address| vec![address]));
        for addresses in groups {
            if let Some(kept) = Kept::of_restart(&addresses).map(Arc::new) {
                self.kept.extend(addresses.iter().map(|address| (*address, Arc::clone(&kept))));
            }
        }
        self.begin_policies(isolated) || is_news
    }

    /// A pod's object cannot be read and never could. These are its addresses, as far as
    /// they were found. It counts if it is of this node, or may be. Whether something else
    /// is kept now.
    pub fn unreadable(&mut self, pod: &Arc<Pod>) -> bool {
        let may_be_ours = pod.node.as_deref().is_none_or(|node| node == self.node);
        let mut is_news = false;
        for address in pod.addresses.iter().filter(|_| may_be_ours && !pod.host_network) {
            if !self.reported.contains_key(address) {
                let kept = Kept { pod: Arc::clone(pod), why: KeptFor::Unreadable };
                is_news |= self.kept.get(address).is_none_or(|known| **known != kept);
                self.kept.insert(*address, Arc::new(kept));
            }
        }
        is_news
    }

    /// A pod's object can be read. If its addresses never count on this node, what was kept
    /// of it for want of a readable object is not kept any longer, unless an interface of the
    /// node has the address. Whether anything was.
    pub fn readable(&mut self, pod: &Pod) -> bool {
        if pod.is_on(Some(&self.node)) && !pod.host_network {
            return false;
        }
        let is_its = |kept: &Kept| kept.why == KeptFor::Unreadable && kept.pod.key == pod.key;
        let its = self.kept.iter().filter(|(_, kept)| is_its(kept));
        let its = its.map(|(address, _)| *address);
        let its: Vec<IpAddr> = its.filter(|address| !self.were_bound.contains(address)).collect();
        for address in &its {
            self.forget(*address);
        }
        !its.is_empty()
    }

    /// What the node's interfaces are bound to, if that is known. The pods that are kept
    /// are among those that were to be bound. Whether something else is kept now.
    pub fn look(&mut self, network: Option<&NodeNetwork>, now: Duration) -> bool {
        if let Some(network) = network {
            self.see(network);
        }
        let ended: Vec<IpAddr> =
            self.kept.keys().copied().filter(|address| self.has_ended(*address, now)).collect();
        for address in &ended {
            self.forget(*address);
        }
        let kept = &self.kept;
        self.since.retain(|address, _| kept.contains_key(address));
        for address in kept.keys() {
            self.since.entry(*address).or_insert(now);
        }
        self.deleted
            .retain(|_, (_, since)| now.saturating_sub(*since.get_or_insert(now)) < REMEMBERED_FOR);
        if !ended.is_empty() {
            self.forget_policies();
        }
        !ended.is_empty()
    }

    /// Whether a pod counts on this node.
    fn is_ours(&self, pod: &Pod) -> bool {
        pod.is_subject() && pod.is_on(Some(&self.node))
    }

    fn remove_report(&mut self, address: IpAddr, key: &ObjectKey) {
        if let Some(pods) = self.reported.get_mut(&address) {
            pods.remove(key);
            if pods.is_empty() {
                self.reported.remove(&address);
            }
        }
    }

    /// A pod reports an address.
    fn takes_over(&mut self, pod: &Arc<Pod>, address: IpAddr) {
        if self.is_ours(pod) {
            let pods = self.reported.entry(address).or_default();
            pods.insert(pod.key.clone(), Arc::clone(pod));
            self.forget(address);
            return;
        }
        let is_younger = self.kept.get(&address).is_some_and(|kept| pod.created > kept.pod.created);
        if is_younger && !self.were_bound.contains(&address) {
            self.forget(address);
        }
    }

    fn forget(&mut self, address: IpAddr) {
        self.kept.remove(&address);
        self.since.remove(&address);
    }

    fn is_interface_gone(&self, address: IpAddr) -> bool {
        let bound = self.bound.as_ref().map(|bound| &bound.addresses);
        self.were_bound.contains(&address) && bound.is_some_and(|bound| !bound.contains(&address))
    }

    fn has_ended(&self, address: IpAddr, now: Duration) -> bool {
        if self.were_bound.contains(&address) {
            return self.is_interface_gone(address);
        }
        let (Some(since), Some(kept)) = (self.since.get(&address), self.kept.get(&address)) else {
            return false;
        };
        let grace = Duration::from_secs(kept.pod.grace_seconds.into());
        now.saturating_sub(*since) >= grace + UNKNOWN_KEPT_FOR
    }

    fn see(&mut self, network: &NodeNetwork) {
        if !self.bound.as_ref().is_some_and(|bound| bound.ports.ptr_eq(&network.ports)) {
            let addresses = network.ports.values().flat_map(|port| port.addresses.iter().copied());
            let addresses = addresses.collect();
            self.bound = Some(Bound { ports: network.ports.clone(), addresses });
        }
        let Some(bound) = &self.bound else { return };
        let (reported, kept) = (&self.reported, &self.kept);
        let counts =
            |address: &IpAddr| reported.contains_key(address) || kept.contains_key(address);
        self.were_bound.retain(counts);
        self.were_bound.extend(bound.addresses.iter().copied().filter(counts));
    }
}

/// Which of two pods that reported an address is kept.
fn speaks_before(one: &Pod, other: &Pod) -> bool {
    match (one.is_ending, other.is_ending) {
        (false, true) => true,
        (true, false) => false,
        (false, false) | (true, true) => takes_precedence(one, other),
    }
}

#[cfg(test)]
mod tests;
