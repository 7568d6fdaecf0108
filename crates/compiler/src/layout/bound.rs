//! What the tables bind, as a network.
//!
//! In: both tables, which pod has which address. Out: a network that compiles to the
//! same binding. Never: what the tables do not tell, such as a routed pod's MAC, or
//! whether unknown addresses are shut always or only now.

use std::collections::BTreeSet;
use std::net::IpAddr;

use imbl::OrdMap;
use policy::{
    BoundBridge, BoundPort, Claims, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Tunnel,
    TunnelSources,
};
use ruleset::{Element, Family, Key, Match, Name, PortRange, Rule, Ruleset, Transport};

use super::Layout;
use crate::scaffold;

/// The name of the pod of a port whose addresses no pod reports.
const NO_POD: &str = "";

impl Layout<'_> {
    /// The network that these tables bind: what stays in force while the interfaces
    /// cannot be listed. `pod_of` tells whose an address is now.
    pub fn network(
        inet: &Ruleset,
        bridge: Option<&Ruleset>,
        pod_of: impl Fn(IpAddr) -> Option<ObjectKey>,
    ) -> NodeNetwork {
        let claims = Layout::claims([inet].into_iter().chain(bridge));
        let framed = bridge.map(ports_in).unwrap_or_default();
        let routed = ports_in(inet);
        let bridge_of = |addresses: &BTreeSet<IpAddr>| {
            let keys = own(inet).filter(|(index, _)| !routed.contains(index));
            let mut keys = keys.filter(|(_, address)| addresses.contains(address));
            keys.next().map(|(index, _)| index)
        };
        let port = |(index, claim): (InterfaceIndex, policy::Claim)| {
            let bridge = match (framed.contains(&index), routed.contains(&index)) {
                (true, _) => Some(bridge_of(&claim.addresses)?),
                (false, true) => None,
                (false, false) => return None,
            };
            let pod = claim.addresses.iter().copied().find_map(&pod_of);
            let pod = pod.unwrap_or_else(|| ObjectKey::new(NO_POD, NO_POD));
            let mac = claim.mac.unwrap_or(Mac::NONE);
            Some((index, BoundPort { pod, bridge, mac, addresses: claim.addresses }))
        };
        let Claims(claims) = claims;
        let ports: OrdMap<InterfaceIndex, BoundPort> =
            claims.into_iter().filter_map(port).collect();
        NodeNetwork {
            bridges: bridge.map(|bridge| bridges(inet, bridge, &ports)).unwrap_or_default(),
            ports,
            tunnels: tunnels(inet),
            ipvs: inet.chains.contains_key(&scaffold::ipvs::base_chain()),
            tunnel_peers: Family::BOTH.into_iter().flat_map(|family| nodes(inet, family)).collect(),
            pod_ranges: scaffold::unknown::ranges_of(
                inet.chains.values().flat_map(|chain| &chain.rules),
            ),
            ..NodeNetwork::default()
        }
    }
}

impl Layout<'_> {
    /// Whether a `bridge` table lacks a guard that it shall have, or the rules that make a
    /// guard of it.
    pub fn lacks_guards(wanted: Option<&Ruleset>, in_force: Option<&Ruleset>) -> bool {
        let guards = |table| interfaces(table, &scaffold::binding::guarded_set());
        let Some(wanted) = wanted.filter(|wanted| !guards(wanted).is_empty()) else {
            return false;
        };
        in_force.is_none_or(|table| {
            table.chains != wanted.chains || !guards(wanted).is_subset(&guards(table))
        })
    }

    /// Whether the `inet` table must not yet leave multicast and broadcast to the guards that
    /// the `bridge` table shall have: some are not in force, and the `inet` table in force
    /// shuts these packets for all, or drops what it will no longer drop from a pod that
    /// ceases to be isolated. Where neither holds, a new guard alone judges them.
    pub fn waits_for_guards(
        [inet, bridge]: [Option<&Ruleset>; 2],
        (inet_wanted, bridge_wanted): (&Ruleset, Option<&Ruleset>),
    ) -> bool {
        let isolated = Layout::sides().map(|(one, family)| scaffold::isolated_set(one, family));
        let muted: BTreeSet<Name> = isolated.chain([scaffold::muted_set()]).collect();
        let judges = |inet: &Ruleset| {
            let mut losing = inet.losing(inet_wanted);
            Layout::of(inet).shuts_edges_for_all() || losing.any(|set| muted.contains(set))
        };
        Self::lacks_guards(bridge_wanted, bridge) && inet.is_some_and(judges)
    }

    /// Whether the `bridge` table goes to its next form before the `inet` table does:
    ///
    /// * where it only loses elements, and no port and no guard. So an address of an isolated
    ///   pod is judged by its policies until its port no longer lets it be heard. A guard
    ///   goes after all that `inet` takes;
    /// * where it only gains ports. From each of them everything could be heard before.
    pub fn bridge_goes_first(in_force: Option<&Ruleset>, wanted: Option<&Ruleset>) -> bool {
        let (Some(before), Some(after)) = (in_force, wanted) else { return false };
        let guards = |table: &Ruleset| interfaces(table, &scaffold::binding::guarded_set());
        let (old, new) = (ports_in(before), ports_in(after));
        let is_same = before.chains == after.chains;
        let loses = before.losing(after).next().is_some();
        let mut gained = after.losing(before).peekable();
        match (loses, gained.peek().is_some()) {
            (true, false) => is_same && old == new && guards(before) == guards(after),
            (false, true) => {
                is_same && gained.all(|set| is_of_new_ports(set, (before, after), &old))
            }
            (true, true) | (false, false) => false,
        }
    }
}

/// Whether what a set gains is of no port that there was.
fn is_of_new_ports(
    set: &Name,
    (before, after): (&Ruleset, &Ruleset),
    old: &BTreeSet<InterfaceIndex>,
) -> bool {
    let (Some(before), Some(after)) = (before.sets.get(set), after.sets.get(set)) else {
        return false;
    };
    after.lost(before).all(|element| match element {
        Element::Key(Key { interface: Some(index), .. }) => !old.contains(&InterfaceIndex(*index)),
        Element::Key(_) | Element::Address(_) => true,
        Element::Range(_)
        | Element::AddressPort(..)
        | Element::AddressPair(..)
        | Element::ProtocolPort(..)
        | Element::Icmpv6Type(_) => false,
    })
}

/// The bridges with these ports. It is not told which of them has an address that is
/// no pod's. Where several could, the first one gets it, and the rules are the same.
fn bridges(
    inet: &Ruleset,
    bridge: &Ruleset,
    ports: &OrdMap<InterfaceIndex, BoundPort>,
) -> OrdMap<InterfaceIndex, BoundBridge> {
    let only_pods = interfaces(inet, &scaffold::tunnels::podside_set());
    let of_pods: BTreeSet<IpAddr> =
        ports.values().flat_map(|port| port.addresses.iter().copied()).collect();
    let sets = Family::BOTH.map(scaffold::binding::owned_set);
    let owned = sets.iter().filter_map(|name| bridge.sets.get(name));
    let owned = owned.flat_map(|set| set.elements.iter().flat_map(Element::addresses));
    let mut others: BTreeSet<IpAddr> = owned.filter(|address| !of_pods.contains(address)).collect();
    let with_ports: BTreeSet<InterfaceIndex> =
        ports.values().filter_map(|port| port.bridge).collect();
    let bound = with_ports.into_iter().map(|index| {
        let addresses = std::mem::take(&mut others);
        let only_pods = only_pods.contains(&index);
        (index, BoundBridge { mac: Mac::NONE, addresses, only_pods })
    });
    bound.collect()
}

fn ports_in(table: &Ruleset) -> BTreeSet<InterfaceIndex> {
    interfaces(table, &scaffold::binding::ports_set())
}

/// The interfaces in a set.
fn interfaces(table: &Ruleset, set: &Name) -> BTreeSet<InterfaceIndex> {
    let elements = table.sets.get(set).into_iter().flat_map(|set| &set.elements);
    let index = |element: &Element| match element {
        Element::Key(Key { interface, .. }) => interface.map(InterfaceIndex),
        Element::Address(_)
        | Element::Range(_)
        | Element::AddressPort(..)
        | Element::AddressPair(..)
        | Element::ProtocolPort(..)
        | Element::Icmpv6Type(_) => None,
    };
    elements.filter_map(index).collect()
}

/// Which address the `inet` table takes from which interface.
fn own(inet: &Ruleset) -> impl Iterator<Item = (InterfaceIndex, IpAddr)> {
    let sets = Family::BOTH.map(|family| inet.sets.get(&scaffold::binding::own_set(family)));
    sets.into_iter().flatten().flat_map(|set| &set.elements).filter_map(|element| match element {
        Element::Key(Key { interface: Some(index), address: Some(address), .. }) => {
            Some((InterfaceIndex(*index), *address))
        }
        Element::Key(_)
        | Element::Address(_)
        | Element::Range(_)
        | Element::AddressPort(..)
        | Element::AddressPair(..)
        | Element::ProtocolPort(..)
        | Element::Icmpv6Type(_) => None,
    })
}

fn nodes(inet: &Ruleset, family: Family) -> Vec<IpAddr> {
    let set = inet.sets.get(&scaffold::tunnels::nodes_set(family));
    set.into_iter().flat_map(|set| set.elements.iter().flat_map(Element::addresses)).collect()
}

fn rules<'a>(inet: &'a Ruleset, chain: &Name) -> &'a [Rule] {
    inet.chains.get(chain).map_or(&[], |chain| &chain.rules)
}

/// What the rules of the input hook ask for, and where they go.
fn tunnels(inet: &Ruleset) -> OrdMap<Tunnel, TunnelSources> {
    let tunnel = |rule: &Rule| {
        let tunnel = match rule.matches.as_slice() {
            [Match::Port(Transport::Udp, PortRange(first, last))] if first == last => {
                Tunnel::Udp(*first)
            }
            [Match::Protocol(number)] => Tunnel::Protocol(*number),
            _ => return None,
        };
        let is_any = rule.target() == Some(&scaffold::tunnels::tunnelled_any());
        Some((tunnel, if is_any { TunnelSources::Any } else { TunnelSources::Nodes }))
    };
    rules(inet, &scaffold::tunnels::base_chain()).iter().filter_map(tunnel).collect()
}
