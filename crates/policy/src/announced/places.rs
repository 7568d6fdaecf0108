//! Which interface of the node leads to which pod, as the CNI plugin says.
//!
//! In: what is announced, what ended, the objects, looks at the node's interfaces. Out:
//! for each address the one interface that it is bound to before anything that a pod
//! could have written is asked ([`crate::resolve_placed`]). Never: an interface that came
//! after the announced one was gone, though it has its number and its name.
//!
//! The plugin is called by the runtime, as root, before the pod runs. The interfaces are
//! those that the plugins before it say they made on the node. A bridge is among them:
//! only one that leads into another network namespace counts, and only if it is the only
//! one.
//!
//! | it counts | |
//! |---|---|
//! | from the first look on that shows the interface, by number and name | another one can have got the number |
//! | until a look does not show it, or shows it leading into another namespace | DEL can be lost |
//! | while the announced pod's object, or the announcement, is what reports the address | a pod without ADD can have got the address |
//! | until DEL or GC, or until the address or the interface is announced again | |

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use super::{Announcement, AttachmentKey, is_same};
use crate::{
    InterfaceIndex, NetworkNamespace, ObjectKey, Pod, PodUid, Seen, SeenPort, UNKNOWN_KEPT_FOR,
};

/// An interface of the node, at the time of ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Its number.
    pub index: InterfaceIndex,
    /// Its name.
    pub name: String,
}

/// The interface of a pod, as announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Tells it from all other announcements.
    pub number: u64,
    /// Whose it is.
    pub pod: ObjectKey,
    /// The pod's uid, or none.
    pub uid: PodUid,
    /// The addresses that it leads to.
    pub addresses: BTreeSet<IpAddr>,
    /// One of these.
    pub interfaces: Vec<HostInterface>,
}

/// Which interface leads to which pod, as the plugin said.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    all: BTreeMap<AttachmentKey, Placement>,
    /// Since when the pods of some have no object.
    missing: BTreeMap<AttachmentKey, Duration>,
    last: u64,
}

impl Places {
    pub fn announce(&mut self, attachment: &AttachmentKey, said: &Announcement) {
        for (other, place) in &mut self.all {
            let is_older = place.pod == said.pod && other.interface == attachment.interface;
            place.addresses.retain(|address| !is_older && !said.addresses.contains(address));
        }
        self.all.remove(attachment);
        self.all.retain(|_, place| !place.addresses.is_empty());
        if said.interfaces.is_empty() || said.addresses.is_empty() {
            return;
        }
        self.last += 1;
        let place = Placement {
            number: self.last,
            pod: said.pod.clone(),
            uid: said.uid,
            addresses: said.addresses.clone(),
            interfaces: said.interfaces.clone(),
        };
        self.all.insert(attachment.clone(), place);
    }

    /// Whether there was one.
    pub fn withdraw(&mut self, attachment: &AttachmentKey) -> bool {
        self.all.remove(attachment).is_some()
    }

    /// Whether there were others.
    pub fn keep_only(&mut self, attachments: &BTreeSet<AttachmentKey>) -> bool {
        let before = self.all.len();
        self.all.retain(|attachment, _| attachments.contains(attachment));
        self.all.len() != before
    }

    /// The latest comes last.
    pub fn all(&self) -> Vec<Placement> {
        let mut all: Vec<Placement> = self.all.values().cloned().collect();
        all.sort_unstable_by_key(|place| place.number);
        all
    }

    /// Forgets those of pods that have no object for long: their DEL was lost.
    pub fn look(&mut self, objects: &OrdMap<ObjectKey, Arc<Pod>>, now: Duration) {
        if self.all.is_empty() {
            self.missing.clear();
            return;
        }
        let missing = &mut self.missing;
        missing.retain(|attachment, _| self.all.contains_key(attachment));
        self.all.retain(|attachment, place| {
            if objects.get(&place.pod).is_some_and(|pod| is_same(place.uid, pod)) {
                missing.remove(attachment);
                return true;
            }
            let since = *missing.entry(attachment.clone()).or_insert(now);
            now.saturating_sub(since) < UNKNOWN_KEPT_FOR
        });
    }
}

/// What is announced of interfaces, from one look at them to the next.
#[derive(Clone, Debug, Default)]
pub struct Placements {
    all: Vec<Placement>,
    /// The interface of each that was seen, and where it led.
    seen: BTreeMap<u64, (InterfaceIndex, NetworkNamespace)>,
    /// Those whose interface went.
    over: BTreeSet<u64>,
}

impl Placements {
    /// These are all that hold.
    pub fn set(&mut self, all: Vec<Placement>) {
        let numbers: BTreeSet<u64> = all.iter().map(|place| place.number).collect();
        self.seen.retain(|number, _| numbers.contains(number));
        self.over.retain(|number| numbers.contains(number));
        self.all = all;
    }

    /// The node's interfaces are these.
    pub fn look(&mut self, seen: &Seen) {
        let ports: BTreeMap<InterfaceIndex, &SeenPort> =
            seen.ports.iter().map(|port| (port.index, port)).collect();
        for place in &self.all {
            let mut found = place.interfaces.iter().filter_map(|interface| {
                let port = ports.get(&interface.index)?;
                (port.name == interface.name).then_some((port.index, port.namespace))
            });
            let now = match (found.next(), found.next()) {
                (only, None) => only,
                (_, Some(_)) => None,
            };
            match (self.seen.get(&place.number), now) {
                (None, Some(now)) => drop(self.seen.insert(place.number, now)),
                (Some(before), now) if now != Some(*before) => {
                    self.over.insert(place.number);
                }
                (None, None) | (Some(_), _) => {}
            }
        }
    }

    /// Those whose interface is there, each with it. The latest comes last.
    pub(crate) fn there(&self) -> impl Iterator<Item = (InterfaceIndex, &Placement)> {
        self.all.iter().filter_map(|place| {
            let (index, _) = self.seen.get(&place.number)?;
            (!self.over.contains(&place.number)).then_some((*index, place))
        })
    }
}

#[cfg(test)]
mod tests;
