//! The table `bridge nftpol`.

use std::collections::BTreeSet;

use super::*;

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
            ("local", &[130, 131, 132, 134, 135, 136, 143]),
        ],
    );
    from(&mut table);
    across(&mut table);
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
        accept([ether(V4), own4()]),
        accept([ether(V6), own6(), Match::NotProtocol(Match::ICMPV6)]),
        goto([], "from.other"),
    ];
    add_base(table, "from", Hook::Prerouting, -310, rules);
    let arp = Some(KeyAddress::ArpSender);
    let other = vec![
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
        goto([Match::PriorityTag(TagType::Dot1q)], "from.tag"),
        goto([Match::PriorityTag(TagType::Dot1ad)], "from.tag"),
    ];
    add_chain(table, "from.other", other);
    let ip = |family| accept([Match::Family(family)]);
    add_chain(table, "from.tag", vec![ip(Family::V4), ip(Family::V6), drop([])]);
    let target = || by(IN, sender, Some(KeyAddress::Target), "targets");
    let on_link = || Match::HopLimit(255);
    let icmp6 = vec![
        drop([on_link(), types("routers")]),
        accept([on_link(), types("advert"), target()]),
        drop([on_link(), types("advert")]),
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

fn across(table: &mut Ruleset) {
    let guarded = goto([by(IN, None, None, "guarded")], "across.guarded");
    add_base(table, "across", Hook::Forward, -310, vec![guarded]);
    let [own4, own6] = to_own();
    let to_pod = goto([by(OUT, None, None, "ports")], "across.pod");
    add_chain(table, "across.guarded", vec![own4, own6, to_pod]);
    let rest = vec![
        accept([Match::EtherType(EtherType::Arp)]),
        accept([Match::EtherType(V6), types("local")]),
        drop([]),
    ];
    add_chain(table, "across.pod", rest);
}

fn to_own() -> [Rule; 2] {
    let receiver = Some(MacField::Destination);
    let own = |family, set| by(OUT, receiver, Some(KeyAddress::Destination(family)), set);
    [
        accept([Match::EtherType(V4), own(Family::V4, "own4")]),
        accept([Match::EtherType(V6), own(Family::V6, "own6")]),
    ]
}

fn to(table: &mut Ruleset) {
    let receiver = Some(MacField::Destination);
    let [own4, own6] = to_own();
    let rules = vec![goto([by(OUT, None, None, "guarded")], "to.guarded"), goto([], "to.place")];
    add_base(table, "to", Hook::Postrouting, 310, rules);
    let guarded = vec![
        own4,
        own6,
        goto([Match::EtherType(EtherType::Arp)], "to.place"),
        goto([Match::EtherType(V6), types("local")], "to.place"),
        drop([]),
    ];
    add_chain(table, "to.guarded", guarded);
    let place = vec![
        accept([by(OUT, receiver, None, "speakers")]),
        drop([by(None, receiver, None, "macs")]),
    ];
    add_chain(table, "to.place", place);
}
