//! Tables of the binding, made by hand from the description of the chains. The
//! compiler has its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use policy::spec::binding::Binding;
use policy::{BoundPort, NodeNetwork, Tunnel, TunnelSources};
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Element, EtherType, Family, Field, Hook,
    InterfaceField, Key, KeyAddress, KeyFields, MacField, Match, Name, PortRange, Rule, Ruleset,
    Set, SetType, TagType, Transport, Verdict,
};

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name literal")
}

fn go(to: &str) -> Verdict {
    Verdict::Goto(name(to))
}

fn chain(table: &mut Ruleset, of: &str, base: Option<BaseChain>, rules: Vec<Rule>) {
    let chain = Chain { base, comment: None, rules };
    table.chains.insert(name(of), chain.into());
}

fn set(table: &mut Ruleset, of: &str, set_type: SetType, elements: Vec<Element>) {
    table.sets.insert(name(of), Set::new(set_type, None).with(elements));
}

fn types(table: &mut Ruleset, of: &str, types: &[u8]) {
    let elements = types.iter().copied().map(Element::Icmpv6Type).collect();
    set(table, of, SetType::Icmpv6Type, elements);
}

fn key(
    interface: Option<InterfaceField>,
    mac: Option<MacField>,
    address: Option<KeyAddress>,
    of: &str,
) -> Match {
    Match::Key(KeyFields { interface, mac, address }, name(of))
}

fn owned(of: &str, family: Family) -> Match {
    Match::Address(Field::Source, AddressTest::Set(family, name(of)))
}

fn unspecified() -> Match {
    let range = AddressRange::single(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    Match::Address(Field::Source, AddressTest::In(range))
}

fn kind(of: &str) -> Match {
    Match::Icmpv6Type(name(of))
}

fn both(port: &BoundPort) -> impl Iterator<Item = (Family, IpAddr)> + '_ {
    port.addresses.iter().map(|address| (Family::of(*address), *address))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn element(interface: u32, mac: Option<[u8; 6]>, address: Option<IpAddr>) -> Element {
    Element::Key(Key { interface: Some(interface), mac, address })
}

const IN: Option<InterfaceField> = Some(InterfaceField::In);
const OUT: Option<InterfaceField> = Some(InterfaceField::Out);
const SOURCE: Option<MacField> = Some(MacField::Source);

fn source(family: Family) -> Option<KeyAddress> {
    Some(KeyAddress::Source(family))
}

/// `inet nftpol`, without the policies.
pub fn inet(binding: &Binding<'_>) -> Ruleset {
    let mut table = Ruleset::new(name("nftpol"));
    let network = binding.network;
    for family in Family::BOTH {
        let digit = family.digit();
        let mut own = vec![];
        let mut owned = vec![];
        for (index, port) in &network.ports {
            for (_, address) in both(port).filter(|(of, _)| *of == family) {
                match port.bridge {
                    Some(_) if is_link_local(address) => {}
                    Some(bridge) => own.push(element(bridge.0, None, Some(address))),
                    None => own.push(element(index.0, None, Some(address))),
                }
                if !is_link_local(address) {
                    owned.push(Element::Address(address));
                }
            }
        }
        let own_type = KeyFields { interface: IN, mac: None, address: source(family) }.set_type();
        set(&mut table, &format!("own{digit}"), own_type, own);
        set(&mut table, &format!("owned{digit}"), SetType::Address(family), owned);
        let nodes = binding.nodes.iter().filter(|node| Family::of(**node) == family);
        let nodes = nodes.map(|node| Element::Address(*node)).collect();
        set(&mut table, &format!("nodes{digit}"), SetType::Address(family), nodes);
    }
    let alone = KeyFields { interface: IN, mac: None, address: None }.set_type();
    let ports: BTreeSet<u32> = network.ports.keys().map(|index| index.0).collect();
    let bridges = network.bridges.iter().filter(|(index, bridge)| {
        let mut ports = network.ports.values();
        bridge.only_pods && ports.any(|port| port.bridge == Some(**index))
    });
    let podside: BTreeSet<u32> =
        ports.iter().copied().chain(bridges.map(|(index, _)| index.0)).collect();
    let all = |of: &BTreeSet<u32>| of.iter().map(|index| element(*index, None, None)).collect();
    set(&mut table, "ports", alone, all(&ports));
    set(&mut table, "podside", alone, all(&podside));
    types(&mut table, "mld-or-ns", &[130, 131, 132, 135, 143]);
    types(&mut table, "routers", &[134, 137]);
    let own = |family: Family| key(IN, None, source(family), &format!("own{}", family.digit()));
    let bind = vec![
        Rule::new([own(Family::V4), Match::NotProtocol(1)], Verdict::Accept),
        Rule::new([own(Family::V6), Match::NotProtocol(58)], Verdict::Accept),
        Rule::new([], go("bind.other")),
    ];
    chain(&mut table, "bind", Some(BaseChain::new(Hook::Prerouting, -310)), bind);
    let other = vec![
        Rule::new([own(Family::V4)], go("bind.icmp")),
        Rule::new([own(Family::V6)], go("bind.icmp")),
        Rule::new([owned("owned4", Family::V4)], Verdict::Drop),
        Rule::new([owned("owned6", Family::V6)], Verdict::Drop),
        Rule::new([key(IN, None, None, "ports")], go("bind.stranger")),
    ];
    chain(&mut table, "bind.other", None, other);
    let stranger = vec![
        Rule::new([unspecified(), kind("mld-or-ns")], Verdict::Accept),
        Rule::new([], Verdict::Drop),
    ];
    chain(&mut table, "bind.stranger", None, stranger);
    let icmp = vec![
        Rule::new([Match::IcmpType(5)], Verdict::Drop),
        Rule::new([kind("routers")], Verdict::Drop),
    ];
    chain(&mut table, "bind.icmp", None, icmp);
    if !network.tunnels.is_empty() && !network.ports.is_empty() {
        masqueraded(&mut table, network);
    }
    if !network.tunnels.is_empty() {
        let rules = network.tunnels.iter().map(|(one, sources)| {
            let chain = match sources {
                TunnelSources::Nodes => "tunnelled",
                TunnelSources::Any => "tunnelled.any",
            };
            Rule::new([to_tunnel(one)], go(chain))
        });
        let base = BaseChain::new(Hook::Input, -1);
        chain(&mut table, "input", Some(base), rules.collect());
        let known = |family| binding.nodes.iter().any(|node| Family::of(*node) == family);
        let mut rules = vec![
            Rule::new([key(IN, None, None, "podside")], Verdict::Drop),
            Rule::new([Match::CtTranslated], Verdict::Drop),
        ];
        for (family, nodes) in [(Family::V4, "nodes4"), (Family::V6, "nodes6")] {
            if known(family) {
                rules.push(Rule::new([owned(nodes, family)], Verdict::Accept));
                rules.push(Rule::new([Match::Family(family)], Verdict::Drop));
            }
        }
        if !Family::BOTH.into_iter().all(known) {
            rules.push(Rule::new([], go("tunnelled.any")));
        }
        chain(&mut table, "tunnelled", None, rules);
        let not_from_pods = vec![
            Rule::new([key(IN, None, None, "podside")], Verdict::Drop),
            Rule::new([Match::CtTranslated], Verdict::Drop),
            Rule::new([owned("owned4", Family::V4)], Verdict::Drop),
            Rule::new([owned("owned6", Family::V6)], Verdict::Drop),
        ];
        chain(&mut table, "tunnelled.any", None, not_from_pods);
    }
    table
}

fn to_tunnel(tunnel: &Tunnel) -> Match {
    match *tunnel {
        Tunnel::Udp(port) => Match::Port(Transport::Udp, PortRange(port, port)),
        Tunnel::Protocol(number) => Match::Protocol(number),
    }
}

fn masqueraded(table: &mut Ruleset, network: &NodeNetwork) {
    let mut rules: Vec<Rule> = network
        .tunnels
        .keys()
        .map(|one| Rule::new([to_tunnel(one)], go("masqueraded.to")))
        .collect();
    rules.extend(network.tunnels.keys().filter_map(|one| match *one {
        Tunnel::Udp(port) => {
            Some(Rule::new([Match::SourcePort(Transport::Udp, port)], go("masqueraded.from")))
        }
        Tunnel::Protocol(_) => None,
    }));
    chain(table, "masqueraded", Some(BaseChain::new(Hook::Postrouting, 110)), rules);
    let (mut to, mut from) = (vec![], vec![]);
    for family in Family::BOTH {
        let set = |word| format!("{word}{}", family.digit());
        let address = Some(KeyAddress::Destination(family));
        to.push(Rule::new([key(OUT, None, address, &set("own"))], Verdict::Accept));
        let of_node = || owned(&set("nodes"), family);
        let nodes = AddressTest::Set(family, name(&set("nodes")));
        let to_node = Match::Address(Field::Destination, nodes);
        to.push(Rule::new([of_node()], Verdict::Drop));
        from.push(Rule::new([of_node(), to_node], Verdict::Drop));
        let bound = table.sets[&name(&set("owned"))].clone();
        table.sets.insert(name(&set("openers")), bound);
    }
    let by_pod = |then: &str| -> Vec<Rule> {
        let opener =
            |family: Family| Match::FlowOpener(family, name(&format!("openers{}", family.digit())));
        Family::BOTH.map(|family| Rule::new([opener(family)], go(then))).into()
    };
    chain(table, "masqueraded.to", None, by_pod("masqueraded.to.pod"));
    chain(table, "masqueraded.to.pod", None, to);
    chain(table, "masqueraded.from", None, by_pod("masqueraded.from.pod"));
    chain(table, "masqueraded.from.pod", None, from);
}

/// `bridge nftpol`. Empty where no pod is on a bridge: there is no such table then.
pub fn bridge(binding: &Binding<'_>) -> Ruleset {
    let mut table = Ruleset::bridge(name("nftpol"));
    if binding.network.ports.values().all(|port| port.bridge.is_none()) {
        return table;
    }
    bridge_sets(&mut table, binding);
    types(&mut table, "routers", &[134, 137]);
    types(&mut table, "advert", &[136]);
    types(&mut table, "solicit", &[135]);
    types(&mut table, "mld", &[130, 131, 132, 143]);
    types(&mut table, "local", &[130, 131, 132, 134, 135, 136, 143]);
    let own = |family: Family| key(IN, SOURCE, source(family), &format!("own{}", family.digit()));
    let v4 = || Match::EtherType(EtherType::Ipv4);
    let v6 = || Match::EtherType(EtherType::Ipv6);
    let arp = || Match::EtherType(EtherType::Arp);
    let from = vec![
        Rule::new([v4(), own(Family::V4)], Verdict::Accept),
        Rule::new([v6(), own(Family::V6), Match::NotProtocol(58)], Verdict::Accept),
        Rule::new([], go("from.other")),
    ];
    chain(&mut table, "from", Some(BaseChain::new(Hook::Prerouting, -310)), from);
    let sender = |mac| key(IN, Some(mac), Some(KeyAddress::ArpSender), "own4");
    let arp_owned = KeyFields { address: Some(KeyAddress::ArpSender), ..KeyFields::NONE };
    let target = |of: &str| {
        Match::Key(KeyFields { address: Some(KeyAddress::Target), ..KeyFields::NONE }, name(of))
    };
    let mac = KeyFields { mac: SOURCE, ..KeyFields::NONE };
    let other = vec![
        Rule::new([v6(), own(Family::V6)], go("from.icmp6")),
        Rule::new([arp(), sender(MacField::Source), sender(MacField::ArpSender)], Verdict::Accept),
        Rule::new([key(IN, None, None, "ports")], go("from.odd")),
        Rule::new([Match::Key(mac, name("macs"))], Verdict::Drop),
        Rule::new([owned("owned4", Family::V4)], Verdict::Drop),
        Rule::new([owned("owned6", Family::V6)], Verdict::Drop),
        Rule::new([arp(), Match::Key(arp_owned, name("owned4"))], Verdict::Drop),
        Rule::new([kind("advert"), target("owned-targets")], Verdict::Drop),
        Rule::new([Match::PriorityTag(TagType::Dot1q)], go("from.tag")),
        Rule::new([Match::PriorityTag(TagType::Dot1ad)], go("from.tag")),
    ];
    chain(&mut table, "from.other", None, other);
    let tag = vec![
        Rule::new([Match::Family(Family::V4)], Verdict::Accept),
        Rule::new([Match::Family(Family::V6)], Verdict::Accept),
        Rule::new([], Verdict::Drop),
    ];
    chain(&mut table, "from.tag", None, tag);
    let targets = || key(IN, SOURCE, Some(KeyAddress::Target), "targets");
    let speakers = || key(IN, SOURCE, None, "speakers");
    let on_link = || Match::HopLimit(255);
    let icmp6 = vec![
        Rule::new([on_link(), kind("routers")], Verdict::Drop),
        Rule::new([on_link(), kind("advert"), targets()], Verdict::Accept),
        Rule::new([on_link(), kind("advert")], Verdict::Drop),
    ];
    chain(&mut table, "from.icmp6", None, icmp6);
    let odd = vec![
        Rule::new([v6(), unspecified(), kind("solicit"), targets()], Verdict::Accept),
        Rule::new([v6(), unspecified(), kind("mld"), speakers()], Verdict::Accept),
        Rule::new([v4()], Verdict::Drop),
        Rule::new([v6()], Verdict::Drop),
        Rule::new([arp()], Verdict::Drop),
        Rule::new([key(IN, None, None, "guarded")], Verdict::Drop),
        Rule::new([Match::PriorityTag(TagType::Dot1q)], Verdict::Drop),
        Rule::new([Match::PriorityTag(TagType::Dot1ad)], Verdict::Drop),
        Rule::new([speakers()], Verdict::Accept),
        Rule::new([], Verdict::Drop),
    ];
    chain(&mut table, "from.odd", None, odd);
    let to = vec![
        Rule::new([key(OUT, None, None, "guarded")], go("to.guarded")),
        Rule::new([], go("to.place")),
    ];
    chain(&mut table, "to", Some(BaseChain::new(Hook::Postrouting, 310)), to);
    let destination = |family: Family| {
        let address = Some(KeyAddress::Destination(family));
        key(OUT, Some(MacField::Destination), address, &format!("own{}", family.digit()))
    };
    let guarded = vec![
        Rule::new([v4(), destination(Family::V4)], Verdict::Accept),
        Rule::new([v6(), destination(Family::V6)], Verdict::Accept),
        Rule::new([arp()], go("to.place")),
        Rule::new([v6(), kind("local")], go("to.place")),
        Rule::new([], Verdict::Drop),
    ];
    chain(&mut table, "to.guarded", None, guarded);
    let across = Rule::new([key(IN, None, None, "guarded")], go("across.guarded"));
    chain(&mut table, "across", Some(BaseChain::new(Hook::Forward, -310)), vec![across]);
    let sent = vec![
        Rule::new([v4(), destination(Family::V4)], Verdict::Accept),
        Rule::new([v6(), destination(Family::V6)], Verdict::Accept),
        Rule::new([key(OUT, None, None, "ports")], go("across.pod")),
    ];
    chain(&mut table, "across.guarded", None, sent);
    let to_pod = vec![
        Rule::new([arp()], Verdict::Accept),
        Rule::new([v6(), kind("local")], Verdict::Accept),
        Rule::new([], Verdict::Drop),
    ];
    chain(&mut table, "across.pod", None, to_pod);
    let receiver = Some(MacField::Destination);
    let place = vec![
        Rule::new([key(OUT, receiver, None, "speakers")], Verdict::Accept),
        Rule::new([key(None, receiver, None, "macs")], Verdict::Drop),
    ];
    chain(&mut table, "to.place", None, place);
    table
}

fn bridge_sets(table: &mut Ruleset, binding: &Binding<'_>) {
    let network = binding.network;
    let bridged = || network.ports.iter().filter(|(_, port)| port.bridge.is_some());
    let of_bridges: Vec<IpAddr> =
        network.bridges.values().flat_map(|bridge| bridge.addresses.iter().copied()).collect();
    let keyed = |address| KeyFields { interface: IN, mac: SOURCE, address }.set_type();
    for family in Family::BOTH {
        let digit = family.digit();
        let mut own = vec![];
        let mut owned: Vec<Element> = vec![];
        for (index, port) in bridged() {
            for (_, address) in both(port).filter(|(of, _)| *of == family) {
                own.push(element(index.0, Some(port.mac.0), Some(address)));
                owned.push(Element::Address(address));
            }
        }
        let gateways = of_bridges.iter().filter(|address| Family::of(**address) == family);
        owned.extend(gateways.map(|address| Element::Address(*address)));
        if family == Family::V6 {
            set(table, "targets", keyed(Some(KeyAddress::Target)), own.clone());
            let target =
                |address| Element::Key(Key { interface: None, mac: None, address: Some(address) });
            let targets = owned.iter().flat_map(Element::addresses).map(target).collect();
            let fields = KeyFields { address: Some(KeyAddress::Target), ..KeyFields::NONE };
            set(table, "owned-targets", fields.set_type(), targets);
        }
        set(table, &format!("own{digit}"), keyed(source(family)), own);
        set(table, &format!("owned{digit}"), SetType::Address(family), owned);
    }
    let speakers = bridged().map(|(index, port)| element(index.0, Some(port.mac.0), None));
    set(table, "speakers", keyed(None), speakers.collect());
    let alone = KeyFields { interface: IN, mac: None, address: None }.set_type();
    let ports = bridged().map(|(index, _)| element(index.0, None, None));
    set(table, "ports", alone, ports.collect());
    let guarded = bridged().filter(|(_, port)| binding.isolated.contains(&port.pod));
    let guarded = guarded.map(|(index, _)| element(index.0, None, None));
    set(table, "guarded", alone, guarded.collect());
    let mac = |port: &BoundPort| Key { interface: None, mac: Some(port.mac.0), address: None };
    let macs = bridged().map(|(_, port)| Element::Key(mac(port)));
    let fields = KeyFields { mac: SOURCE, ..KeyFields::NONE };
    set(table, "macs", fields.set_type(), macs.collect());
}
