//! A table of family `bridge`, and one of family `inet`, with every form that looks
//! at frames and interfaces.

use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Element, EtherType, Family, Field, FlowSide, Hook,
    InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields, KeyShape, MacField, Match, Name,
    Rule, Ruleset, Set, SetType, TagType, Transport, Verdict,
};

use super::fixture::{address, name};

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0xab, 0x0f];
const IN: Option<InterfaceField> = Some(InterfaceField::In);
const OUT: Option<InterfaceField> = Some(InterfaceField::Out);
const V4: Option<KeyAddress> = Some(KeyAddress::Source(Family::V4));
const V6: Option<KeyAddress> = Some(KeyAddress::Source(Family::V6));

fn shape(interface: bool, mac: bool, address: Option<KeyAddressType>) -> SetType {
    SetType::Key(KeyShape { interface, mac, address })
}

fn key(interface: Option<u32>, mac: Option<[u8; 6]>, ip: Option<&str>) -> Element {
    Element::Key(Key { interface, mac, address: ip.map(address) })
}

fn by(
    interface: Option<InterfaceField>,
    mac: Option<MacField>,
    address: Option<KeyAddress>,
    set: &str,
) -> Match {
    Match::Key(KeyFields { interface, mac, address }, name(set))
}

fn sets(sets: impl IntoIterator<Item = (&'static str, SetType, Vec<Element>)>) -> Vec<(Name, Set)> {
    let set = |(text, set_type, elements)| (name(text), Set::new(set_type, None).with(elements));
    sets.into_iter().map(set).collect()
}

fn base(hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { base: Some(BaseChain::new(hook, priority)), comment: None, rules }
}

fn accept(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule::new(matches, Verdict::Accept)
}

fn drop(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule::new(matches, Verdict::Drop)
}

/// Every form of a `bridge` table.
pub fn bridge() -> Ruleset {
    let mut table = Ruleset::bridge(name("nftpol"));
    let (v4, v6) = (Some(KeyAddressType::V4), Some(KeyAddressType::V6));
    let target = Some(KeyAddressType::Target);
    let types = |types: &[u8]| types.iter().copied().map(Element::Icmpv6Type).collect();
    table.sets = sets([
        ("own4", shape(true, true, v4), vec![key(Some(7), Some(MAC), Some("10.0.0.1"))]),
        ("own6", shape(true, true, v6), vec![key(Some(7), Some(MAC), Some("fd00::1"))]),
        ("targets", shape(true, true, target), vec![key(Some(7), Some(MAC), Some("fe80::1"))]),
        ("owned-targets", shape(false, false, target), vec![key(None, None, Some("::1"))]),
        ("speakers", shape(true, true, None), vec![key(Some(4_294_967), Some(MAC), None)]),
        ("ports", shape(true, false, None), vec![key(Some(7), None, None)]),
        ("macs", shape(false, true, None), vec![key(None, Some(MAC), None)]),
        ("owned4", SetType::Address(Family::V4), vec![Element::Address(address("10.0.0.1"))]),
        ("advert", SetType::Icmpv6Type, types(&[136])),
    ])
    .into_iter()
    .collect();
    let to = vec![
        accept([
            Match::EtherType(EtherType::Ipv4),
            by(OUT, Some(MacField::Destination), Some(KeyAddress::Destination(Family::V4)), "own4"),
        ]),
        drop([by(OUT, None, None, "ports")]),
    ];
    table.chains = [
        ("from", base(Hook::Prerouting, -310, from())),
        ("to", base(Hook::Postrouting, 310, to)),
        ("pass", base(Hook::Forward, 0, vec![drop([Match::PriorityTag(TagType::Dot1q)])])),
        ("in", base(Hook::Input, 0, vec![drop([Match::PriorityTag(TagType::Dot1ad)])])),
    ]
    .map(|(text, chain)| (name(text), std::sync::Arc::new(chain)))
    .into_iter()
    .collect();
    table
}

fn from() -> Vec<Rule> {
    let ether = |one| Match::EtherType(one);
    let advert = || Match::Icmpv6Type(name("advert"));
    let source = Some(MacField::Source);
    let arp_address = Some(KeyAddress::ArpSender);
    let unspecified = AddressTest::In(AddressRange::single(address("::")));
    vec![
        accept([ether(EtherType::Ipv4), by(IN, source, V4, "own4"), Match::NotProtocol(1)]),
        accept([ether(EtherType::Ipv6), by(IN, source, V6, "own6"), Match::NotProtocol(58)]),
        accept([
            ether(EtherType::Arp),
            by(IN, source, arp_address, "own4"),
            by(IN, Some(MacField::ArpSender), arp_address, "own4"),
        ]),
        drop([ether(EtherType::Arp), by(None, None, arp_address, "owned4")]),
        drop([by(IN, None, None, "ports")]),
        drop([by(None, source, None, "macs")]),
        drop([by(IN, source, None, "speakers")]),
        drop([Match::Address(Field::Source, AddressTest::Set(Family::V4, name("owned4")))]),
        // With a tag, too, unlike the next.
        drop([advert(), by(None, None, Some(KeyAddress::Target), "owned-targets")]),
        drop([ether(EtherType::Ipv6), advert()]),
        accept([
            Match::Address(Field::Source, unspecified),
            advert(),
            by(IN, source, Some(KeyAddress::Target), "targets"),
        ]),
        drop([Match::IcmpType(5)]),
        drop([Match::Family(Family::V4)]),
        drop([Match::Family(Family::V6), Match::IcmpType(5)]),
    ]
}

/// Every form of an `inet` table that [`super::every_form`] lacks.
pub fn inet() -> Ruleset {
    let mut table = Ruleset::new(name("nftpol"));
    let (v4, v6) = (Some(KeyAddressType::V4), Some(KeyAddressType::V6));
    table.sets = sets([
        (
            "ends4",
            SetType::AddressPair(Family::V4),
            vec![Element::AddressPair(address("10.0.0.1"), address("10.0.0.1"))],
        ),
        (
            "ends6",
            SetType::AddressPair(Family::V6),
            vec![Element::AddressPair(address("fd00::1"), address("fd00::1"))],
        ),
        ("owned4", SetType::Address(Family::V4), vec![Element::Address(address("10.0.0.1"))]),
        ("owned6", SetType::Address(Family::V6), vec![Element::Address(address("fd00::1"))]),
        ("own4", shape(true, false, v4), vec![key(Some(7), None, Some("10.0.0.1"))]),
        ("own6", shape(true, false, v6), vec![key(Some(7), None, Some("fd00::1"))]),
        ("ports", shape(true, false, None), vec![key(Some(7), None, None)]),
        ("nd", SetType::Icmpv6Type, vec![Element::Icmpv6Type(134)]),
    ])
    .into_iter()
    .collect();
    let to4 = Some(KeyAddress::Destination(Family::V4));
    let bind = vec![
        accept([by(IN, None, V4, "own4"), Match::NotProtocol(1)]),
        accept([by(IN, None, V6, "own6"), Match::NotProtocol(58)]),
        accept([by(OUT, None, to4, "own4")]),
        drop([by(IN, None, None, "ports"), Match::IcmpType(5)]),
        drop([by(IN, None, None, "ports"), Match::Icmpv6Type(name("nd"))]),
        accept([Match::FlowSource(FlowSide::Original, Family::V4, name("ends4"))]),
        accept([Match::FlowSource(FlowSide::Reply, Family::V6, name("ends6"))]),
        drop([Match::FlowOpener(Family::V4, name("owned4"))]),
        drop([Match::FlowOpener(Family::V6, name("owned6"))]),
        drop([Match::NotInit]),
        drop([Match::Port(Transport::Sctp, ruleset::PortRange(80, 80)), Match::NotInit]),
    ];
    table.chains = [
        ("bind", base(Hook::Prerouting, -310, bind)),
        (
            "input",
            base(
                Hook::Input,
                -1,
                vec![
                    drop([Match::Protocol(4)]),
                    drop([
                        Match::Port(Transport::Udp, ruleset::PortRange(80, 80)),
                        Match::CtTranslated,
                    ]),
                ],
            ),
        ),
        ("sent", base(Hook::Output, -1, vec![accept([Match::SourceIsLocal])])),
        ("late", base(Hook::Postrouting, 300, vec![drop([by(OUT, None, None, "ports")])])),
    ]
    .map(|(text, chain)| (name(text), std::sync::Arc::new(chain)))
    .into_iter()
    .collect();
    table
}
