//! What is wrong with the node's interfaces, for people.
//!
//! In: the view and what was concluded. Out: findings, at most a few for each
//! interface and one for each address of a pod, whatever the pods do.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::addresses::Held;
use super::holder::{Holder, holder};
use super::link_layer::Macs;
use super::{View, is_for_pods, is_link_local};
use crate::{InterfaceIndex, Mac, NodeNetwork, ObjectKey, SeenPort};

/// What is wrong with the node's interfaces and addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindingFinding {
    /// No interface has this pod's address, so nothing binds it.
    NoInterface {
        /// The pod.
        pod: ObjectKey,
        /// Its address.
        address: IpAddr,
    },
    /// An interface has a pod's address that is bound to another one, or to none.
    ClaimedTwice {
        /// The address, the lowest one that the claimant claims so.
        address: IpAddr,
        /// The pod that reports it.
        pod: ObjectKey,
        /// The interface that has it.
        owner: Option<Holder>,
        /// The interface that claims it, too.
        claimant: Holder,
        /// How many other addresses the claimant claims so.
        more: usize,
    },
    /// Several interfaces could be the pod's that reports this address. None is bound
    /// to it, and nothing that they send passes.
    Contested {
        /// The address.
        address: IpAddr,
        /// The pod that reports it.
        pod: ObjectKey,
        /// Two of the interfaces. One, if that has addresses of several pods.
        claimants: Vec<Holder>,
        /// How many others there are.
        more: usize,
    },
    /// A pod has an address that its object does not report.
    UnreportedAddress {
        /// The pod.
        pod: ObjectKey,
        /// Its interface, by the name of the node's end.
        interface: String,
        /// The address, the lowest one.
        address: IpAddr,
        /// How many others it has.
        more: usize,
    },
    /// An interface has the MAC of another port, or of its bridge.
    MacClaimedTwice {
        /// The MAC.
        mac: Mac,
        /// Whose it is; `None`: the bridge's own.
        owner: Option<Holder>,
        /// The interface that has it, too.
        claimant: Holder,
        /// Whether the claimant keeps the MAC that it had before. Otherwise
        /// nothing passes that its pod sends.
        keeps_former: bool,
    },
    /// A pod changed its MAC. It stays bound to the former one.
    MacChanged {
        /// The pod.
        pod: ObjectKey,
        /// Its interface, by the name of the node's end.
        interface: String,
        /// The MAC that it is bound to.
        bound: Mac,
        /// The MAC that it has.
        now: Mac,
    },
    /// An interface beside those of pods leads into another network namespace and is
    /// bound to no pod: the youngest one of each bridge, and of those on none. A pod
    /// with CAP_NET_ADMIN and without a user namespace can make one: it may add
    /// links to the namespace of its interface's other end
    /// (`rtnl_link_get_net_capable`, net/core/rtnetlink.c, 6.18).
    UnboundPort {
        /// Its name.
        interface: String,
        /// The name of its bridge.
        bridge: Option<String>,
    },
    /// A bridge with pods filters VLANs: its pods are not bound.
    VlanFiltering {
        /// The bridge's name.
        bridge: String,
    },
}

/// All findings, in order.
pub(super) fn all(
    view: &View<'_>,
    held: &Held<'_>,
    macs: &Macs,
    network: &NodeNetwork,
) -> Vec<BindingFinding> {
    let mut found = Vec::new();
    for (&address, &pod) in view.reported.iter().chain(&view.unfit) {
        if let Some(claimants) = held.contested.get(&address) {
            found.push(contested(view, held, (address, pod), claimants));
        } else if !held.holders.contains_key(&address) {
            found.push(BindingFinding::NoInterface { pod: pod.clone(), address });
        }
    }
    for port in view.ports.values() {
        found.extend(claimed_twice(view, held, port));
        found.extend(unreported(view, held, network, port));
        if held.pods.contains_key(&port.index) {
            found.extend(mac(view, held, macs, port));
        }
    }
    let of_pods = held.pods.keys().filter_map(|index| view.ports.get(index)?.bridge);
    let bridges: BTreeSet<InterfaceIndex> = of_pods.collect();
    let bridges = bridges.iter().filter_map(|index| view.bridges.get(index));
    found.extend(
        bridges
            .filter(|bridge| bridge.vlan_filtering)
            .map(|bridge| BindingFinding::VlanFiltering { bridge: bridge.name.clone() }),
    );
    found.extend(unbound_ports(view, network));
    found.sort();
    found
}

/// The youngest port without a pod of each bridge with bound ports, and of those on no
/// bridge if pods are there. Other bridges are no matter of pods, nor is the node's own
/// uplink: of a node that is a container it is such a port, too.
fn unbound_ports(view: &View<'_>, network: &NodeNetwork) -> Vec<BindingFinding> {
    let is_seen = |index: &&InterfaceIndex| view.ports.contains_key(*index);
    let bound = network.ports.keys().filter(is_seen).filter_map(|index| network.ports.get(index));
    let with_pods: BTreeSet<_> = bound.map(|port| port.bridge).collect();
    let mut youngest: BTreeMap<Option<InterfaceIndex>, &SeenPort> = BTreeMap::new();
    let unbound = view.ports.values().filter(|port| !network.ports.contains_key(&port.index));
    for port in unbound.filter(|port| with_pods.contains(&port.bridge) && !port.is_uplink) {
        youngest.insert(port.bridge, port);
    }
    let name = |index| view.bridges.get(&index).map(|bridge| bridge.name.clone());
    let found = youngest.into_iter().map(|(bridge, port)| BindingFinding::UnboundPort {
        interface: port.name.clone(),
        bridge: bridge.and_then(name),
    });
    found.collect()
}

fn contested(
    view: &View<'_>,
    held: &Held<'_>,
    (address, pod): (IpAddr, &ObjectKey),
    claimants: &BTreeSet<InterfaceIndex>,
) -> BindingFinding {
    /// How many are named.
    const NAMED: usize = 2;
    let more = claimants.len().saturating_sub(NAMED);
    let claimants = claimants.iter().take(NAMED).map(|&index| holder(view, held, index));
    BindingFinding::Contested { address, pod: pod.clone(), claimants: claimants.collect(), more }
}

/// The addresses of pods that a port has and does not hold.
fn claimed_twice(view: &View<'_>, held: &Held<'_>, port: &SeenPort) -> Option<BindingFinding> {
    let claimed: BTreeSet<IpAddr> = port
        .addresses
        .iter()
        .map(|one| one.address)
        .filter(|address| view.reported.contains_key(address))
        .filter(|address| held.holders.get(address) != Some(&port.index))
        .filter(|address| !held.contested.contains_key(address))
        .collect();
    let address = *claimed.first()?;
    let owner = held.holders.get(&address).or(held.kept.get(&address));
    let owner = owner.filter(|owner| **owner != port.index);
    Some(BindingFinding::ClaimedTwice {
        address,
        pod: (*view.reported.get(&address)?).clone(),
        owner: owner.map(|&index| holder(view, held, index)),
        claimant: holder(view, held, port.index),
        more: claimed.len() - 1,
    })
}

/// The addresses that the pod of a port has and nobody reports, on its other
/// devices, too.
fn unreported(
    view: &View<'_>,
    held: &Held<'_>,
    network: &NodeNetwork,
    port: &SeenPort,
) -> Option<BindingFinding> {
    let pod = *held.pods.get(&port.index)?;
    let bound = network.ports.get(&port.index).map(|port| &port.addresses);
    let is_own = |address: &IpAddr| bound.is_some_and(|own| own.contains(address));
    let reporter = |address: &IpAddr| view.reported.get(address).copied();
    let here = port.addresses.iter().map(|one| one.address).filter(|address| !is_own(address));
    let here = here.filter(|address| reporter(address).is_none());
    let there = port.elsewhere.iter().copied().filter(|address| !is_link_local(*address));
    let there = there.filter(|address| reporter(address) != Some(pod));
    let more: BTreeSet<IpAddr> = here
        .chain(there)
        .filter(|address| is_for_pods(*address) || is_link_local(*address))
        .collect();
    let address = *more.first()?;
    let interface = port.name.clone();
    let more = more.len() - 1;
    Some(BindingFinding::UnreportedAddress { pod: pod.clone(), interface, address, more })
}

/// A MAC that differs from the one that the port is bound to.
fn mac(view: &View<'_>, held: &Held<'_>, macs: &Macs, port: &SeenPort) -> Option<BindingFinding> {
    let bound = *macs.bound.get(&port.index)?;
    if bound == port.mac || port.mac == Mac::NONE {
        return None;
    }
    let owner = macs.holders.get(&(port.bridge?, port.mac));
    Some(match owner {
        Some(owner) => BindingFinding::MacClaimedTwice {
            mac: port.mac,
            owner: owner.map(|index| holder(view, held, index)),
            claimant: holder(view, held, port.index),
            keeps_former: bound != Mac::NONE,
        },
        None => BindingFinding::MacChanged {
            pod: (*held.pods.get(&port.index)?).clone(),
            interface: port.name.clone(),
            bound,
            now: port.mac,
        },
    })
}
