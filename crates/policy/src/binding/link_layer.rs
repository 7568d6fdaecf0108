//! The MAC and the link-local addresses of each pod's port.
//!
//! In: the view, and which interfaces are pods'. Out: the MAC of each, which no
//! other on its bridge has, and its link-local addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::addresses::Held;
use super::{LINK_LOCAL_ADDRESSES, View, is_link_local};
use crate::{InterfaceIndex, Mac, SeenPort};

/// The MACs of ports.
#[derive(Default)]
pub(super) struct Macs {
    /// The port's MAC.
    pub bound: BTreeMap<InterfaceIndex, Mac>,
    /// Who has a MAC on a bridge; `None`: the bridge.
    pub holders: BTreeMap<(InterfaceIndex, Mac), Option<InterfaceIndex>>,
}

/// Gives each pod's port its MAC: the one that it was bound with, else the present
/// one. A port that lives keeps the MAC that it was bound with, also while its pod
/// is not known. The others choose by age, and those with a copy have no choice: a
/// port of the bridge that has the MAC was seen with it first, perhaps a pod's that
/// is not known yet.
pub(super) fn macs(view: &View<'_>, held: &Held<'_>) -> Macs {
    let mut macs = Macs::default();
    for bridge in view.bridges.values() {
        macs.holders.insert((bridge.index, bridge.mac), None);
    }
    for port in view.ports.values() {
        if let (Some(bridge), Some(mac)) = (port.bridge, former(view, port)) {
            macs.holders.entry((bridge, mac)).or_insert(Some(port.index));
        }
    }
    let originals = originals(view);
    // Whose MAC a port copied.
    let original = |port: &SeenPort| {
        let original = *originals.get(&(port.bridge?, port.mac))?;
        (first(view, port) != Some(port.mac)).then_some(original)
    };
    let ports = held.pods.keys().filter_map(|index| view.ports.get(index).copied());
    let (own, copies): (Vec<_>, Vec<_>) = ports.partition(|port| original(port).is_none());
    for port in own.into_iter().chain(copies) {
        let mac = match port.bridge {
            Some(bridge) => macs.on_bridge(bridge, port, former(view, port), original(port)),
            None => port.mac,
        };
        macs.bound.insert(port.index, mac);
    }
    macs
}

/// The oldest port of a bridge that has a MAC and had it when it was first seen.
fn originals(view: &View<'_>) -> BTreeMap<(InterfaceIndex, Mac), InterfaceIndex> {
    let mut originals = BTreeMap::new();
    let ports = view.ports.values().filter(|port| first(view, port) == Some(port.mac));
    for (port, bridge) in ports.filter_map(|port| Some((port, port.bridge?))) {
        originals.entry((bridge, port.mac)).or_insert(port.index);
    }
    originals
}

/// The MAC that a port had when it was first seen.
pub(super) fn first(view: &View<'_>, port: &SeenPort) -> Option<Mac> {
    let before = view.claim(port.index).and_then(|claim| claim.first_mac);
    before.or(Some(port.mac).filter(|mac| *mac != Mac::NONE))
}

impl Macs {
    fn on_bridge(
        &mut self,
        bridge: InterfaceIndex,
        port: &SeenPort,
        former: Option<Mac>,
        original: Option<InterfaceIndex>,
    ) -> Mac {
        if original.is_some() {
            self.holders.entry((bridge, port.mac)).or_insert(original);
        }
        let mut wanted = former.into_iter().chain([port.mac]).filter(|mac| *mac != Mac::NONE);
        let own = Some(port.index);
        let free = wanted
            .find(|mac| self.holders.get(&(bridge, *mac)).is_none_or(|holder| *holder == own));
        if let Some(mac) = free {
            self.holders.insert((bridge, mac), own);
        }
        free.unwrap_or(Mac::NONE)
    }
}

/// The MAC that a port was bound with.
pub(super) fn former(view: &View<'_>, port: &SeenPort) -> Option<Mac> {
    view.claim(port.index)?.mac.filter(|mac| *mac != Mac::NONE)
}

/// The link-local addresses of each bound port.
///
/// The one that the kernel makes from the MAC is its own, even before it is there.
/// For others: who was bound to it before, then who has had it the longest. On a bridge
/// with other ports there are none: behind these are hosts that nobody lists, routers
/// among them, and a pod could take the address of one.
pub(super) fn link_local(
    view: &View<'_>,
    macs: &BTreeMap<InterfaceIndex, Mac>,
) -> BTreeMap<InterfaceIndex, BTreeSet<IpAddr>> {
    let mut own: BTreeMap<InterfaceIndex, BTreeSet<IpAddr>> = BTreeMap::new();
    // On a bridge an address is one port's. A routed port is a link of its own.
    let link = |port: &SeenPort| port.bridge.unwrap_or(port.index);
    let mut taken: BTreeSet<(InterfaceIndex, IpAddr)> = BTreeSet::new();
    for bridge in view.bridges.values() {
        let from_mac = link_local_of(bridge.mac);
        let addresses = bridge.addresses.iter().copied().chain([from_mac]);
        taken.extend(addresses.map(|address| (bridge.index, address)));
    }
    let bound = || macs.iter().filter_map(|(index, mac)| Some((*view.ports.get(index)?, *mac)));
    for (port, mac) in bound().filter(|(_, mac)| *mac != Mac::NONE) {
        let address = link_local_of(mac);
        if taken.insert((link(port), address)) {
            own.entry(port.index).or_default().insert(address);
        }
    }
    let mut others: Vec<(bool, u64, &SeenPort, IpAddr)> = Vec::new();
    let has_strangers = |port: &SeenPort| {
        let bridge = port.bridge.and_then(|index| view.bridges.get(&index));
        bridge.is_some_and(|bridge| bridge.has_other_ports)
    };
    for (port, _) in bound().filter(|(port, _)| !has_strangers(port)) {
        let before = view.claim(port.index).map(|claim| &claim.addresses);
        let addresses = port.addresses.iter().filter(|one| is_link_local(one.address));
        others.extend(addresses.map(|one| {
            let was_bound = before.is_some_and(|before| before.contains(&one.address));
            (!was_bound, one.created, port, one.address)
        }));
    }
    others.sort_unstable_by_key(|(is_new, created, port, address)| {
        (*is_new, *created, port.index, *address)
    });
    for (_, _, port, address) in others {
        let own = own.entry(port.index).or_default();
        if own.len() <= LINK_LOCAL_ADDRESSES && taken.insert((link(port), address)) {
            own.insert(address);
        }
    }
    own
}

/// The link-local address that the kernel makes from a MAC: `fe80::/64` and the
/// modified EUI-64 (RFC 4291, 2.5.1 and appendix A; `addr_gen_mode` 0, the
/// default).
pub(super) fn link_local_of(mac: Mac) -> IpAddr {
    let [a, b, c, d, e, f] = mac.0;
    let high = u16::from_be_bytes([a ^ 2, b]);
    let low = u16::from_be_bytes([e, f]);
    let middle = [u16::from_be_bytes([c, 0xff]), u16::from_be_bytes([0xfe, d])];
    Ipv6Addr::new(0xfe80, 0, 0, 0, high, middle[0], middle[1], low).into()
}
