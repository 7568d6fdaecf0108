//! Both tables of a node with bound pods, small but with every set and chain of the
//! binding.
//!
//! ```text
//! bridge  from (prerouting)   ports, MACs and addresses of bridged pods
//!         across (forward)    what isolated ones send to others
//!         to   (postrouting)  what reaches isolated ones
//! inet    bind (prerouting)   the same for routed pods
//!         input               what ends a tunnel here
//!         forward             ingress of IPv4, what enters a tunnel, strays
//!         masqueraded (postrouting)  what enters a tunnel in the node's name
//! ```

mod bridge;
mod inet;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, CtStates, Element, EtherType, Family, Field,
    Finish, Hook, InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields, KeyShape, MacField,
    Match, Name, PortRange, Rule, Ruleset, Set, SetType, TagType, Transport, Verdict, VerdictMap,
};

pub use bridge::bridge;
pub use inet::inet;

/// A pod's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub index: u32,
    pub is_bridged: bool,
    pub mac: [u8; 6],
    pub addresses: BTreeSet<IpAddr>,
    pub is_isolated: bool,
}

/// What is bound on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub ports: Vec<Port>,
    /// UDP ports of tunnels.
    pub tunnels: BTreeSet<u16>,
    pub nodes: BTreeSet<IpAddr>,
    /// Who may reach isolated pods.
    pub friends: BTreeSet<IpAddr>,
}

/// The index of the bridge.
pub const BRIDGE: u32 = 3;
/// The index of the interface to the other nodes. What pods send there is masqueraded.
pub const UPLINK: u32 = 1;
/// The node's own address.
pub const SELF: &str = "192.0.2.1";
pub const BRIDGE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 3];
/// The bridge's own address, the pods' gateway.
pub const GATEWAY: &str = "10.0.0.254";

const IN: Option<InterfaceField> = Some(InterfaceField::In);
const OUT: Option<InterfaceField> = Some(InterfaceField::Out);
const MULTICAST_LISTENERS: [u8; 4] = [130, 131, 132, 143];

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn by(
    interface: Option<InterfaceField>,
    mac: Option<MacField>,
    address: Option<KeyAddress>,
    set: &str,
) -> Match {
    Match::Key(KeyFields { interface, mac, address }, name(set))
}

fn source(family: Family, set: &str) -> Match {
    Match::Address(Field::Source, AddressTest::Set(family, name(set)))
}

fn destination(family: Family, set: &str) -> Match {
    Match::Address(Field::Destination, AddressTest::Set(family, name(set)))
}

fn from_nobody() -> Match {
    let range = AddressRange::single(Ipv6Addr::UNSPECIFIED.into());
    Match::Address(Field::Source, AddressTest::In(range))
}

fn types(set: &str) -> Match {
    Match::Icmpv6Type(name(set))
}

fn accept(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule::new(matches, Verdict::Accept)
}

fn drop(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule::new(matches, Verdict::Drop)
}

fn goto(matches: impl IntoIterator<Item = Match>, chain: &str) -> Rule {
    Rule::new(matches, Verdict::Goto(name(chain)))
}

fn jump(matches: impl IntoIterator<Item = Match>, chain: &str) -> Rule {
    Rule::new(matches, Verdict::Jump(name(chain)))
}

fn back(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule::new(matches, Verdict::Return)
}

fn add_base(table: &mut Ruleset, chain: &str, hook: Hook, priority: i32, rules: Vec<Rule>) {
    let chain_of = Chain { base: Some(BaseChain::new(hook, priority)), comment: None, rules };
    table.chains.insert(name(chain), chain_of.into());
}

fn add_chain(table: &mut Ruleset, chain: &str, rules: Vec<Rule>) {
    table.chains.insert(name(chain), Chain { base: None, comment: None, rules }.into());
}

fn add_set(
    table: &mut Ruleset,
    set: &str,
    set_type: SetType,
    elements: impl IntoIterator<Item = Element>,
) {
    table.sets.insert(name(set), Set::new(set_type, None).with(elements));
}

fn add_keys(
    table: &mut Ruleset,
    set: &str,
    (interface, mac, address): (bool, bool, Option<KeyAddressType>),
    keys: impl IntoIterator<Item = Key>,
) {
    let set_type = SetType::Key(KeyShape { interface, mac, address });
    add_set(table, set, set_type, keys.into_iter().map(Element::Key));
}

fn add_types(table: &mut Ruleset, sets: &[(&str, &[u8])]) {
    for (set, types) in sets {
        let elements = types.iter().copied().map(Element::Icmpv6Type);
        add_set(table, set, SetType::Icmpv6Type, elements);
    }
}

fn add_addresses(table: &mut Ruleset, set: &str, addresses: &BTreeSet<IpAddr>) {
    for family in Family::BOTH {
        let some = addresses.iter().filter(|address| Family::of(**address) == family);
        let elements = some.copied().map(Element::Address);
        let set = format!("{set}{}", digit(family));
        add_set(table, &set, SetType::Address(family), elements);
    }
}

const fn digit(family: Family) -> char {
    match family {
        Family::V4 => '4',
        Family::V6 => '6',
    }
}

impl Port {
    fn keys(&self, family: Family, interface: u32, mac: Option<[u8; 6]>) -> Vec<Key> {
        let some = self.addresses.iter().filter(|address| Family::of(**address) == family);
        some.map(|address| Key { interface: Some(interface), mac, address: Some(*address) })
            .collect()
    }
}

impl Node {
    fn addresses(&self, of: impl Fn(&Port) -> bool) -> BTreeSet<IpAddr> {
        self.ports
            .iter()
            .filter(|port| of(port))
            .flat_map(|port| &port.addresses)
            .copied()
            .collect()
    }

    fn indices(&self, of: impl Fn(&Port) -> bool) -> Vec<Key> {
        let key = |port: &Port| Key { interface: Some(port.index), mac: None, address: None };
        self.ports.iter().filter(|port| of(port)).map(key).collect()
    }
}
