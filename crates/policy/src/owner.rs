//! Which pod owns an address.
//!
//! Two live pods can report one address for a while: the CNI plugin gave it to a
//! new pod before the API server learnt of the old one's end. The newer pod owns
//! it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Pod;

/// Every pod address of a cluster and the pod that owns it.
#[derive(Clone, Debug, Default)]
pub struct Owners<'a> {
    by_address: BTreeMap<IpAddr, &'a Pod>,
}

/// Whether `one` owns an address that `other` reports too. The pod created later
/// owns it. For equal times it is the one with the greater key, so that the order
/// of events does not matter.
pub fn takes_precedence(one: &Pod, other: &Pod) -> bool {
    one.created.cmp(&other.created).then_with(|| one.key.cmp(&other.key)) == Ordering::Greater
}

impl<'a> Owners<'a> {
    /// The owners among these pods. hostNetwork and ended pods own nothing.
    pub fn of(pods: impl IntoIterator<Item = &'a Pod>) -> Self {
        let mut by_address: BTreeMap<IpAddr, &'a Pod> = BTreeMap::new();
        for pod in pods.into_iter().filter(|pod| pod.is_subject()) {
            for &address in &pod.addresses {
                by_address
                    .entry(address)
                    .and_modify(|owner| {
                        if takes_precedence(pod, owner) {
                            *owner = pod;
                        }
                    })
                    .or_insert(pod);
            }
        }
        Self { by_address }
    }

    /// The pod that owns this address.
    pub fn owner(&self, address: IpAddr) -> Option<&'a Pod> {
        self.by_address.get(&address).copied()
    }

    /// The addresses that a pod reports and owns.
    pub fn addresses_of(&self, pod: &'a Pod) -> impl Iterator<Item = IpAddr> {
        pod.addresses
            .iter()
            .copied()
            .filter(|&address| self.owner(address).is_some_and(|owner| owner.key == pod.key))
    }
}
