//! Rules in our types, and the same rules in nftnl's expressions, written by hand
//! from nft(8)'s own form of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nftnl::expr::{
    Bitwise, Cmp, CmpOp, Icmpv6HeaderField, Lookup, NetworkHeaderField, Payload,
    TransportHeaderField,
};
use nftnl::nft_expr;
use nftnl::set::Set;
use nftnl::{ProtoFamily, Rule};
use ruleset::{
    AddressRange, AddressTest, CtStates, Family, Field, Match, PortRange, Rule as OurRule,
    Transport, Verdict,
};

use crate::writer::{SET_ID, name, table};

/// A rule, and its form in nftnl.
pub(crate) struct Case {
    pub(crate) rule: OurRule,
    pub(crate) build: Box<dyn FnOnce(&mut Rule<'_>)>,
}

/// What nftnl 0.9.4 cannot express. `is_compared` keeps the list of matches
/// complete.
pub(crate) const NOT_COMPARED: &[(&str, &str)] = &[
    ("NotToHost", "`meta pkttype` is missing in nftnl"),
    (
        "AddressPort, AddressPair, Ports, FlowSource, look-ups in stores, keys of several fields",
        "nftnl loads register 1 only; these need a second",
    ),
    ("SourceIsLocal", "nftnl has no `fib`"),
    ("FlowOpener", "nftnl's `ct` has no direction"),
    ("Dispatch", "nftnl's look-up takes no verdict from a map"),
    ("Log", "nftnl has neither `log` nor `limit` nor `dynset`"),
    ("maps and their entries", "nftnl's sets have no data"),
    ("AddressRange sets", "nftnl's elements have no flags, and so no end of an interval"),
    ("RateLimit sets", "nftnl's sets have neither timeout nor size"),
    ("comments of chains, sets and maps", "nftnl says user data of rules only"),
    ("DeleteTable, dormancy", "no operation of a batch"),
];

/// Whether the cases include this match. Add each new match here.
fn is_compared(test: &Match) -> bool {
    match test {
        Match::CtState(_)
        | Match::CtTranslated
        | Match::Family(_)
        | Match::HopLimit(_)
        | Match::Protocol(_)
        | Match::NotOpening
        | Match::Address(..)
        | Match::Port(..)
        | Match::SourcePort(..)
        | Match::Icmpv6Type(_)
        | Match::EtherType(_)
        | Match::PriorityTag(_)
        | Match::NotProtocol(_)
        | Match::IcmpType(_)
        | Match::NotInit => true,
        Match::NotToHost
        | Match::SourceIsLocal
        | Match::AddressPort(..)
        | Match::AddressPair(..)
        | Match::Ports(_)
        | Match::FlowSource(..)
        | Match::FlowOpener(..) => false,
        Match::Key(fields, _) => {
            let fields =
                [fields.interface.is_some(), fields.mac.is_some(), fields.address.is_some()];
            fields.into_iter().filter(|there| *there).count() == 1
        }
    }
}

pub(crate) fn lookup(rule: &mut Rule<'_>, set: &std::ffi::CStr) {
    let table = table();
    let set = Set::<Ipv4Addr>::new_named(set, SET_ID, &table, ProtoFamily::Inet);
    rule.add_expr(&Lookup::new(&set));
}

pub(crate) fn family(rule: &mut Rule<'_>, family: Family) {
    rule.add_expr(&nft_expr!(meta nfproto));
    match family {
        Family::V4 => rule.add_expr(&nft_expr!(cmp == 2_u8)),
        Family::V6 => rule.add_expr(&nft_expr!(cmp == 10_u8)),
    }
}

pub(crate) fn protocol(rule: &mut Rule<'_>, protocol: u8) {
    rule.add_expr(&nft_expr!(meta l4proto));
    rule.add_expr(&nft_expr!(cmp == protocol));
}

fn address(rule: &mut Rule<'_>, field: Field, family: Family) {
    match (field, family) {
        (Field::Source, Family::V4) => rule.add_expr(&nft_expr!(payload ipv4 saddr)),
        (Field::Destination, Family::V4) => rule.add_expr(&nft_expr!(payload ipv4 daddr)),
        (Field::Source, Family::V6) => rule.add_expr(&nft_expr!(payload ipv6 saddr)),
        (Field::Destination, Family::V6) => rule.add_expr(&nft_expr!(payload ipv6 daddr)),
    }
}

/// RFC 791, 3.1; RFC 8200, 3.
fn raw_address(rule: &mut Rule<'_>, field: Field, family: Family, bytes: u32) {
    let offset = match (field, family) {
        (Field::Source, Family::V4) => 12,
        (Field::Destination, Family::V4) => 16,
        (Field::Source, Family::V6) => 8,
        (Field::Destination, Family::V6) => 24,
    };
    // nftnl calls them bits, but passes them to the kernel, which expects bytes.
    let raw = NetworkHeaderField::Raw { offset_bits: offset, length_bits: bytes };
    rule.add_expr(&Payload::Network(raw));
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(crate) fn accept(tests: Vec<Match>, build: impl FnOnce(&mut Rule<'_>) + 'static) -> Case {
    assert!(tests.iter().all(is_compared));
    let build = Box::new(|rule: &mut Rule<'_>| {
        build(rule);
        rule.add_expr(&nft_expr!(verdict accept));
    });
    Case { rule: OurRule::new(tests, Verdict::Accept), build }
}

/// Every prefix of an address.
fn prefixes(field: Field, first: IpAddr, cases: &mut Vec<Case>) {
    let (bits, of) = if first.is_ipv4() { (32, Family::V4) } else { (128, Family::V6) };
    for length in 0..=bits {
        let mask: Vec<u8> = (0..bits / 8)
            .map(|byte| (0..8).fold(0, |mask, bit| mask << 1 | u8::from(byte * 8 + bit < length)))
            .collect();
        let ends = |host: u8| -> Vec<u8> {
            octets(first).iter().zip(&mask).map(|(one, mask)| one & mask | host & !mask).collect()
        };
        let range = AddressRange::new(from_octets(&ends(0)), from_octets(&ends(0xff)));
        let test = Match::Address(field, AddressTest::In(range.expect("a prefix")));
        let start = ends(0);
        cases.push(accept(vec![test], move |rule| {
            family(rule, of);
            if length == bits {
                address(rule, field, of);
                rule.add_expr(&Cmp::new(CmpOp::Eq, &start[..]));
            } else if length % 8 == 0 && length > 0 {
                raw_address(rule, field, of, length / 8);
                rule.add_expr(&Cmp::new(CmpOp::Eq, &start[..length as usize / 8]));
            } else {
                address(rule, field, of);
                rule.add_expr(&Bitwise::new(&mask[..], &vec![0_u8; mask.len()][..]));
                rule.add_expr(&Cmp::new(CmpOp::Eq, &start[..]));
            }
        }));
    }
}

fn from_octets(octets: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(octets) {
        Ok(octets) => Ipv4Addr::from(octets).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(octets).expect("16 bytes")).into(),
    }
}

fn addresses(cases: &mut Vec<Case>) {
    let v4: IpAddr = "203.170.85.129".parse().expect("an address");
    let v6: IpAddr = "fdaa:5581:ff00:1234:5678:9abc:def0:8181".parse().expect("an address");
    for field in [Field::Source, Field::Destination] {
        prefixes(field, v4, cases);
        prefixes(field, v6, cases);
        for (first, last, of) in
            [("10.0.0.5", "10.0.0.7", Family::V4), ("fd00::5", "fd00::1:7", Family::V6)]
        {
            let [first, last]: [IpAddr; 2] = [first, last].map(|one| one.parse().expect("address"));
            let range = AddressRange::new(first, last).expect("a range");
            let test = Match::Address(field, AddressTest::In(range));
            cases.push(accept(vec![test], move |rule| {
                family(rule, of);
                address(rule, field, of);
                rule.add_expr(&Cmp::new(CmpOp::Gte, first));
                rule.add_expr(&Cmp::new(CmpOp::Lte, last));
            }));
        }
        for of in [Family::V4, Family::V6] {
            let test = Match::Address(field, AddressTest::Set(of, name("peers")));
            cases.push(accept(vec![test], move |rule| {
                family(rule, of);
                address(rule, field, of);
                lookup(rule, c"peers");
            }));
        }
    }
}

/// The destination port of any protocol.
fn load_port(rule: &mut Rule<'_>, transport: Transport) {
    match transport {
        Transport::Tcp => rule.add_expr(&nft_expr!(payload tcp dport)),
        Transport::Udp => rule.add_expr(&nft_expr!(payload udp dport)),
        Transport::Sctp => {
            // RFC 9260, 3.1.
            let raw = TransportHeaderField::Raw { offset_bits: 2, length_bits: 2 };
            rule.add_expr(&Payload::Transport(raw));
        }
    }
}

fn load_source_port(rule: &mut Rule<'_>, transport: Transport) {
    match transport {
        Transport::Tcp => rule.add_expr(&nft_expr!(payload tcp sport)),
        Transport::Udp => rule.add_expr(&nft_expr!(payload udp sport)),
        Transport::Sctp => {
            // RFC 9260, 3.1.
            let raw = TransportHeaderField::Raw { offset_bits: 0, length_bits: 2 };
            rule.add_expr(&Payload::Transport(raw));
        }
    }
}

fn ports(cases: &mut Vec<Case>) {
    for (transport, number) in [(Transport::Tcp, 6), (Transport::Udp, 17), (Transport::Sctp, 132)] {
        cases.push(accept(vec![Match::Protocol(number)], move |rule| protocol(rule, number)));
        for (first, last) in [(0, 0), (80, 80), (65535, 65535), (0, 65535), (8000, 8100)] {
            let test = Match::Port(transport, PortRange(first, last));
            cases.push(accept(vec![test], move |rule| {
                protocol(rule, number);
                load_port(rule, transport);
                if first == last {
                    rule.add_expr(&Cmp::new(CmpOp::Eq, u16::to_be(first)));
                } else {
                    rule.add_expr(&Cmp::new(CmpOp::Gte, u16::to_be(first)));
                    rule.add_expr(&Cmp::new(CmpOp::Lte, u16::to_be(last)));
                }
            }));
        }
        cases.push(accept(vec![Match::SourcePort(transport, 8472)], move |rule| {
            protocol(rule, number);
            load_source_port(rule, transport);
            rule.add_expr(&Cmp::new(CmpOp::Eq, u16::to_be(8472)));
        }));
    }
}

fn others(cases: &mut Vec<Case>) {
    // NF_CT_STATE_BIT: established 2, related 4.
    for (established, related, bits) in [(true, true, 6_u32), (true, false, 2), (false, true, 4)] {
        let test = Match::CtState(CtStates { established, related });
        cases.push(accept(vec![test], move |rule| {
            rule.add_expr(&nft_expr!(ct state));
            rule.add_expr(&nft_expr!(bitwise mask bits, xor 0_u32));
            rule.add_expr(&nft_expr!(cmp != 0_u32));
        }));
    }
    // IPS_DST_NAT is bit 5.
    cases.push(accept(vec![Match::CtTranslated], |rule| {
        rule.add_expr(&nft_expr!(ct status));
        rule.add_expr(&nft_expr!(bitwise mask 32_u32, xor 0_u32));
        rule.add_expr(&nft_expr!(cmp != 0_u32));
    }));
    for of in [Family::V4, Family::V6] {
        cases.push(accept(vec![Match::Family(of)], move |rule| family(rule, of)));
    }
    for hops in [64_u8, 255] {
        cases.push(accept(vec![Match::HopLimit(hops)], move |rule| {
            family(rule, Family::V6);
            rule.add_expr(&nft_expr!(payload ipv6 hoplimit));
            rule.add_expr(&nft_expr!(cmp == hops));
        }));
    }
    // RFC 9293, 3.1: flags in byte 13; FIN 1, SYN 2, RST 4, ACK 16.
    cases.push(accept(vec![Match::NotOpening], |rule| {
        protocol(rule, 6);
        let raw = TransportHeaderField::Raw { offset_bits: 13, length_bits: 1 };
        rule.add_expr(&Payload::Transport(raw));
        rule.add_expr(&nft_expr!(bitwise mask 0x17_u8, xor 0_u8));
        rule.add_expr(&nft_expr!(cmp != 2_u8));
    }));
    cases.push(accept(vec![Match::Icmpv6Type(name("nd"))], |rule| {
        family(rule, Family::V6);
        protocol(rule, 58);
        let field = TransportHeaderField::Icmpv6(Icmpv6HeaderField::Type);
        rule.add_expr(&Payload::Transport(field));
        lookup(rule, c"nd");
    }));
    let tests = vec![
        Match::Address(Field::Source, AddressTest::Set(Family::V4, name("peers"))),
        Match::Port(Transport::Tcp, PortRange(443, 443)),
    ];
    let mut both = accept(tests, |rule| {
        family(rule, Family::V4);
        address(rule, Field::Source, Family::V4);
        lookup(rule, c"peers");
        protocol(rule, 6);
        load_port(rule, Transport::Tcp);
        rule.add_expr(&Cmp::new(CmpOp::Eq, u16::to_be(443)));
    });
    both.rule = both.rule.commented("dev/web: spec.ingress[0]");
    cases.push(both);
}

fn verdicts(cases: &mut Vec<Case>) {
    let mut end = |verdict, build: fn(&mut Rule<'_>)| {
        cases.push(Case { rule: OurRule::new([], verdict), build: Box::new(build) });
    };
    end(Verdict::Accept, |rule| rule.add_expr(&nft_expr!(verdict accept)));
    end(Verdict::Drop, |rule| rule.add_expr(&nft_expr!(verdict drop)));
    end(Verdict::Return, |rule| rule.add_expr(&nft_expr!(verdict return)));
    end(Verdict::Jump(name("to")), |rule| rule.add_expr(&nft_expr!(verdict jump c"to".to_owned())));
    end(Verdict::Goto(name("to")), |rule| rule.add_expr(&nft_expr!(verdict goto c"to".to_owned())));
}

/// Every rule that nftnl can express.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    verdicts(&mut cases);
    others(&mut cases);
    ports(&mut cases);
    addresses(&mut cases);
    cases
}
