//! Addresses that pods have before their objects report them.
//!
//! In: what the node's CNI plugin announces, the objects, what the node's interfaces are
//! bound to, the time. Out: the pods with the addresses that they have, and the addresses
//! of pods that no object tells of. Never: an announcement that outlives its pod's own
//! word, its interface, or DEL.
//!
//! A pod has its address from ADD on, before any of its containers runs. Its object was
//! there before its sandbox, and reports the address a moment later. In between the
//! announcement speaks for the object ([`Announcements::apply`]): the result is what the
//! specification, the compiler and the proof get as [`Snapshot::pods`](crate::Snapshot).
//!
//! | an announcement of address X for pod P | effect |
//! |---|---|
//! | P's object is here and reports X | none: it ends, unless another pod of the node reports X, too |
//! | P's object is here and reports nothing, or others | P has the announced addresses, and no others |
//! | another pod of this node reports X | it has X no more: the plugin has just given X to P |
//! | P's object is not here yet, or ended, or is another node's | X is isolated, and nothing is allowed |
//!
//! | it ends with | |
//! |---|---|
//! | P's own report | see above |
//! | DEL of its attachment, or GC without it | |
//! | another announcement of the same address | one address is given to one pod |
//! | the interface that was bound to it | if DEL is lost |
//! | [`UNKNOWN_KEPT_FOR`] without P's object, where no interface was ever bound | the same |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Kept, KeptFor, NodeNetwork, ObjectKey, Pod, UNKNOWN_KEPT_FOR};

/// One interface of a sandbox: what the plugin tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachmentKey {
    /// The sandbox.
    pub container: String,
    /// The name of the interface in it.
    pub interface: String,
}

/// What is announced, from one look at the objects to the next.
#[derive(Clone, Debug, Default)]
pub struct Announcements {
    node: String,
    all: BTreeMap<AttachmentKey, Announced>,
    /// The objects of the last look.
    objects: OrdMap<ObjectKey, Arc<Pod>>,
    /// The local pods that report each address.
    reported: BTreeMap<IpAddr, BTreeSet<ObjectKey>>,
}

#[derive(Clone, Debug)]
struct Announced {
    pod: ObjectKey,
    addresses: BTreeSet<IpAddr>,
    was_bound: bool,
    /// Since when the pod's object is missing.
    missing: Option<Duration>,
}

impl Announcements {
    /// Of a node.
    pub fn of(node: impl Into<String>) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// The plugin has given these addresses to a pod.
    pub fn announce(
        &mut self,
        attachment: AttachmentKey,
        pod: ObjectKey,
        addresses: BTreeSet<IpAddr>,
    ) {
        for (other, announced) in &mut self.all {
            let is_older = announced.pod == pod && other.interface == attachment.interface;
            announced.addresses.retain(|address| !is_older && !addresses.contains(address));
        }
        self.all.retain(|_, announced| !announced.addresses.is_empty());
        let announced = Announced { pod, addresses, was_bound: false, missing: None };
        self.all.insert(attachment, announced);
        self.supersede();
    }

    /// An attachment ended. Whether it was announced.
    pub fn withdraw(&mut self, attachment: &AttachmentKey) -> bool {
        self.all.remove(attachment).is_some()
    }

    /// These are all attachments. Whether others were announced.
    pub fn keep_only(&mut self, attachments: &BTreeSet<AttachmentKey>) -> bool {
        let before = self.all.len();
        self.all.retain(|attachment, _| attachments.contains(attachment));
        self.all.len() != before
    }

    /// Goes on to these objects, at the cost of what changed.
    pub fn follow(&mut self, objects: &OrdMap<ObjectKey, Arc<Pod>>) {
        if self.objects.ptr_eq(objects) {
            return;
        }
        let before = std::mem::replace(&mut self.objects, objects.clone());
        for change in before.diff(objects) {
            let (old, new) = match change {
                DiffItem::Add(_, new) => (None, Some(new)),
                DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
                DiffItem::Remove(_, old) => (Some(old), None),
            };
            if let Some(pod) = old.filter(|pod| is_subject_of(&self.node, pod)) {
                self.forget_report(pod);
            }
            if let Some(pod) = new.filter(|pod| is_subject_of(&self.node, pod)) {
                for address in &pod.addresses {
                    self.reported.entry(*address).or_default().insert(pod.key.clone());
                }
            }
        }
        self.supersede();
    }

    /// What the node's interfaces are bound to, if it is known. Whether an announcement
    /// ended.
    pub fn look(&mut self, network: Option<&NodeNetwork>, now: Duration) -> bool {
        if self.all.is_empty() {
            return false;
        }
        let before = self.all.len();
        let bound: Option<BTreeSet<IpAddr>> = network.map(|network| {
            network.ports.values().flat_map(|port| port.addresses.iter().copied()).collect()
        });
        let (node, objects) = (&self.node, &self.objects);
        self.all.retain(|_, announced| {
            if let Some(bound) = &bound {
                let is_bound = announced.addresses.iter().any(|one| bound.contains(one));
                if announced.was_bound && !is_bound {
                    return false;
                }
                announced.was_bound |= is_bound;
            }
            let pod = objects.get(&announced.pod);
            if pod.is_some_and(|pod| is_subject_of(node, pod)) {
                announced.missing = None;
                return true;
            }
            let since = *announced.missing.get_or_insert(now);
            announced.was_bound || now.saturating_sub(since) < UNKNOWN_KEPT_FOR
        });
        self.all.len() != before
    }

    /// Gives the pods the addresses that they have.
    pub fn apply(&self, pods: &mut OrdMap<ObjectKey, Arc<Pod>>) {
        for announced in self.all.values() {
            for address in &announced.addresses {
                let others = self.reported.get(address).into_iter().flatten();
                for key in others.filter(|key| **key != announced.pod) {
                    change(pods, key, |pod| pod.addresses.retain(|one| one != address));
                }
            }
        }
        let mut own: BTreeMap<&ObjectKey, BTreeSet<IpAddr>> = BTreeMap::new();
        for announced in self.all.values() {
            own.entry(&announced.pod).or_default().extend(&announced.addresses);
        }
        for (key, addresses) in own {
            if pods.get(key).is_some_and(|pod| is_subject_of(&self.node, pod)) {
                change(pods, key, |pod| pod.addresses = addresses.into_iter().collect());
            }
        }
    }

    /// The addresses that no pod's object speaks for: nothing is allowed there.
    pub fn shut(&self) -> Vec<(IpAddr, Arc<Kept>)> {
        let is_shut = |announced: &&Announced| {
            let pod = self.objects.get(&announced.pod);
            !pod.is_some_and(|pod| is_subject_of(&self.node, pod))
        };
        let shut = self.all.values().filter(is_shut).flat_map(|announced| {
            let addresses = announced.addresses.iter().copied().collect();
            let pod = Arc::new(Kept::stand_in(announced.pod.clone(), addresses));
            let kept = Arc::new(Kept { pod, why: KeptFor::Announced });
            announced.addresses.iter().map(move |address| (*address, Arc::clone(&kept)))
        });
        shut.collect()
    }

    fn forget_report(&mut self, pod: &Pod) {
        for address in &pod.addresses {
            if let Some(keys) = self.reported.get_mut(address) {
                keys.remove(&pod.key);
                if keys.is_empty() {
                    self.reported.remove(address);
                }
            }
        }
    }

    /// Ends what the pods' own objects say, and they alone.
    fn supersede(&mut self) {
        let reported = &self.reported;
        self.all.retain(|_, Announced { pod, addresses, .. }| {
            let says = |address: &IpAddr| {
                reported.get(address).is_some_and(|keys| keys.len() == 1 && keys.contains(pod))
            };
            !addresses.iter().all(says)
        });
    }
}

/// Whether a pod's addresses count on a node.
fn is_subject_of(node: &str, pod: &Pod) -> bool {
    pod.is_subject() && pod.is_on(Some(node))
}

fn change(pods: &mut OrdMap<ObjectKey, Arc<Pod>>, key: &ObjectKey, change: impl FnOnce(&mut Pod)) {
    let Some(pod) = pods.get(key) else { return };
    let mut changed = Pod::clone(pod);
    change(&mut changed);
    pods.insert(key.clone(), Arc::new(changed));
}

#[cfg(test)]
mod tests;
