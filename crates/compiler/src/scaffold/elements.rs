//! The elements that a port, a bridge or a node has in the sets of both tables.
//!
//! In: one of them. Out: its elements. Two can have one in common.
//! Never: the state of a table.

use std::net::IpAddr;

use policy::{BoundBridge, BoundPort, InterfaceIndex, Mac};
use ruleset::{Element, Family, Key, Name, TableFamily};

use super::binding::{ends_set, guarded_set, own_set, owned_set, ports_set};
use super::bridge::{macs_set, owned_targets_set, speakers_set, targets_set};
use super::muted_set;
use super::tunnels::{nodes_set, openers_set, podside_set};

/// An element of a set, and of which table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed {
    /// The family of the table.
    pub table: TableFamily,
    /// The set.
    pub set: Name,
    /// The element.
    pub element: Element,
}

/// The elements of a bound port. `guarded`: whether its pod is isolated in a
/// direction.
pub fn of_port(index: InterfaceIndex, port: &BoundPort, guarded: bool) -> Vec<Placed> {
    let mut placed = packets_of(index, port, guarded);
    if port.bridge.is_some() {
        placed.extend(frames_of(index, port, guarded));
    }
    placed
}

/// The elements of a bridge with bound ports. Its own addresses are nobody's.
pub fn of_bridge(index: InterfaceIndex, bridge: &BoundBridge) -> Vec<Placed> {
    let podside = bridge.only_pods.then(|| inet(podside_set(), interface(index)));
    podside.into_iter().chain(bridge.addresses.iter().copied().flat_map(owned)).collect()
}

/// The element of a node's address.
pub fn of_node(address: IpAddr) -> Placed {
    inet(nodes_set(Family::of(address)), Element::Address(address))
}

/// In the `inet` table. The packets of a bridged pod come in by the bridge: no
/// address is its port's own. Its link-local address has no meaning beyond the bridge.
fn packets_of(index: InterfaceIndex, port: &BoundPort, guarded: bool) -> Vec<Placed> {
    let speaks_by = port.bridge.unwrap_or(index);
    let is_routed = port.bridge.is_none();
    let mut placed = Vec::new();
    for &address in &port.addresses {
        let (family, link_local) = (Family::of(address), is_link_local(address));
        if is_routed || !link_local {
            let key = Key { interface: Some(speaks_by.0), mac: None, address: Some(address) };
            placed.push(inet(own_set(family), Element::Key(key)));
        }
        if !link_local {
            placed.push(inet(owned_set(family), Element::Address(address)));
            placed.push(inet(openers_set(family), Element::Address(address)));
            placed.push(inet(ends_set(family), Element::AddressPair(address, address)));
        }
        if link_local && guarded {
            placed.push(inet(muted_set(), Element::Address(address)));
        }
    }
    let guarded = (is_routed && guarded).then(guarded_set);
    let sets = [Some(ports_set()), Some(podside_set()), guarded];
    placed.extend(sets.into_iter().flatten().map(|set| inet(set, interface(index))));
    placed
}

/// In the `bridge` table. Nothing is a port's own that has no MAC.
fn frames_of(index: InterfaceIndex, port: &BoundPort, guarded: bool) -> Vec<Placed> {
    let mac = Some(port.mac.0);
    let key = |interface, address| Element::Key(Key { interface, mac, address });
    let by_port = |address| key(Some(index.0), address);
    let mut placed = vec![bridge(ports_set(), interface(index))];
    let has_mac = port.mac != Mac::NONE;
    if has_mac {
        placed.push(bridge(speakers_set(), by_port(None)));
        placed.push(bridge(macs_set(), key(None, None)));
    }
    placed.extend(guarded.then(|| bridge(guarded_set(), interface(index))));
    for &address in &port.addresses {
        if has_mac {
            placed.push(bridge(own_set(Family::of(address)), by_port(Some(address))));
        }
        if has_mac && address.is_ipv6() {
            placed.push(bridge(targets_set(), by_port(Some(address))));
        }
        placed.extend(owned(address));
    }
    placed
}

/// No other port of a bridge may say that it has this address.
fn owned(address: IpAddr) -> Vec<Placed> {
    let target = Element::Key(Key { interface: None, mac: None, address: Some(address) });
    let targets = address.is_ipv6().then(|| bridge(owned_targets_set(), target));
    let owned = bridge(owned_set(Family::of(address)), Element::Address(address));
    [owned].into_iter().chain(targets).collect()
}

fn interface(index: InterfaceIndex) -> Element {
    Element::Key(Key { interface: Some(index.0), mac: None, address: None })
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn inet(set: Name, element: Element) -> Placed {
    Placed { table: TableFamily::Inet, set, element }
}

fn bridge(set: Name, element: Element) -> Placed {
    Placed { table: TableFamily::Bridge, set, element }
}
