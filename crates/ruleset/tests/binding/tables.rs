//! Both tables of a node with bound pods, small but with every set and chain of the
//! binding.
//!
//! ```text
//! bridge  from (prerouting)   ports, MACs and addresses of bridged pods
//!         to   (postrouting)  what reaches isolated ones
//! inet    bind (prerouting)   the same for routed pods
//!         input               what ends a tunnel here
//!         forward             ingress of IPv4, what enters a tunnel, strays
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, CtStates, Element, EtherType, Family, Field,
    Finish, Hook, InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields, KeyShape, MacField,
    Match, Name, PortTest, Rule, Ruleset, Set, SetType, TagType, Transport, Verdict, VerdictMap,
};

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

/// The table `inet nftpol`.
pub fn inet(node: &Node) -> Ruleset {
    let mut table = Ruleset::new(name("nftpol"));
    let interface = (true, false, None);
    for (family, address) in [(Family::V4, KeyAddressType::V4), (Family::V6, KeyAddressType::V6)] {
        let keys = node.ports.iter().flat_map(|port| {
            port.keys(family, if port.is_bridged { BRIDGE } else { port.index }, None)
        });
        let set = format!("own{}", digit(family));
        add_keys(&mut table, &set, (true, false, Some(address)), keys);
    }
    add_addresses(&mut table, "owned", &node.addresses(|_| true));
    add_keys(&mut table, "ports", interface, node.indices(|port| !port.is_bridged));
    let guarded = node.indices(|port| !port.is_bridged && port.is_isolated);
    add_keys(&mut table, "guarded", interface, guarded);
    let mut podside = node.indices(|port| !port.is_bridged);
    podside.extend(node.ports.iter().any(|port| port.is_bridged).then_some(Key {
        interface: Some(BRIDGE),
        mac: None,
        address: None,
    }));
    add_keys(&mut table, "podside", interface, podside);
    let none = BTreeSet::new();
    let nodes = if node.tunnels.is_empty() { &none } else { &node.nodes };
    add_addresses(&mut table, "nodes", nodes);
    add_types(&mut table, &[("mld-or-ns", &[130, 131, 132, 143, 135]), ("routers", &[134, 137])]);
    bind(&mut table);
    tunnels(&mut table, node, !nodes.is_empty());
    forward(&mut table, node);
    table
}

fn bind(table: &mut Ruleset) {
    let own =
        |family| by(IN, None, Some(KeyAddress::Source(family)), &format!("own{}", digit(family)));
    let ports = || by(IN, None, None, "ports");
    let rules = vec![
        accept([own(Family::V4), Match::NotProtocol(Match::ICMP)]),
        accept([own(Family::V6), Match::NotProtocol(Match::ICMPV6)]),
        goto([], "bind.other"),
    ];
    add_base(table, "bind", Hook::Prerouting, -310, rules);
    let other = vec![
        goto([own(Family::V4)], "bind.icmp"),
        goto([own(Family::V6)], "bind.icmp"),
        drop([source(Family::V4, "owned4")]),
        drop([source(Family::V6, "owned6")]),
        goto([ports()], "bind.stranger"),
    ];
    add_chain(table, "bind.other", other);
    let stranger = vec![accept([from_nobody(), types("mld-or-ns")]), drop([])];
    add_chain(table, "bind.stranger", stranger);
    let icmp = vec![drop([ports(), Match::IcmpType(5)]), drop([ports(), types("routers")])];
    add_chain(table, "bind.icmp", icmp);
}

fn tunnels(table: &mut Ruleset, node: &Node, are_nodes_known: bool) {
    let tunnel = |port: &u16| Match::Port(Transport::Udp, PortTest::In(*port, *port));
    let some = || node.tunnels.iter();
    let tunnelled = match are_nodes_known {
        _ if node.tunnels.is_empty() => vec![],
        true => vec![
            accept([source(Family::V4, "nodes4")]),
            accept([source(Family::V6, "nodes6")]),
            drop([]),
        ],
        false => vec![drop([by(IN, None, None, "podside")])],
    };
    add_chain(table, "tunnelled", tunnelled);
    let mut leaving =
        vec![back([source(Family::V4, "nodes4")]), back([source(Family::V6, "nodes6")])];
    leaving.extend(some().map(|port| drop([tunnel(port)])));
    add_chain(table, "tunnels", if node.tunnels.is_empty() { vec![] } else { leaving });
    if !node.tunnels.is_empty() {
        let rules = some().map(|port| goto([tunnel(port)], "tunnelled")).collect();
        add_base(table, "input", Hook::Input, -1, rules);
    }
}

fn forward(table: &mut Ruleset, node: &Node) {
    let states = |established, related| Match::CtState(CtStates { established, related });
    let isolated = node.addresses(|port| port.is_isolated);
    add_addresses(table, "isolated.i", &isolated);
    add_addresses(table, "p", &node.friends);
    let v4 = isolated.iter().filter(|address| address.is_ipv4());
    let entries = v4.map(|address| (*address, name("i.some"))).collect();
    let map = VerdictMap { family: Family::V4, comment: None, entries };
    table.maps.insert(name("ingress4"), map);
    add_chain(table, "i.some", vec![accept([source(Family::V4, "p4")]), drop([])]);
    let look_up = Finish::Dispatch(Field::Destination, Family::V4, name("ingress4"));
    let look_up = Rule { matches: vec![], log: None, finish: Some(look_up), comment: None };
    add_chain(table, "ingress4", vec![look_up, drop([])]);
    let own = |family| {
        by(OUT, None, Some(KeyAddress::Destination(family)), &format!("own{}", digit(family)))
    };
    let strays = vec![
        back([own(Family::V4)]),
        back([own(Family::V6)]),
        drop([by(OUT, None, None, "guarded")]),
    ];
    add_chain(table, "strays", strays);
    let rules = vec![
        accept([states(true, false)]),
        drop([Match::IcmpType(5)]),
        accept([states(false, true)]),
        jump([destination(Family::V4, "nodes4")], "tunnels"),
        jump([destination(Family::V6, "nodes6")], "tunnels"),
        jump([destination(Family::V4, "isolated.i4")], "ingress4"),
        jump([], "strays"),
    ];
    add_base(table, "forward", Hook::Forward, -1, rules);
}

/// The table `bridge nftpol`. Empty where no pod is bridged.
pub fn bridge(node: &Node) -> Ruleset {
    let mut table = Ruleset::bridge(name("nftpol"));
    let bridged: Vec<&Port> = node.ports.iter().filter(|port| port.is_bridged).collect();
    if bridged.is_empty() {
        return table;
    }
    let keys =
        |family| bridged.iter().flat_map(move |port| port.keys(family, port.index, Some(port.mac)));
    add_keys(&mut table, "own4", (true, true, Some(KeyAddressType::V4)), keys(Family::V4));
    add_keys(&mut table, "own6", (true, true, Some(KeyAddressType::V6)), keys(Family::V6));
    add_keys(&mut table, "targets", (true, true, Some(KeyAddressType::Target)), keys(Family::V6));
    let speaker =
        |port: &&Port| Key { interface: Some(port.index), mac: Some(port.mac), address: None };
    add_keys(&mut table, "speakers", (true, true, None), bridged.iter().map(speaker));
    add_keys(&mut table, "ports", (true, false, None), node.indices(|port| port.is_bridged));
    let guarded = node.indices(|port| port.is_bridged && port.is_isolated);
    add_keys(&mut table, "guarded", (true, false, None), guarded);
    let macs: BTreeSet<[u8; 6]> = bridged.iter().map(|port| port.mac).chain([BRIDGE_MAC]).collect();
    let mac = |mac| Key { interface: None, mac: Some(mac), address: None };
    add_keys(&mut table, "macs", (false, true, None), macs.into_iter().map(mac));
    let mut owned = node.addresses(|port| port.is_bridged);
    owned.insert(ip(GATEWAY));
    add_addresses(&mut table, "owned", &owned);
    let target = |address: &IpAddr| Key { interface: None, mac: None, address: Some(*address) };
    let targets: Vec<Key> = owned.iter().filter(|address| address.is_ipv6()).map(target).collect();
    add_keys(&mut table, "owned-targets", (false, false, Some(KeyAddressType::Target)), targets);
    add_types(
        &mut table,
        &[
            ("advert", &[136]),
            ("solicit", &[135]),
            ("routers", &[134, 137]),
            ("mld", &MULTICAST_LISTENERS),
            ("local", &[130, 134, 135, 136]),
        ],
    );
    from(&mut table);
    to(&mut table);
    table
}

const V4: EtherType = EtherType::Ipv4;
const V6: EtherType = EtherType::Ipv6;

fn from(table: &mut Ruleset) {
    let ether = |one| Match::EtherType(one);
    let sender = Some(MacField::Source);
    let own4 = || by(IN, sender, Some(KeyAddress::Source(Family::V4)), "own4");
    let own6 = || by(IN, sender, Some(KeyAddress::Source(Family::V6)), "own6");
    let rules = vec![
        accept([ether(V4), own4(), Match::NotProtocol(Match::ICMP)]),
        accept([ether(V6), own6(), Match::NotProtocol(Match::ICMPV6)]),
        goto([], "from.other"),
    ];
    add_base(table, "from", Hook::Prerouting, -310, rules);
    let arp = Some(KeyAddress::ArpSender);
    let other = vec![
        goto([ether(V4), own4()], "from.icmp"),
        goto([ether(V6), own6()], "from.icmp6"),
        accept([
            ether(EtherType::Arp),
            by(IN, sender, arp, "own4"),
            by(IN, Some(MacField::ArpSender), arp, "own4"),
        ]),
        goto([by(IN, None, None, "ports")], "from.odd"),
        drop([by(None, sender, None, "macs")]),
        drop([source(Family::V4, "owned4")]),
        drop([source(Family::V6, "owned6")]),
        drop([ether(EtherType::Arp), by(None, None, arp, "owned4")]),
        drop([types("advert"), by(None, None, Some(KeyAddress::Target), "owned-targets")]),
    ];
    add_chain(table, "from.other", other);
    add_chain(table, "from.icmp", vec![drop([Match::IcmpType(5)])]);
    let target = || by(IN, sender, Some(KeyAddress::Target), "targets");
    let icmp6 = vec![
        drop([types("routers")]),
        accept([types("advert"), target()]),
        drop([types("advert")]),
    ];
    add_chain(table, "from.icmp6", icmp6);
    let speaks = || by(IN, sender, None, "speakers");
    let odd = vec![
        accept([from_nobody(), types("solicit"), target()]),
        accept([from_nobody(), types("mld"), speaks()]),
        drop([ether(V4)]),
        drop([ether(V6)]),
        drop([ether(EtherType::Arp)]),
        drop([by(IN, None, None, "guarded")]),
        drop([Match::PriorityTag(TagType::Dot1q)]),
        drop([Match::PriorityTag(TagType::Dot1ad)]),
        accept([speaks()]),
        drop([]),
    ];
    add_chain(table, "from.odd", odd);
}

fn to(table: &mut Ruleset) {
    let receiver = Some(MacField::Destination);
    let own = |family, set| by(OUT, receiver, Some(KeyAddress::Destination(family)), set);
    let rules = vec![goto([by(OUT, None, None, "guarded")], "to.guarded")];
    add_base(table, "to", Hook::Postrouting, 310, rules);
    let guarded = vec![
        accept([Match::EtherType(V4), own(Family::V4, "own4")]),
        accept([Match::EtherType(V6), own(Family::V6, "own6")]),
        accept([Match::EtherType(EtherType::Arp)]),
        accept([Match::EtherType(V6), types("local")]),
        drop([]),
    ];
    add_chain(table, "to.guarded", guarded);
}
