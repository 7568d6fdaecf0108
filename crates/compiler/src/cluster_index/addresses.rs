//! The owner of each address, kept up to date while pods come and go.
//!
//! In: pods that count, one by one. Out: the owner of an address, the same that
//! [`policy::Owners`] finds among all of them. The order of events is irrelevant.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use policy::{Pod, takes_precedence};

/// Every address that a pod reports.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    owners: HashMap<IpAddr, Arc<Pod>>,
    /// The pods that report an address and do not own it.
    others: BTreeMap<IpAddr, Vec<Arc<Pod>>>,
}

impl Addresses {
    pub fn owner(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.owners.get(&address)
    }

    /// All pods that report an address, in no order.
    pub fn reporters(&self, address: IpAddr) -> impl Iterator<Item = &Arc<Pod>> {
        let others = self.others.get(&address).into_iter().flatten();
        self.owners.get(&address).into_iter().chain(others)
    }

    /// The addresses that several pods report.
    pub fn shared(&self) -> impl Iterator<Item = IpAddr> {
        self.others.keys().copied()
    }

    pub fn add(&mut self, pod: &Arc<Pod>) {
        for &address in &pod.addresses {
            let other = match self.owners.get_mut(&address) {
                None => {
                    self.owners.insert(address, Arc::clone(pod));
                    continue;
                }
                Some(owner) if takes_precedence(pod, owner) => {
                    std::mem::replace(owner, Arc::clone(pod))
                }
                Some(_) => Arc::clone(pod),
            };
            self.others.entry(address).or_default().push(other);
        }
    }

    pub fn remove(&mut self, pod: &Pod) {
        for address in &pod.addresses {
            let mut others = self.others.remove(address).unwrap_or_default();
            if self.owners.get(address).is_some_and(|owner| owner.key == pod.key) {
                let newest = (0..others.len()).reduce(|best, next| {
                    if takes_precedence(&others[next], &others[best]) { next } else { best }
                });
                match newest {
                    Some(newest) => {
                        self.owners.insert(*address, others.swap_remove(newest));
                    }
                    None => drop(self.owners.remove(address)),
                }
            } else {
                others.retain(|other| other.key != pod.key);
            }
            if !others.is_empty() {
                self.others.insert(*address, others);
            }
        }
    }
}
