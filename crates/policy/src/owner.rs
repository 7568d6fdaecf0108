//! Who has an address.
//!
//! Two live pods can report one address for a while: the CNI gave it to a new
//! pod before the API heard of the old one's end. The newer pod has it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Pod;

/// Every pod address of a cluster and the pod that has it.
#[derive(Clone, Debug, Default)]
pub struct Owners<'a> {
    by_address: BTreeMap<IpAddr, &'a Pod>,
}

/// Whether `one` has an address that `other` reports too: the one created
/// later; for equal times the greater key, so that the answer is the same in
/// whatever order events came.
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

    /// The pod that has this address.
    pub fn owner(&self, address: IpAddr) -> Option<&'a Pod> {
        self.by_address.get(&address).copied()
    }

    /// The addresses of a pod that are its own.
    pub fn addresses_of(&self, pod: &'a Pod) -> impl Iterator<Item = IpAddr> {
        pod.addresses
            .iter()
            .copied()
            .filter(|&address| self.owner(address).is_some_and(|owner| owner.key == pod.key))
    }
}
