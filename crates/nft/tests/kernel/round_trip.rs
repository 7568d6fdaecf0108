//! Our messages and nft(8)'s messages from the same text give the kernel the same
//! table. Both read back unchanged.

use std::net::IpAddr;

use crate::namespace::{name, table};
use crate::samples;
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Comment, CtStates, Element, Family, Field, Finish,
    Log, LogPrefix, Match, Name, PortRange, Rule, Ruleset, Set, SetType, Store, Tag, Transport,
    Verdict, VerdictMap,
};

use Family::{V4, V6};
use Field::{Destination, Source};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange::new(ip(first), ip(last)).expect("a range")
}

/// Sets of every type, and maps, with their text.
fn sets() -> (Ruleset, &'static str) {
    let mut all = Ruleset::of(table());
    let mut set = |text: &str, set_type, elements: Vec<Element>| {
        let comment = Some(Comment::new(&format!("the set {text}")));
        all.sets.insert(name(text), Set::new(set_type, comment).with(elements));
    };
    let addresses = |list: &[&str]| list.iter().map(|one| Element::Address(ip(one))).collect();
    let ranges = |list: &[(&str, &str)]| {
        list.iter().map(|(first, last)| Element::Range(range(first, last))).collect()
    };
    set("a4", SetType::Address(V4), addresses(&["10.0.0.1", "255.255.255.255", "0.0.0.0"]));
    set("a6", SetType::Address(V6), addresses(&["fd00::1", "::"]));
    let v4 = [
        ("10.0.0.0", "10.255.255.255"),
        ("192.168.0.1", "192.168.0.1"),
        ("192.168.1.3", "192.168.1.7"),
        ("224.0.0.0", "255.255.255.255"),
    ];
    set("c4", SetType::AddressRange(V4), ranges(&v4));
    set("all4", SetType::AddressRange(V4), ranges(&[("0.0.0.0", "255.255.255.255")]));
    let v6 = [("::1", "::1"), ("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")];
    set("c6", SetType::AddressRange(V6), ranges(&v6));
    set("named4", SetType::AddressPort(V4), vec![Element::AddressPort(ip("10.0.0.1"), 8080)]);
    set("named6", SetType::AddressPort(V6), vec![Element::AddressPort(ip("fd00::1"), 1)]);
    let pair = Element::AddressPair(ip("10.0.0.1"), ip("10.0.0.2"));
    set("self4", SetType::AddressPair(V4), vec![pair]);
    let pair = Element::AddressPair(ip("fd00::1"), ip("fd00::2"));
    set("self6", SetType::AddressPair(V6), vec![pair]);
    let sctp = Element::ProtocolPort(Transport::Sctp, 1);
    set("mixed", SetType::ProtocolPort, vec![Element::ProtocolPort(Transport::Tcp, 80), sctp]);
    set("nd", SetType::Icmpv6Type, (133..=137).map(Element::Icmpv6Type).collect());
    set("logged4", SetType::RateLimit(V4), vec![]);
    set("logged6", SetType::RateLimit(V6), vec![]);
    all.sets.extend(Store::all());
    let mut stored = |store: Store, tag, elements: &[Element]| {
        let set = Set::new(store.stores(), None).with(elements.iter().copied());
        all.sets.insert(Name::in_store(store, Tag::new(tag)), set);
    };
    let address = |text: &str| Element::Address(ip(text));
    stored(Store::Addresses(V4), 0, &[address("10.0.0.1")]);
    stored(Store::Addresses(V4), TAG, &[address("10.0.0.1"), address("0.0.0.0")]);
    stored(Store::Addresses(V6), u128::MAX, &[address("fd00::1"), address("::")]);
    stored(Store::AddressPorts(V4), TAG, &[Element::AddressPort(ip("10.0.0.1"), 8080)]);
    stored(Store::AddressPorts(V6), 1, &[Element::AddressPort(ip("fd00::1"), 1)]);
    let ports =
        [Element::ProtocolPort(Transport::Tcp, 53), Element::ProtocolPort(Transport::Udp, 53)];
    stored(Store::Ports, TAG, &ports);
    stored(Store::Ports, 7, &[]); // a rule asks it
    let mut map = |text: &str, family, key: &str| {
        let mut map = VerdictMap::new(family, Some(Comment::new("pods")));
        map.entries.insert(ip(key), name("e.one"));
        all.maps.insert(name(text), map);
    };
    map("egress4", V4, "10.0.0.1");
    map("egress6", V6, "fd00::1");
    let chain = Chain { comment: Some(Comment::new("a signature")), ..Chain::default() };
    all.chains.insert(name("e.one"), chain.into());
    (all, SETS)
}

const SETS: &str = r#"
    set a4 { type ipv4_addr; comment "the set a4"; elements = { 10.0.0.1, 255.255.255.255, 0.0.0.0 }; }
    set a6 { type ipv6_addr; comment "the set a6"; elements = { fd00::1, :: }; }
    set c4 { type ipv4_addr; flags interval; comment "the set c4";
        elements = { 10.0.0.0/8, 192.168.0.1, 192.168.1.3-192.168.1.7, 224.0.0.0-255.255.255.255 }; }
    set all4 { type ipv4_addr; flags interval; comment "the set all4"; elements = { 0.0.0.0/0 }; }
    set c6 { type ipv6_addr; flags interval; comment "the set c6"; elements = { ::1, fd00::/8 }; }
    set named4 { type ipv4_addr . inet_service; comment "the set named4"; elements = { 10.0.0.1 . 8080 }; }
    set named6 { type ipv6_addr . inet_service; comment "the set named6"; elements = { fd00::1 . 1 }; }
    set mixed { type inet_proto . inet_service; comment "the set mixed"; elements = { tcp . 80, sctp . 1 }; }
    set p4 { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip saddr; elements = { 0x0 . 0x0 . 0x0 . 10.0.0.1,
        0x01234567 . 0x89abcdef . 0x01234567 . 10.0.0.1, 0x01234567 . 0x89abcdef . 0x01234567 . 0.0.0.0 }; }
    set p6 { typeof @nh,0,32 . @nh,0,32 . @nh,0,32 . ip6 saddr; elements = { 0xffffffff . 0xffffffff . 0xffffffff . fd00::1,
        0xffffffff . 0xffffffff . 0xffffffff . :: }; }
    set n4 { typeof @nh,0,64 . @nh,0,32 . ip saddr . th dport;
        elements = { 0x0123456789abcdef . 0x01234567 . 10.0.0.1 . 8080 }; }
    set n6 { typeof @nh,0,64 . @nh,0,32 . ip6 saddr . th dport; elements = { 0x0 . 0x1 . fd00::1 . 1 }; }
    set t { typeof @nh,0,64 . @nh,0,32 . meta l4proto . th dport; elements = {
        0x0123456789abcdef . 0x01234567 . tcp . 53, 0x0123456789abcdef . 0x01234567 . udp . 53 }; }
    set self4 { type ipv4_addr . ipv4_addr; comment "the set self4"; elements = { 10.0.0.1 . 10.0.0.2 }; }
    set self6 { type ipv6_addr . ipv6_addr; comment "the set self6"; elements = { fd00::1 . fd00::2 }; }
    set nd { type icmpv6_type; comment "the set nd"; elements = { 133, 134, 135, 136, 137 }; }
    set logged4 { type ipv4_addr; comment "the set logged4"; size 65535; flags dynamic,timeout; timeout 1m; }
    set logged6 { type ipv6_addr; comment "the set logged6"; size 65535; flags dynamic,timeout; timeout 1m; }
    map egress4 { type ipv4_addr : verdict; comment "pods"; elements = { 10.0.0.1 : goto e.one }; }
    map egress6 { type ipv6_addr : verdict; comment "pods"; elements = { fd00::1 : goto e.one }; }
    chain e.one { comment "a signature"; }
"#;

/// A tag with a leading zero.
const TAG: u128 = 0x0123_4567_89ab_cdef_0123_4567;

fn in_stored(field: Field, family: Family, tag: u128) -> Match {
    let set = Name::in_store(Store::Addresses(family), Tag::new(tag));
    Match::Address(field, AddressTest::Set(family, set))
}

/// Each form of match, verdict and statement, with nft's text of it.
fn rules() -> Vec<(Rule, &'static str)> {
    let accept = |test: Match| Rule::new([test], Verdict::Accept);
    let within = |field, first: &str, last: &str| {
        accept(Match::Address(field, AddressTest::In(range(first, last))))
    };
    let in_set = |field, family, set: &str| {
        accept(Match::Address(field, AddressTest::Set(family, name(set))))
    };
    let port = |transport, first, last| accept(Match::Port(transport, PortRange(first, last)));
    let states = |established, related| Match::CtState(CtStates { established, related });
    let end = |verdict| Rule::new([], verdict);
    let dispatch = |field, family, map: &str| Rule {
        matches: vec![],
        log: None,
        finish: Some(Finish::Dispatch(field, family, name(map))),
        comment: None,
    };
    let log = |field, family, set: &str, finish| Rule {
        matches: vec![],
        log: Some(Log {
            field,
            family,
            set: name(set),
            per_second: 10,
            prefix: LogPrefix::new("signature "),
            group: 100,
        }),
        finish,
        comment: Some(Comment::new("denied")),
    };
    let tcp_port = |port| Match::Port(Transport::Tcp, PortRange(port, port));
    vec![
        (end(Verdict::Accept), "accept"),
        (end(Verdict::Drop), "drop"),
        (end(Verdict::Return), "return"),
        (end(Verdict::Jump(name("target"))), "jump target"),
        (end(Verdict::Goto(name("target"))), "goto target"),
        (accept(states(true, true)), "ct state established,related accept"),
        (accept(states(true, false)), "ct state established accept"),
        (accept(states(false, true)), "ct state related accept"),
        (
            Rule::new([Match::NotToHost], Verdict::Jump(name("target"))),
            "meta pkttype != host jump target",
        ),
        (accept(Match::Family(V4)), "meta nfproto ipv4 accept"),
        (
            Rule::new([Match::Family(V6)], Verdict::Goto(name("target"))),
            "meta nfproto ipv6 goto target",
        ),
        (accept(Match::Protocol(6)), "meta l4proto tcp accept"),
        (accept(Match::Protocol(132)), "meta l4proto sctp accept"),
        (within(Source, "10.0.0.1", "10.0.0.1"), "ip saddr 10.0.0.1 accept"),
        (within(Destination, "10.0.0.0", "10.255.255.255"), "ip daddr 10.0.0.0/8 accept"),
        (within(Source, "10.1.0.0", "10.1.255.255"), "ip saddr 10.1.0.0/16 accept"),
        (within(Source, "10.1.1.0", "10.1.1.255"), "ip saddr 10.1.1.0/24 accept"),
        (within(Source, "10.0.0.0", "10.15.255.255"), "ip saddr 10.0.0.0/12 accept"),
        (within(Source, "10.0.0.0", "10.0.0.1"), "ip saddr 10.0.0.0/31 accept"),
        (within(Source, "0.0.0.0", "255.255.255.255"), "ip saddr 0.0.0.0/0 accept"),
        (within(Source, "10.0.0.5", "10.0.0.7"), "ip saddr 10.0.0.5-10.0.0.7 accept"),
        (
            within(Source, "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            "ip6 saddr fe80::/10 accept",
        ),
        (within(Destination, "fd00::", "fd00::ffff:ffff:ffff:ffff"), "ip6 daddr fd00::/64 accept"),
        (within(Destination, "fd00::5", "fd00::5"), "ip6 daddr fd00::5 accept"),
        (within(Destination, "fd00::5", "fd00::7"), "ip6 daddr fd00::5-fd00::7 accept"),
        (in_set(Source, V4, "a4"), "ip saddr @a4 accept"),
        (in_set(Destination, V4, "c4"), "ip daddr @c4 accept"),
        (in_set(Source, V6, "a6"), "ip6 saddr @a6 accept"),
        (in_set(Destination, V6, "c6"), "ip6 daddr @c6 accept"),
        (port(Transport::Tcp, 80, 80), "tcp dport 80 accept"),
        (port(Transport::Udp, 8000, 8100), "udp dport 8000-8100 accept"),
        (port(Transport::Sctp, 0, 0), "sctp dport 0 accept"),
        (port(Transport::Tcp, 0, 65535), "tcp dport 0-65535 accept"),
        (port(Transport::Tcp, 0, 100), "tcp dport 0-100 accept"),
        (port(Transport::Tcp, 1024, 65535), "tcp dport 1024-65535 accept"),
        (
            accept(Match::AddressPort(Destination, V4, Transport::Tcp, name("named4"))),
            "ip daddr . tcp dport @named4 accept",
        ),
        (
            accept(Match::AddressPort(Source, V6, Transport::Udp, name("named6"))),
            "ip6 saddr . udp dport @named6 accept",
        ),
        (accept(Match::Ports(name("mixed"))), "meta l4proto . th dport @mixed accept"),
        (
            accept(in_stored(Destination, V4, TAG)),
            "@nh,0,32 & 0x01234567 | 0x01234567 . @nh,0,32 & 0x89abcdef | 0x89abcdef . @nh,0,32 & 0x01234567 | 0x01234567 . ip daddr @p4 accept",
        ),
        (
            accept(in_stored(Source, V6, u128::MAX)),
            "@nh,0,32 & 0xffffffff | 0xffffffff . @nh,0,32 & 0xffffffff | 0xffffffff . @nh,0,32 & 0xffffffff | 0xffffffff . ip6 saddr @p6 accept",
        ),
        (
            accept(in_stored(Source, V4, 0)),
            "@nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x0 | 0x0 . @nh,0,32 & 0x0 | 0x0 . ip saddr @p4 accept",
        ),
        (
            accept(Match::AddressPort(
                Destination,
                V4,
                Transport::Tcp,
                Name::in_store(Store::AddressPorts(V4), Tag::new(TAG)),
            )),
            "@nh,0,64 & 0x0123456789abcdef | 0x0123456789abcdef . @nh,0,32 & 0x01234567 | 0x01234567 . ip daddr . tcp dport @n4 accept",
        ),
        (
            accept(Match::AddressPort(
                Source,
                V6,
                Transport::Udp,
                Name::in_store(Store::AddressPorts(V6), Tag::new(1)),
            )),
            "@nh,0,64 & 0x0 | 0x0 . @nh,0,32 & 0x1 | 0x1 . ip6 saddr . udp dport @n6 accept",
        ),
        (
            Rule::new(
                [
                    in_stored(Destination, V4, TAG),
                    Match::Ports(Name::in_store(Store::Ports, Tag::new(7))),
                ],
                Verdict::Return,
            )
            .commented("two stored sets"),
            "@nh,0,32 & 0x01234567 | 0x01234567 . @nh,0,32 & 0x89abcdef | 0x89abcdef . @nh,0,32 & 0x01234567 | 0x01234567 . ip daddr @p4 \
             @nh,0,64 & 0x0 | 0x0 . @nh,0,32 & 0x7 | 0x7 . meta l4proto . th dport @t return comment \"two stored sets\"",
        ),
        (accept(Match::AddressPair(V4, name("self4"))), "ip saddr . ip daddr @self4 accept"),
        (accept(Match::AddressPair(V6, name("self6"))), "ip6 saddr . ip6 daddr @self6 accept"),
        (accept(Match::NotOpening), "tcp flags != syn / fin,syn,rst,ack accept"),
        (
            Rule::new([Match::NotOpening, tcp_port(80)], Verdict::Drop),
            "tcp flags & (fin|syn|rst|ack) != syn tcp dport 80 drop",
        ),
        (accept(Match::HopLimit(64)), "ip6 hoplimit 64 accept"),
        (accept(Match::Icmpv6Type(name("nd"))), "icmpv6 type @nd accept"),
        (
            Rule::new([Match::HopLimit(255), Match::Icmpv6Type(name("nd"))], Verdict::Accept),
            "ip6 hoplimit 255 icmpv6 type @nd accept",
        ),
        (
            Rule::new(
                [
                    Match::Icmpv6Type(name("nd")),
                    Match::HopLimit(255),
                    Match::Address(Source, AddressTest::In(range("fd00::5", "fd00::5"))),
                ],
                Verdict::Accept,
            ),
            "icmpv6 type @nd ip6 hoplimit 255 ip6 saddr fd00::5 accept",
        ),
        (dispatch(Source, V4, "egress4"), "ip saddr vmap @egress4"),
        (dispatch(Destination, V6, "egress6"), "ip6 daddr vmap @egress6"),
        (
            log(Source, V4, "logged4", None),
            r#"update @logged4 { ip saddr counter limit rate 10/second burst 5 packets } log prefix "signature " group 100 comment "denied""#,
        ),
        (
            log(Destination, V6, "logged6", Some(Finish::Verdict(Verdict::Drop))),
            r#"update @logged6 { ip6 daddr counter limit rate 10/second burst 5 packets } log prefix "signature " group 100 drop comment "denied""#,
        ),
        (
            Rule::new(
                [Match::Address(Destination, AddressTest::Set(V4, name("a4"))), tcp_port(80)],
                Verdict::Return,
            )
            .commented("two implied tests"),
            r#"ip daddr @a4 tcp dport 80 return comment "two implied tests""#,
        ),
        (
            Rule::new(
                [tcp_port(80), Match::Address(Source, AddressTest::Set(V6, name("a6")))],
                Verdict::Drop,
            ),
            "tcp dport 80 ip6 saddr @a6 drop",
        ),
        (
            Rule::new(
                [
                    Match::Address(Source, AddressTest::Set(V4, name("a4"))),
                    Match::Address(Destination, AddressTest::In(range("10.0.0.0", "10.0.0.255"))),
                    Match::Protocol(17),
                    states(true, false),
                ],
                Verdict::Accept,
            ),
            "ip saddr @a4 ip daddr 10.0.0.0/24 meta l4proto udp ct state established accept",
        ),
        (
            Rule::new(
                [
                    Match::AddressPair(V4, name("self4")),
                    Match::Address(Destination, AddressTest::Set(V4, name("a4"))),
                ],
                Verdict::Accept,
            ),
            "ip saddr . ip daddr @self4 ip daddr @a4 accept",
        ),
        (Rule { finish: None, ..accept(Match::Family(V4)) }, "meta nfproto ipv4"),
    ]
}

/// The table of [`sets`] with one chain for each of [`rules`].
fn everything() -> (Ruleset, String) {
    let (mut all, mut text) = sets();
    let mut body = std::mem::take(&mut text).to_owned();
    all.chains.insert(name("target"), Chain::default().into());
    body.push_str("chain target { }\n");
    for (number, (rule, line)) in rules().into_iter().enumerate() {
        let chain = Chain { rules: vec![rule], ..Chain::default() };
        all.chains.insert(name(&format!("c{number:02}")), chain.into());
        body.push_str(&format!("chain c{number:02} {{\n{line}\n}}\n"));
    }
    for (chain, priority) in [("forward", -1), ("late", 10), ("early", -2_000_000)] {
        let base = Some(BaseChain::forward(priority));
        let rules =
            vec![Rule::new([Match::NotToHost], Verdict::Accept), Rule::new([], Verdict::Drop)];
        all.chains.insert(
            name(chain),
            Chain { base, rules, comment: Some(Comment::new("hooked")) }.into(),
        );
        body.push_str(&format!(
            "chain {chain} {{ type filter hook forward priority {priority}; policy accept; comment \"hooked\";\n\
             meta pkttype != host accept\ndrop\n}}\n"
        ));
    }
    (all, format!("table inet nftpol {{\n{body}\n}}\n"))
}

#[test]
fn what_we_send_reads_back() {
    samples::what_we_send_reads_back(&everything().0);
}

#[test]
fn what_nft_sends_reads_back() {
    let (all, text) = everything();
    samples::what_nft_sends_reads_back(&all, &text);
}

#[test]
fn nft_sees_no_difference() {
    let (all, text) = everything();
    samples::nft_sees_no_difference(&all, &text);
}
