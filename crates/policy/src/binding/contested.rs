//! Addresses that could be more than one interface's.
//!
//! In: the view, who holds what, the network. Out: the network in which nobody uses
//! them. Never: an interface that is a pod's.
//!
//! | rule | by |
//! |---|---|
//! | nobody sends under such an address | it is bound to the port that no node has, and on a bridge it is nobody's, like the bridge's own addresses |
//! | the interfaces that have it pass for nobody else either | they are bound without any address and MAC |
//!
//! A restart begins with what is seen: none of these interfaces has a claim.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::View;
use super::addresses::Held;
use crate::{BoundPort, InterfaceIndex, Mac, NodeNetwork};

pub(super) fn cut_off(view: &View<'_>, held: &Held<'_>, network: &mut NodeNetwork) {
    let ports_of = |indices: &BTreeSet<InterfaceIndex>| {
        indices.iter().filter_map(|index| view.ports.get(index).copied()).collect::<Vec<_>>()
    };
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    let mut first = None;
    for (&address, indices) in &held.contested {
        let Some(pod) = view.reported.get(&address).copied() else { continue };
        let ports = ports_of(indices);
        if ports.iter().any(|port| view.filters_vlans(port.bridge)) {
            continue;
        }
        for port in ports {
            let bridge = port.bridge.and_then(|index| view.bridges.get(&index));
            if let Some(bridge) = bridge {
                let known = network.bridges.remove(&bridge.index);
                let mut bound = known.unwrap_or_else(|| super::bound_bridge(bridge));
                bound.addresses.insert(address);
                network.bridges.insert(bridge.index, bound);
            }
            let mac = if port.bridge.is_some() { Mac::NONE } else { port.mac };
            let silent = || nothing(pod, port.bridge, mac);
            network.ports.entry(port.index).or_insert_with(silent);
        }
        addresses.insert(address);
        first.get_or_insert(pod);
    }
    if let Some(pod) = first {
        let nobodys = BoundPort { addresses, ..nothing(pod, None, Mac::NONE) };
        network.ports.insert(InterfaceIndex::NOBODYS, nobodys);
    }
}

/// A port that says nothing.
fn nothing(pod: &crate::ObjectKey, bridge: Option<InterfaceIndex>, mac: Mac) -> BoundPort {
    BoundPort { pod: pod.clone(), bridge, mac, addresses: BTreeSet::new() }
}
