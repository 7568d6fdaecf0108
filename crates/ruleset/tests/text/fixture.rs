//! A table that uses every form of the IR once.

use std::net::IpAddr;

use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Comment, CtStates, Element, Family, Field, Finish,
    Log, LogPrefix, Match, Name, PortRange, Rule, Ruleset, Set, SetType, Store, Tag, Transport,
    Verdict, VerdictMap,
};

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange::new(address(first), address(last)).unwrap()
}

pub fn every_form() -> Ruleset {
    let mut table = Ruleset::new(name("nftpol"));
    table.sets = sets().into();
    table.maps = [
        map("egress4", Family::V4, &[("10.0.0.1", "e.x"), ("10.0.0.2", "e.y/z-1.w")]),
        map("ingress6", Family::V6, &[("fd00::1", "i.x")]),
        map("empty6", Family::V6, &[]),
    ]
    .into_iter()
    .collect();
    table.chains = [
        (name("forward"), forward()),
        (name("egress4"), dispatch(Field::Source, Family::V4, "egress4")),
        (name("ingress6"), dispatch(Field::Destination, Family::V6, "ingress6")),
        (name("e.x"), commented("egress: dev/web", by_address())),
        (name("e.y/z-1.w"), Chain { rules: by_port(), ..Chain::default() }),
        (name("i.x"), commented("\"quotes\", \\ and\nlines; é $x {", logging())),
        (name("unknown"), Chain::default()),
        (name("edges"), commented("", vec![drop_all()])),
        (name("six"), Chain { rules: six(), ..Chain::default() }),
    ]
    .into_iter()
    .map(|(name, chain)| (name, std::sync::Arc::new(chain)))
    .collect();
    table
}

fn sets() -> std::collections::BTreeMap<Name, Set> {
    let many = (0..40).map(|last| Element::Address(address(&format!("10.0.1.{last}"))));
    let v4 = [
        Element::Range(AddressRange::single(address("9.9.9.9"))),
        Element::Range(range("10.0.0.0", "10.255.255.255")),
        Element::Range(range("192.0.2.1", "192.0.2.9")),
        Element::Range(range("255.255.255.0", "255.255.255.255")),
    ];
    let pair = |a: &str, b: &str| Element::AddressPair(address(a), address(b));
    [
        set("p4.web", SetType::Address(Family::V4), Some("pods app=web")).with_all(many),
        set("p6.web", SetType::Address(Family::V6), None)
            .with_all([Element::Address(address("fd00::7"))]),
        set("empty", SetType::Address(Family::V4), None),
        set("c4.some", SetType::AddressRange(Family::V4), Some("blocks")).with_all(v4),
        set("c4.all", SetType::AddressRange(Family::V4), None)
            .with_all([Element::Range(range("0.0.0.0", "255.255.255.255"))]),
        set("c6.all", SetType::AddressRange(Family::V6), None)
            .with_all([Element::Range(range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))]),
        set("n4.http", SetType::AddressPort(Family::V4), None)
            .with_all([Element::AddressPort(address("10.0.0.1"), 80)]),
        set("n6.http", SetType::AddressPort(Family::V6), None)
            .with_all([Element::AddressPort(address("fd00::1"), 80)]),
        set("self4", SetType::AddressPair(Family::V4), None)
            .with_all([pair("10.0.0.1", "10.0.0.1")]),
        set("self6", SetType::AddressPair(Family::V6), None).with_all([pair("fd00::1", "fd00::1")]),
        set("mixed", SetType::ProtocolPort, Some("ports")).with_all([
            Element::ProtocolPort(Transport::Tcp, 80),
            Element::ProtocolPort(Transport::Sctp, 0),
        ]),
        set("nd", SetType::Icmpv6Type, Some("neighbour discovery"))
            .with_all([Element::Icmpv6Type(133), Element::Icmpv6Type(255)]),
        set("logged4", SetType::RateLimit(Family::V4), Some("log limits")),
        set("logged6", SetType::RateLimit(Family::V6), None),
    ]
    .into_iter()
    .chain(Store::all())
    .chain(stored())
    .collect()
}

/// Stored sets. They have no comment.
fn stored() -> Vec<(Name, Set)> {
    let one = |store: Store, tag, elements: Vec<Element>| {
        (Name::in_store(store, Tag::new(tag)), Set::new(store.stores(), None).with(elements))
    };
    let web = (0..3).map(|last| Element::Address(address(&format!("10.0.2.{last}"))));
    vec![
        one(Store::Addresses(Family::V4), FIRST, web.clone().collect()),
        one(Store::Addresses(Family::V4), SECOND, web.take(1).collect()),
        one(Store::Addresses(Family::V6), FIRST, vec![]),
        one(
            Store::AddressPorts(Family::V4),
            FIRST,
            vec![Element::AddressPort(address("10.0.0.1"), 80)],
        ),
        one(
            Store::AddressPorts(Family::V6),
            SECOND,
            vec![Element::AddressPort(address("fd00::1"), 80)],
        ),
        one(
            Store::Ports,
            FIRST,
            vec![
                Element::ProtocolPort(Transport::Tcp, 53),
                Element::ProtocolPort(Transport::Udp, 53),
            ],
        ),
    ]
}

/// Tags of stored sets.
const FIRST: u128 = 0x0123_4567_89ab_cdef_0123_4567;
const SECOND: u128 = 0xfedc_ba98_7654_3210_fedc_ba98;

trait WithAll {
    fn with_all(self, elements: impl IntoIterator<Item = Element>) -> Self;
}

impl WithAll for (Name, Set) {
    fn with_all(self, elements: impl IntoIterator<Item = Element>) -> Self {
        (self.0, self.1.with(elements))
    }
}

fn set(text: &str, set_type: SetType, comment: Option<&str>) -> (Name, Set) {
    (name(text), Set::new(set_type, comment.map(Comment::new)))
}

fn map(text: &str, family: Family, entries: &[(&str, &str)]) -> (Name, VerdictMap) {
    let mut map = VerdictMap::new(family, Some(Comment::new("who goes where")));
    map.entries = entries.iter().map(|&(key, chain)| (address(key), name(chain))).collect();
    (name(text), map)
}

fn commented(comment: &str, rules: Vec<Rule>) -> Chain {
    Chain { base: None, comment: Some(Comment::new(comment)), rules }
}

fn drop_all() -> Rule {
    Rule::new([], Verdict::Drop)
}

fn in_set(field: Field, family: Family, set: &str) -> Match {
    Match::Address(field, AddressTest::Set(family, name(set)))
}

fn forward() -> Chain {
    let states = |established, related| Match::CtState(CtStates { established, related });
    Chain {
        base: Some(BaseChain::forward(-1)),
        comment: Some(Comment::new("where packets enter")),
        rules: vec![
            Rule::new([states(true, true)], Verdict::Accept).commented("replies"),
            Rule::new([states(true, false)], Verdict::Accept),
            Rule::new([states(false, true)], Verdict::Accept),
            Rule::new([states(false, false)], Verdict::Accept),
            Rule::new([Match::NotToHost], Verdict::Jump(name("edges"))),
            Rule::new(
                [in_set(Field::Source, Family::V4, "p4.web")],
                Verdict::Jump(name("egress4")),
            ),
            Rule::new([Match::Family(Family::V6)], Verdict::Goto(name("six"))),
            Rule::new([Match::Family(Family::V4)], Verdict::Jump(name("unknown"))),
        ],
    }
}

fn dispatch(field: Field, family: Family, map: &str) -> Chain {
    let look_up = Rule {
        matches: vec![],
        log: None,
        finish: Some(Finish::Dispatch(field, family, name(map))),
        comment: Some(Comment::new("a miss drops")),
    };
    Chain { rules: vec![look_up, drop_all()], ..Chain::default() }
}

fn by_address() -> Vec<Rule> {
    let inline =
        |field, first: &str, last: &str| Match::Address(field, AddressTest::In(range(first, last)));
    let rule = |condition| Rule::new([condition], Verdict::Return);
    vec![
        rule(inline(Field::Source, "10.0.0.1", "10.0.0.1")),
        rule(inline(Field::Destination, "10.0.0.0", "10.0.0.255")),
        rule(inline(Field::Source, "10.0.0.1", "10.0.0.3")),
        rule(inline(Field::Source, "0.0.0.0", "255.255.255.255")),
        rule(inline(Field::Destination, "fd00::", "fd00::5")),
        rule(inline(Field::Destination, "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        rule(inline(Field::Source, "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        rule(in_set(Field::Destination, Family::V4, "c4.some")),
        rule(in_set(Field::Destination, Family::V6, "c6.all")),
        rule(Match::AddressPair(Family::V4, name("self4"))),
        rule(Match::AddressPair(Family::V6, name("self6"))),
    ]
}

fn by_port() -> Vec<Rule> {
    let rule = |matches: Vec<Match>| Rule::new(matches, Verdict::Return);
    let port = |transport, first, last| Match::Port(transport, PortRange(first, last));
    let web = || in_set(Field::Destination, Family::V4, "p4.web");
    let named = |family, transport, set: &str| {
        Match::AddressPort(Field::Destination, family, transport, name(set))
    };
    vec![
        rule(vec![web(), port(Transport::Tcp, 80, 80)]),
        rule(vec![web(), port(Transport::Udp, 8000, 8100)]),
        rule(vec![port(Transport::Sctp, 0, 65535)]),
        rule(vec![web(), Match::Ports(name("mixed"))]),
        rule(vec![
            stored_addresses(Family::V4, FIRST),
            Match::Ports(Name::in_store(Store::Ports, Tag::new(FIRST))),
        ]),
        rule(vec![stored_addresses(Family::V6, FIRST), port(Transport::Tcp, 80, 80)]),
        rule(vec![Match::AddressPort(
            Field::Destination,
            Family::V4,
            Transport::Tcp,
            Name::in_store(Store::AddressPorts(Family::V4), Tag::new(FIRST)),
        )]),
        rule(vec![web(), Match::Protocol(6)]),
        rule(vec![Match::Protocol(47)]),
        rule(vec![named(Family::V4, Transport::Tcp, "n4.http")]),
        rule(vec![
            in_set(Field::Source, Family::V6, "p6.web"),
            named(Family::V6, Transport::Sctp, "n6.http"),
        ]),
    ]
}

fn stored_addresses(family: Family, tag: u128) -> Match {
    let set = Name::in_store(Store::Addresses(family), Tag::new(tag));
    Match::Address(Field::Destination, AddressTest::Set(family, set))
}

fn logging() -> Vec<Rule> {
    let log = |field, family, set: &str, per_second| Log {
        field,
        family,
        set: name(set),
        per_second,
        prefix: LogPrefix::new(&"i.x $1 \"è\" ".repeat(12)),
        group: 100,
    };
    let rule = |log, finish| Rule { matches: vec![], log: Some(log), finish, comment: None };
    vec![
        rule(log(Field::Destination, Family::V4, "logged4", 10), None),
        rule(
            log(Field::Destination, Family::V6, "logged6", 1),
            Some(Finish::Verdict(Verdict::Drop)),
        ),
        drop_all(),
    ]
}

fn six() -> Vec<Rule> {
    vec![
        Rule::new([Match::HopLimit(255), Match::Icmpv6Type(name("nd"))], Verdict::Accept),
        Rule::new([Match::Icmpv6Type(name("nd"))], Verdict::Drop),
        Rule::new([Match::HopLimit(0)], Verdict::Drop),
        Rule::new([Match::NotOpening], Verdict::Drop),
        Rule::new(
            [in_set(Field::Destination, Family::V6, "p6.web")],
            Verdict::Jump(name("ingress6")),
        ),
    ]
}
