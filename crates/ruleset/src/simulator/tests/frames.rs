//! Matches on frames and interfaces, and which packets each hook sees.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::{
    EtherType, InterfaceField, Key, KeyAddress, KeyFields, MacField, TableFamily, TableId, TagType,
};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const POD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const IN: Option<InterfaceField> = Some(InterfaceField::In);
const OUT: Option<InterfaceField> = Some(InterfaceField::Out);

/// From port 7 to port 8.
fn framed(packet: Packet) -> Packet {
    let frame = Frame {
        in_interface: 7,
        out_interface: 8,
        source_mac: MAC,
        destination_mac: OTHER_MAC,
        ..packet.frame
    };
    Packet { frame, ..packet }
}

fn with_content(content: Content) -> Packet {
    let packet = framed(web());
    Packet { frame: Frame { content, ..packet.frame }, ..packet }
}

fn with_tag(packet: Packet, tag_type: TagType, vlan: u16) -> Packet {
    Packet { frame: Frame { tag: Some(Tag { tag_type, vlan }), ..packet.frame }, ..packet }
}

/// Drops what matches. The set `s` holds this key.
fn table(family: TableFamily, hook: Hook, condition: Match, key: Key) -> Ruleset {
    let mut table = Ruleset::of(TableId { family, name: name("nftpol") });
    if let Match::Key(fields, _) = &condition {
        let set = Set::new(fields.set_type(), None).with([fields.element(key)]);
        table.sets.insert(name("s"), set);
    }
    let base = Some(BaseChain::new(hook, 0));
    let rules = vec![Rule::new([condition], DROP)];
    table.chains.insert(name("base"), Chain { base, comment: None, rules }.into());
    table
}

const NO_KEY: Key = Key { interface: None, mac: None, address: None };

fn holds(condition: Match, key: Key, packet: &Packet) -> bool {
    let table = table(TableFamily::Bridge, Hook::Forward, condition, key);
    simulate(&table, packet).unwrap().outcome == Outcome::Drop
}

#[test]
fn each_match_on_a_frame_holds_where_it_should() {
    let (dot1q, dot1ad) = (TagType::Dot1q, TagType::Dot1ad);
    let ip4 = framed(web());
    let arp = with_content(Content::Arp(Arp { sender_mac: OTHER_MAC, sender: POD }));
    let other = with_content(Content::Other);
    let icmp = |icmp_type| Packet {
        icmp_type: Some(icmp_type),
        ..Packet::new(ip("10.0.0.1"), ip("10.0.0.2"), 1)
    };
    let sctp = Packet::to_port(ip("10.0.0.1"), ip("10.0.0.2"), Transport::Sctp, 80);
    let data = Packet { sctp_chunk: Some(0), ..sctp };
    let ether = Match::EtherType;
    #[rustfmt::skip]
    let cases = [
        ("IPv4", ether(EtherType::Ipv4), ip4, true),
        ("IPv6", ether(EtherType::Ipv6), framed(web6()), true),
        ("ARP", ether(EtherType::Arp), arp, true),
        ("not IPv4", ether(EtherType::Ipv4), framed(web6()), false),
        ("ARP is not IPv4", ether(EtherType::Ipv4), arp, false),
        ("anything else", ether(EtherType::Ipv4), other, false),
        ("a tag hides IPv4", ether(EtherType::Ipv4), with_tag(ip4, dot1q, 5), false),
        ("a tag does not hide the family", Match::Family(Family::V4), with_tag(ip4, dot1q, 5), true),
        ("nor the address", inside(Field::Source, "10.0.0.1", "10.0.0.1"), with_tag(ip4, dot1q, 0), true),
        ("ARP has no family", Match::Family(Family::V4), arp, false),
        ("ARP has no address", inside(Field::Source, "0.0.0.0", "255.255.255.255"), arp, false),
        ("priority", Match::PriorityTag(dot1q), with_tag(ip4, dot1q, 0), true),
        ("a VLAN", Match::PriorityTag(dot1q), with_tag(ip4, dot1q, 1), false),
        ("another type of tag", Match::PriorityTag(dot1q), with_tag(ip4, dot1ad, 0), false),
        ("that type", Match::PriorityTag(dot1ad), with_tag(ip4, dot1ad, 0), true),
        ("no tag", Match::PriorityTag(dot1q), ip4, false),
        ("not ICMP", Match::NotProtocol(1), ip4, true),
        ("ICMP", Match::NotProtocol(1), icmp(8), false),
        ("ARP has no protocol", Match::NotProtocol(1), arp, false),
        ("redirect", Match::IcmpType(5), icmp(5), true),
        ("echo", Match::IcmpType(5), icmp(8), false),
        ("ICMPv6 is not ICMP", Match::IcmpType(5), Packet { icmp_type: Some(5), ..web6() }, false),
        ("protocol of ARP", Match::Protocol(6), arp, false),
        ("INIT", Match::NotInit, sctp, false),
        ("DATA", Match::NotInit, data, true),
        ("a fragment of SCTP", Match::NotInit, Packet { sctp_chunk: None, ..sctp }, false),
        ("no SCTP", Match::NotInit, Packet { protocol: 17, ..data }, false),
    ];
    for (case, condition, packet, expected) in cases {
        assert_eq!(holds(condition, NO_KEY, &packet), expected, "{case}");
    }
}

fn inside(field: Field, first: &str, last: &str) -> Match {
    Match::Address(field, AddressTest::In(AddressRange::new(ip(first), ip(last)).unwrap()))
}

#[test]
fn each_field_of_a_key_is_looked_up() {
    let v4 = framed(web());
    let v6 = framed(web6());
    let target: Ipv6Addr = "fd00::9".parse().unwrap();
    let neighbour = Packet { target: Some(target), ..v6 };
    let arp = with_content(Content::Arp(Arp { sender_mac: OTHER_MAC, sender: POD }));
    let fields = |interface, mac, address| KeyFields { interface, mac, address };
    let key =
        |interface, mac, address: Option<&str>| Key { interface, mac, address: address.map(ip) };
    let (source, destination) = (Some(MacField::Source), Some(MacField::Destination));
    let of = |field: fn(Family) -> KeyAddress, family| Some(field(family));
    let (from, to) = (KeyAddress::Source, KeyAddress::Destination);
    let sender = Some(KeyAddress::ArpSender);
    #[rustfmt::skip]
    let cases = [
        ("in", fields(IN, None, None), key(Some(7), None, None), v4),
        ("out", fields(OUT, None, None), key(Some(8), None, None), v4),
        ("source MAC", fields(None, source, None), key(None, Some(MAC), None), v4),
        ("destination MAC", fields(None, destination, None), key(None, Some(OTHER_MAC), None), arp),
        ("ARP's MAC", fields(None, Some(MacField::ArpSender), None), key(None, Some(OTHER_MAC), None), arp),
        ("ARP's address", fields(None, None, sender), key(None, None, Some("10.0.0.1")), arp),
        ("source", fields(IN, None, of(from, Family::V4)), key(Some(7), None, Some("10.0.0.1")), v4),
        ("destination", fields(OUT, None, of(to, Family::V6)), key(Some(8), None, Some("fd00::2")), v6),
        ("address alone", fields(None, None, of(from, Family::V4)), key(None, None, Some("10.0.0.1")), v4),
        ("target alone", fields(None, None, Some(KeyAddress::Target)), key(None, None, Some("fd00::9")), neighbour),
        ("all", fields(IN, source, sender), key(Some(7), Some(MAC), Some("10.0.0.1")), arp),
        ("all, target", fields(IN, source, Some(KeyAddress::Target)), key(Some(7), Some(MAC), Some("fd00::9")), neighbour),
    ];
    for (case, fields, key, packet) in cases {
        let condition = || Match::Key(fields, name("s"));
        assert!(holds(condition(), key, &packet), "{case}");
        // Each part counts.
        let changed = [
            Key { interface: key.interface.map(|index| index + 100), ..key },
            Key { mac: key.mac.map(|_| [9; 6]), ..key },
            Key {
                address: key
                    .address
                    .map(|_| ip(if packet == v4 { "10.9.9.9" } else { "fd00::99" })),
                ..key
            },
        ];
        for wrong in changed.into_iter().filter(|wrong| *wrong != key) {
            assert!(!holds(condition(), wrong, &packet), "{case}: {wrong:?}");
        }
    }
    // A packet without the field has no key.
    for (fields, packet) in [
        (fields(IN, None, of(from, Family::V4)), v6),
        (fields(None, None, of(from, Family::V4)), arp),
        (fields(None, Some(MacField::ArpSender), None), v4),
        (fields(None, None, sender), v4),
        (fields(None, None, Some(KeyAddress::Target)), v6),
    ] {
        let key = key(Some(7), Some(MAC), Some("10.0.0.1"));
        assert!(!holds(Match::Key(fields, name("s")), key, &packet), "{fields:?}");
    }
}

#[test]
fn each_hook_sees_the_interfaces_that_it_has() {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    use TableFamily::{Bridge, Inet};
    let sees = |family, hook, interface, index| {
        let fields = KeyFields { interface, ..KeyFields::NONE };
        let key = Key { interface: Some(index), ..NO_KEY };
        let table = table(family, hook, Match::Key(fields, name("s")), key);
        let simulated = simulate_at(&table, hook, &framed(web())).unwrap();
        simulated.outcome == Outcome::Drop
    };
    for family in [Inet, Bridge] {
        for (hook, is_in, is_out) in [
            (Prerouting, true, false),
            (Input, true, false),
            (Forward, true, true),
            (Output, false, true),
            (Postrouting, family == Inet, true),
        ] {
            assert_eq!(sees(family, hook, IN, 7), is_in, "{family} {hook}");
            assert_eq!(sees(family, hook, OUT, 8), is_out, "{family} {hook}");
        }
    }
}

#[test]
fn a_hook_runs_its_own_base_chains_and_inet_sees_ip() {
    let any = Match::NotProtocol(99);
    let bridge = table(TableFamily::Bridge, Hook::Prerouting, any.clone(), NO_KEY);
    let outcome =
        |table: &Ruleset, hook, packet: &Packet| simulate_at(table, hook, packet).unwrap().outcome;
    assert_eq!(outcome(&bridge, Hook::Prerouting, &web()), Outcome::Drop);
    assert_eq!(outcome(&bridge, Hook::Forward, &web()), Outcome::Accept);
    // Without any match, a frame is dropped on the bridge, and not met by `inet`.
    let everything = |family| {
        let mut table = table(family, Hook::Prerouting, any.clone(), NO_KEY);
        let base = Arc::make_mut(table.chains.get_mut("base").unwrap());
        base.rules = vec![Rule::new([], DROP)];
        table
    };
    let lldp = with_content(Content::Other);
    assert_eq!(outcome(&everything(TableFamily::Bridge), Hook::Prerouting, &lldp), Outcome::Drop);
    assert_eq!(outcome(&everything(TableFamily::Inet), Hook::Prerouting, &lldp), Outcome::Accept);
    assert_eq!(outcome(&everything(TableFamily::Inet), Hook::Prerouting, &web()), Outcome::Drop);
}

#[test]
fn a_key_in_a_set_of_another_type_is_an_error() {
    let fields = KeyFields { interface: IN, ..KeyFields::NONE };
    let key = Key { interface: Some(7), ..NO_KEY };
    let mut table = table(TableFamily::Inet, Hook::Forward, Match::Key(fields, name("s")), key);
    table.sets.insert(name("s"), Set::new(SetType::ProtocolPort, None));
    let at = RulePosition { chain: name("base"), rule: 0 };
    let error = Broken::WrongType { at, name: name("s") };
    assert_eq!(simulate(&table, &framed(web())), Err(error));
}
