//! Addresses that pods have before their objects report them.
//!
//! In: what the node's CNI plugin announces, the objects, what the node's interfaces are
//! bound to, the time. Out: the pods with the addresses that they have, the addresses
//! of pods that no object tells of, and which interface leads to each. Never: an
//! announcement that outlives its pod's own word, its interface, or DEL; an object of an
//! earlier pod of the same name that speaks for the announced one.
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
//! | an object of P's name and another uid is here | it is not P's. It has X no more, and X is isolated as above |
//!
//! | it ends with | |
//! |---|---|
//! | P's own report | see above |
//! | DEL of its attachment, or GC without it | |
//! | another announcement of the same address | one address is given to one pod |
//! | the interface that was bound to it | if DEL is lost |
//! | [`UNKNOWN_KEPT_FOR`] without P's object, where no interface was ever bound | the same |
//!
//! The uid tells P from a pod that had its name before. Where the plugin or the object has
//! none, the name does. So it does for the mirror of a static pod, whose uid in the API is
//! not the kubelet's. [`places`] keeps which interface leads to a pod. That lasts longer.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use crate::{Kept, KeptFor, NodeNetwork, ObjectKey, Pod, PodUid, UNKNOWN_KEPT_FOR};
use places::Places;
pub use places::{HostInterface, Placement, Placements};

/// One interface of a sandbox: what the plugin tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachmentKey {
    /// The sandbox.
    pub container: String,
    /// The name of the interface in it.
    pub interface: String,
}

/// What the plugin says of an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Whose it is.
    pub pod: ObjectKey,
    /// The pod's uid as the kubelet has it. [`PodUid::default`] if it is not told.
    pub uid: PodUid,
    /// What it got.
    pub addresses: BTreeSet<IpAddr>,
    /// The interfaces of the node that were made for it: one of them leads to the pod.
    pub interfaces: Vec<HostInterface>,
}

/// What is announced, from one look at the objects to the next.
#[derive(Clone, Debug, Default)]
pub struct Announcements {
    node: String,
    all: BTreeMap<AttachmentKey, Announced>,
    places: Places,
    /// The objects of the last look.
    objects: OrdMap<ObjectKey, Arc<Pod>>,
    /// The local pods that report each address.
    reported: BTreeMap<IpAddr, BTreeSet<ObjectKey>>,
}

#[derive(Clone, Debug)]
struct Announced {
    pod: ObjectKey,
    uid: PodUid,
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
    pub fn announce(&mut self, attachment: AttachmentKey, announcement: Announcement) {
        self.places.announce(&attachment, &announcement);
        let Announcement { pod, uid, addresses, interfaces: _ } = announcement;
        for (other, announced) in &mut self.all {
            let is_older = announced.pod == pod && other.interface == attachment.interface;
            announced.addresses.retain(|address| !is_older && !addresses.contains(address));
        }
        self.all.retain(|_, announced| !announced.addresses.is_empty());
        let announced = Announced { pod, uid, addresses, was_bound: false, missing: None };
        self.all.insert(attachment, announced);
        self.supersede();
    }

    /// An attachment ended. Whether something of it was known.
    pub fn withdraw(&mut self, attachment: &AttachmentKey) -> bool {
        let was_placed = self.places.withdraw(attachment);
        self.all.remove(attachment).is_some() || was_placed
    }

    /// These are all attachments. Whether something of others was known.
    pub fn keep_only(&mut self, attachments: &BTreeSet<AttachmentKey>) -> bool {
        let before = self.all.len();
        self.all.retain(|attachment, _| attachments.contains(attachment));
        let were_placed = self.places.keep_only(attachments);
        self.all.len() != before || were_placed
    }

    /// Which interface leads to which pod.
    pub fn placements(&self) -> Vec<Placement> {
        self.places.all()
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
        self.places.look(&self.objects, now);
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
            if pod.is_some_and(|pod| announced.is_of(pod) && is_subject_of(node, pod)) {
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
                let reporters = self.reported.get(address).into_iter().flatten();
                for key in reporters.filter(|key| !self.is_announced(announced, key)) {
                    change(pods, key, |pod| pod.addresses.retain(|one| one != address));
                }
            }
        }
        let mut own: BTreeMap<&ObjectKey, BTreeSet<IpAddr>> = BTreeMap::new();
        for announced in self.all.values().filter(|one| self.is_announced(one, &one.pod)) {
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
            !pod.is_some_and(|pod| announced.is_of(pod) && is_subject_of(&self.node, pod))
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

    /// Whether the object with this key is the announced pod's.
    fn is_announced(&self, announced: &Announced, key: &ObjectKey) -> bool {
        announced.pod == *key && self.objects.get(key).is_some_and(|pod| announced.is_of(pod))
    }

    /// Ends what the pods' own objects say, and they alone.
    fn supersede(&mut self) {
        let (reported, objects) = (&self.reported, &self.objects);
        self.all.retain(|_, announced| {
            let pod = &announced.pod;
            let is_here = objects.get(pod).is_some_and(|object| announced.is_of(object));
            let says = |address: &IpAddr| {
                reported.get(address).is_some_and(|keys| keys.len() == 1 && keys.contains(pod))
            };
            !(is_here && announced.addresses.iter().all(says))
        });
    }
}

impl Announced {
    /// Whether an object of its name is its own.
    fn is_of(&self, object: &Pod) -> bool {
        is_same(self.uid, object)
    }
}

/// Whether an object of the right name is of the pod with this uid.
pub(crate) fn is_same(uid: PodUid, object: &Pod) -> bool {
    let own = object.attachment.uid;
    let is_told = uid != PodUid::default() && own != PodUid::default();
    !is_told || object.attachment.is_mirror || uid == own
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
