//! Values that nothing can tell apart, one of each kind.
//!
//! In: what the rules look at, and the node's network. Out: for each interface, MACs
//! and addresses such that each other value is judged like one of them.
//! Never: a guess. Two values of one kind are in the same sets, with the same
//! interface and the same other values, and the specification's questions about them
//! have the same answers.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::spec::binding::Binding;
use policy::{BoundPort, InterfaceIndex};
use ruleset::{Element, Family, Name, from_number, number};

use super::looks::{Looks, SetRef};
use super::said::is_isolated_sender;

pub(crate) type Mac = [u8; 6];

/// The interfaces of a packet. 0 where there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub input: u32,
    pub output: u32,
    /// The one that the specification is asked about.
    pub by: u32,
}

/// Where a set or map holds a value, and with what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Place<'a> {
    set: &'a Name,
    /// The value is the second of a pair.
    second: bool,
    partner: Option<IpAddr>,
    mac: Option<Mac>,
    port: Option<u16>,
    chain: Option<&'a Name>,
}

/// The places of values that depend on the interface, and those that do not.
struct Places<'a, V> {
    general: BTreeMap<V, BTreeSet<Place<'a>>>,
    by_interface: BTreeMap<u32, BTreeMap<V, BTreeSet<Place<'a>>>>,
    /// Values by what is true of them on all ways but those of their own.
    groups: Vec<Vec<V>>,
    group_of: BTreeMap<V, usize>,
}

/// What is true of a value on all ways: the facts about it, and its places.
type General<'p, 'a> = (Vec<bool>, Option<&'p BTreeSet<Place<'a>>>);

/// What tells a value from others on one way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Kind<'a> {
    group: usize,
    input: BTreeSet<Place<'a>>,
    output: BTreeSet<Place<'a>>,
    said: Vec<bool>,
}

/// All that decides what happens to packets on a way, in a form that two alike ways
/// share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape<'a> {
    input: Vec<&'a Name>,
    output: Vec<&'a Name>,
    said: Vec<bool>,
    macs: Vec<Kind<'a>>,
    addresses: Vec<Kind<'a>>,
}

/// One value of each kind.
pub(crate) struct Representatives<'a> {
    pub macs: Vec<Mac>,
    pub addresses: Vec<IpAddr>,
    pub shape: Shape<'a>,
}

/// The values of a hook.
pub(crate) struct Classes<'a> {
    binding: &'a Binding<'a>,
    pub interfaces: BTreeSet<u32>,
    /// The sets that hold an interface alone.
    alone: BTreeMap<u32, Vec<&'a Name>>,
    macs: Places<'a, Mac>,
    addresses: Places<'a, IpAddr>,
}

impl<'a> Classes<'a> {
    pub fn new(binding: &'a Binding<'a>, looks: &Looks<'a>) -> Self {
        let mut classes = Self {
            binding,
            interfaces: BTreeSet::new(),
            alone: BTreeMap::new(),
            macs: Places::default(),
            addresses: Places::default(),
        };
        for (name, set) in &looks.sets {
            match set {
                SetRef::Set(set) => {
                    set.elements.iter().for_each(|element| classes.add(name, element));
                }
                SetRef::Map(map) => {
                    for (address, chain) in &map.entries {
                        let place = Place { chain: Some(chain), ..Place::of(name) };
                        classes.addresses.put(None, *address, place);
                    }
                }
            }
        }
        let network = binding.network;
        classes
            .interfaces
            .extend(network.ports.keys().chain(network.bridges.keys()).map(|at| at.0));
        // No set has this one, and the specification does not know it.
        let free = (1..).find(|index| !classes.interfaces.contains(index));
        classes.interfaces.extend(free);
        classes.group(looks);
        classes
    }

    fn add(&mut self, set: &'a Name, element: &Element) {
        let place = Place::of(set);
        match *element {
            Element::Address(address) => self.addresses.put(None, address, place),
            Element::AddressPort(address, port) => {
                self.addresses.put(None, address, Place { port: Some(port), ..place });
            }
            Element::AddressPair(one, other) => {
                let second = Place { second: true, partner: Some(one), ..place.clone() };
                self.addresses.put(None, other, second);
                self.addresses.put(None, one, Place { partner: Some(other), ..place });
            }
            Element::Key(key) => {
                self.interfaces.extend(key.interface);
                if let Some(address) = key.address {
                    let place = Place { mac: key.mac, ..place.clone() };
                    self.addresses.put(key.interface, address, place);
                }
                if let Some(mac) = key.mac {
                    let place = Place { partner: key.address, ..place };
                    self.macs.put(key.interface, mac, place);
                } else if let (Some(interface), None) = (key.interface, key.address) {
                    self.alone.entry(interface).or_default().push(set);
                }
            }
            // Ranges and numbers are in `Looks`.
            Element::Range(_) | Element::ProtocolPort(..) | Element::Icmpv6Type(_) => {}
        }
    }

    /// Groups all values that matter, and at least one that nobody has.
    fn group(&mut self, looks: &Looks<'a>) {
        let ports = || self.binding.network.ports.values();
        let mut macs: Vec<Mac> = ports().map(|port| port.mac.0).collect();
        macs.extend(self.macs.values());
        let mut free = [2, 0, 0x5e, 0x10, 0, 0];
        while macs.contains(&free) {
            free[5] += 1;
        }
        macs.push(free);
        let bridged: BTreeSet<Mac> =
            ports().filter(|port| port.bridge.is_some()).map(|port| port.mac.0).collect();
        self.macs.group(&macs, |mac| vec![bridged.contains(mac)]);

        let mut ranges: BTreeSet<(IpAddr, IpAddr)> =
            looks.ranges.iter().map(|range| (range.first(), range.last())).collect();
        for (_, set) in &looks.sets {
            if let SetRef::Set(set) = set {
                ranges.extend(set.elements.iter().filter_map(|element| match element {
                    Element::Range(range) => Some((range.first(), range.last())),
                    _ => None,
                }));
            }
        }
        ranges.insert(LINK_LOCAL);
        let mentioned: Vec<IpAddr> = self.addresses.values().chain(self.said_addresses()).collect();
        let mut all: BTreeSet<IpAddr> = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), NOTHING].into();
        // Between two cuts, no set and no range begins or ends.
        all.extend(mentioned.iter().chain(ranges.iter().map(|(_, last)| last)).filter_map(after));
        all.extend(mentioned.iter().chain(ranges.iter().map(|(first, _)| first)));
        let bridges = self.binding.network.bridges.values();
        let of_bridges: BTreeSet<IpAddr> =
            bridges.flat_map(|bridge| bridge.addresses.iter().copied()).collect();
        let of_ports = |bridged: bool| -> BTreeSet<IpAddr> {
            let ports = ports().filter(|port| port.bridge.is_some() == bridged);
            ports.flat_map(|port| port.addresses.iter().copied()).collect()
        };
        let (bridged, routed) = (of_ports(true), of_ports(false));
        let nodes = self.binding.nodes;
        let all: Vec<IpAddr> = all.into_iter().collect();
        self.addresses.group(&all, |address| {
            let ranges = ranges.iter().map(|(first, last)| (first..=last).contains(&address));
            let said = [
                address.is_ipv4(),
                *address == NOTHING,
                bridged.contains(address),
                routed.contains(address),
                of_bridges.contains(address),
                nodes.contains(address),
            ];
            said.into_iter().chain(ranges).collect()
        });
    }

    /// One interface of each kind where packets come in, for a hook that asks for it by
    /// itself only.
    pub fn inputs(&self) -> Vec<u32> {
        let mut kinds = BTreeMap::new();
        for &index in &self.interfaces {
            let kind = (self.alone.get(&index), is_isolated_sender(self.binding, index));
            kinds.entry(kind).or_insert(index);
        }
        kinds.into_values().collect()
    }

    fn said_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let network = self.binding.network;
        let ports = network.ports.values().flat_map(|port| &port.addresses);
        let bridges = network.bridges.values().flat_map(|bridge| &bridge.addresses);
        ports.chain(bridges).chain(self.binding.nodes).copied()
    }

    /// The values to try on a way.
    pub fn on(&self, way: Way) -> Representatives<'a> {
        let network = self.binding.network;
        let by = InterfaceIndex(way.by);
        let port = network.ports.get(&by);
        let behind: Vec<&BoundPort> =
            network.ports.values().filter(|port| port.bridge == Some(by)).collect();
        let own = |address: &IpAddr| port.is_some_and(|port| port.addresses.contains(address));
        let here = |address: &IpAddr| behind.iter().any(|port| port.addresses.contains(address));
        let mut special: BTreeSet<IpAddr> = port
            .into_iter()
            .chain(behind.iter().copied())
            .flat_map(|port| &port.addresses)
            .copied()
            .collect();
        let elsewhere = |address: &IpAddr| {
            let mut ports = network.ports.values();
            here(address)
                && ports.any(|port| port.bridge != Some(by) && port.addresses.contains(address))
        };
        let (addresses, kinds) = self
            .addresses
            .on(way, &mut special, |address| vec![own(address), here(address), elsewhere(address)]);
        let own_mac = |mac: &Mac| vec![port.is_some_and(|port| port.mac.0 == *mac)];
        let mut special = port.iter().map(|port| port.mac.0).collect();
        let (macs, mac_kinds) = self.macs.on(way, &mut special, own_mac);
        let position = |mac: Mac| {
            let kind = self.macs.kind(way, &mac, own_mac);
            mac_kinds.iter().position(|one| *one == kind).unwrap_or(macs.len())
        };
        let kinds = kinds.into_iter().map(|kind| kind.with_macs(position)).collect();
        let bridge = network.bridges.get(&by);
        let said = vec![
            port.is_some(),
            port.is_some_and(|port| port.bridge.is_some()),
            port.is_some_and(|port| self.binding.isolated.contains(&port.pod)),
            bridge.is_some_and(|bridge| bridge.only_pods),
            !behind.is_empty(),
            is_isolated_sender(self.binding, way.input),
        ];
        let alone = |interface| self.alone.get(&interface).cloned().unwrap_or_default();
        let shape = Shape {
            input: alone(way.input),
            output: alone(way.output),
            said,
            addresses: kinds,
            macs: mac_kinds.into_iter().map(Kind::without_partners).collect(),
        };
        Representatives { macs, addresses, shape }
    }
}

/// `fe80::/10` (RFC 4291, 2.4).
const LINK_LOCAL: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
    IpAddr::V6(Ipv6Addr::new(0xfebf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff)),
);
const NOTHING: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The next address of the family.
fn after(address: &IpAddr) -> Option<IpAddr> {
    from_number(Family::of(*address), number(*address).checked_add(1)?)
}

impl<'a> Place<'a> {
    fn of(set: &'a Name) -> Self {
        Self { set, second: false, partner: None, mac: None, port: None, chain: None }
    }
}

impl<'a> Kind<'a> {
    /// The addresses' own kinds say with which MAC a set holds them.
    fn without_partners(self) -> Self {
        self.map(|place| Place { partner: None, ..place })
    }

    /// Names the MACs by their position among the representatives, so that two
    /// interfaces with other MACs can be alike.
    fn with_macs(self, position: impl Fn(Mac) -> usize) -> Self {
        let number = |mac| {
            let [.., a, b] = position(mac).to_be_bytes();
            [0, 0, 0, 0, a, b]
        };
        self.map(|place| Place { mac: place.mac.map(number), ..place })
    }

    fn map(self, change: impl Fn(Place<'a>) -> Place<'a>) -> Self {
        let all = |places: BTreeSet<Place<'a>>| places.into_iter().map(&change).collect();
        Self { input: all(self.input), output: all(self.output), ..self }
    }
}

impl<V> Default for Places<'_, V> {
    fn default() -> Self {
        Self {
            general: BTreeMap::new(),
            by_interface: BTreeMap::new(),
            groups: Vec::new(),
            group_of: BTreeMap::new(),
        }
    }
}

impl<'a, V: Copy + Ord + Hash> Places<'a, V> {
    fn put(&mut self, interface: Option<u32>, value: V, place: Place<'a>) {
        let values = match interface {
            None => &mut self.general,
            Some(interface) => self.by_interface.entry(interface).or_default(),
        };
        values.entry(value).or_default().insert(place);
    }

    fn values(&self) -> impl Iterator<Item = V> {
        let by_interface = self.by_interface.values().flat_map(|values| values.keys());
        self.general.keys().chain(by_interface).copied()
    }

    /// Groups values by their general places and the facts about them.
    fn group(&mut self, all: &[V], said: impl Fn(&V) -> Vec<bool>) {
        let mut groups: BTreeMap<General<'_, 'a>, Vec<V>> = BTreeMap::new();
        for value in all {
            groups.entry((said(value), self.general.get(value))).or_default().push(*value);
        }
        self.groups = groups.into_values().collect();
        let numbered = self.groups.iter().enumerate();
        self.group_of = numbered
            .flat_map(|(number, group)| group.iter().map(move |value| (*value, number)))
            .collect();
    }

    /// The places of a value that depend on the way.
    fn places(&self, way: Way, value: &V) -> [BTreeSet<Place<'a>>; 2] {
        [way.input, way.output].map(|interface| {
            let values = self.by_interface.get(&interface).filter(|_| interface != 0);
            values.and_then(|values| values.get(value)).cloned().unwrap_or_default()
        })
    }

    /// One value of each kind. `special` are those of which `said` may say more on
    /// this way than on others.
    fn on(
        &self,
        way: Way,
        special: &mut BTreeSet<V>,
        said: impl Fn(&V) -> Vec<bool>,
    ) -> (Vec<V>, Vec<Kind<'a>>) {
        for interface in [way.input, way.output] {
            special.extend(self.by_interface.get(&interface).into_iter().flat_map(|of| of.keys()));
        }
        let ordinary = self
            .groups
            .iter()
            .filter_map(|group| group.iter().find(|value| !special.contains(value)));
        let mut kinds: BTreeMap<Kind<'a>, V> = BTreeMap::new();
        for value in special.iter().chain(ordinary) {
            kinds.entry(self.kind(way, value, &said)).or_insert(*value);
        }
        kinds.into_iter().map(|(kind, value)| (value, kind)).unzip()
    }

    fn kind(&self, way: Way, value: &V, said: impl Fn(&V) -> Vec<bool>) -> Kind<'a> {
        let [input, output] = self.places(way, value);
        let group = self.group_of.get(value).copied().unwrap_or(usize::MAX);
        Kind { group, input, output, said: said(value) }
    }
}
