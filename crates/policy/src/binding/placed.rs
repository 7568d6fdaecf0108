//! Addresses whose interface the CNI plugin announced.
//!
//! In: what is announced, and is there; the pods. Out: the interface of each address.
//! Never: an address that the announced pod does not have now, or an interface that was
//! announced for another pod since.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::announced::is_same;
use crate::{InterfaceIndex, ObjectKey, Placement, Placements, Pod};

pub(super) fn addresses(
    placements: &Placements,
    pods: &[&Pod],
    reported: &BTreeMap<IpAddr, &ObjectKey>,
) -> BTreeMap<IpAddr, InterfaceIndex> {
    // The kernel does not reuse numbers, but who makes an interface may ask for one.
    let latest: BTreeMap<InterfaceIndex, &Placement> = placements.there().collect();
    if latest.is_empty() {
        return BTreeMap::new();
    }
    let mut by_key: BTreeMap<&ObjectKey, Vec<&Pod>> = BTreeMap::new();
    for pod in pods {
        by_key.entry(&pod.key).or_default().push(pod);
    }
    let is_its = |place: &Placement, address: &IpAddr| {
        let mut pods = by_key.get(&place.pod).into_iter().flatten();
        reported.get(address).is_some_and(|key| **key == place.pod)
            && pods.any(|pod| pod.addresses.contains(address) && is_same(place.uid, pod))
    };
    let all = latest.into_iter().flat_map(|(index, place)| {
        let own = place.addresses.iter().filter(move |address| is_its(place, address));
        own.map(move |address| (*address, index)).collect::<Vec<_>>()
    });
    all.collect()
}
