use super::*;
use crate::expression::Expression;
use crate::ffi::{self, Body, Messages, Object, parse};
use crate::read::tests::{any_rule, sets};
use crate::{read, write};
use proptest::prelude::*;
use ruleset::{Family, InterfaceField, Name, PortRange, SetType, TableFamily, Transport, Verdict};

const FROM_ONE: Match = Match::Address(
    Field::Source,
    AddressTest::In(ruleset::AddressRange::single(std::net::IpAddr::V4(
        std::net::Ipv4Addr::LOCALHOST,
    ))),
);
const TCP: Match = Match::Protocol(6);
const PORT: Match = Match::Port(Transport::Tcp, PortRange(80, 80));
const HOPS: Match = Match::HopLimit(255);
const V4: Match = Match::Family(Family::V4);
const V6: Match = Match::Family(Family::V6);

#[test]
fn implied_tests_go_and_others_stay() {
    let set = |fields: KeyFields| {
        let SetType::Key(_) = fields.set_type() else { panic!("{fields:?}") };
        Match::Key(fields, Name::new("set").expect("a name"))
    };
    let interface = Some(InterfaceField::In);
    let by = |address| set(KeyFields { interface, mac: None, address: Some(address) });
    let [bound, arp, target] =
        [KeyAddress::Source(Family::V4), KeyAddress::ArpSender, KeyAddress::Target].map(by);
    let [bound, arp, target] = [&bound, &arp, &target];
    const ICMPV6: Match = Match::Protocol(Match::ICMPV6);
    const IS_V4: Match = Match::EtherType(EtherType::Ipv4);
    const IS_ARP: Match = Match::EtherType(EtherType::Arp);
    let one = |test: &Match| vec![test.clone()];
    let keys: [(&str, Vec<Match>, Vec<Match>); 8] = [
        ("implied by a key", vec![V4, bound.clone()], one(bound)),
        ("a frame's type stays", vec![IS_V4, bound.clone()], vec![IS_V4, bound.clone()]),
        ("it implies the family", vec![IS_V4, V4, FROM_ONE], vec![IS_V4, FROM_ONE]),
        ("before it the family stays", vec![V4, IS_V4, FROM_ONE], vec![V4, IS_V4, FROM_ONE]),
        ("missing before ARP", vec![TCP, arp.clone()], vec![TCP, IS_ARP, arp.clone()]),
        ("once", vec![arp.clone(), arp.clone()], vec![IS_ARP, arp.clone(), arp.clone()]),
        ("implied by a target", vec![V6, ICMPV6, target.clone()], one(target)),
        (
            "not implied by another",
            vec![Match::NotProtocol(6), PORT],
            vec![Match::NotProtocol(6), PORT],
        ),
    ];
    let cases: [(&str, &[Match], &[Match]); 14] = [
        ("implied by ICMP", &[V4, Match::Protocol(1), Match::IcmpType(5)], &[Match::IcmpType(5)]),
        ("implied by SCTP", &[Match::Protocol(132), Match::NotInit], &[Match::NotInit]),
        ("implied by the next", &[V4, FROM_ONE], &[FROM_ONE]),
        ("implied by a later one", &[TCP, FROM_ONE, PORT], &[FROM_ONE, PORT]),
        ("implied by nothing", &[V4, TCP], &[V4, TCP]),
        ("another family", &[V6, FROM_ONE], &[V6, FROM_ONE]),
        ("behind what implied it", &[FROM_ONE, V4], &[FROM_ONE]),
        ("twice", &[V4, V4], &[V4]),
        ("between two that imply it", &[PORT, TCP, PORT], &[PORT, PORT]),
        ("changed and back", &[V4, V6, FROM_ONE], &[V4, V6, FROM_ONE]),
        ("implied by the hop limit", &[V6, HOPS], &[HOPS]),
        ("between two of IPv6", &[HOPS, V6, HOPS], &[HOPS, HOPS]),
        ("implied by flags", &[TCP, Match::NotOpening, TCP], &[Match::NotOpening]),
        ("of another protocol", &[Match::Protocol(17), PORT], &[Match::Protocol(17), PORT]),
    ];
    let keys = keys.iter().map(|(case, given, expected)| (*case, &given[..], &expected[..]));
    for (case, given, expected) in cases.into_iter().chain(keys) {
        let rule = |matches: &[Match]| Rule::new(matches.iter().cloned(), Verdict::Accept);
        assert_eq!(normal_form(rule(given)), rule(expected), "{case}");
    }
}

proptest! {
    /// The rule is written, passed through libnftnl and read again.
    #[test]
    fn a_rule_reads_back_in_normal_form(rule in any_rule(), bridge in any::<bool>()) {
        let family = if bridge { TableFamily::Bridge } else { TableFamily::Inet };
        let sets = sets(family);
        let mut object = Object::new();
        let written = write::rule::expressions(family, &rule);
        for expression in &written {
            expression.append_to(&mut object);
        }
        let mut message = Messages::new();
        let inet = libc::NFPROTO_INET as u8;
        message.push(libc::NFT_MSG_NEWRULE, inet, 0, 0, Body::Rule(&object)).expect("it fits");
        let object = parse::<ffi::Rule>(message.bytes()).expect("a rule");
        let objects = object.get();
        let read: Vec<Expression> = objects.expressions().iter().map(Expression::read).collect();
        prop_assert_eq!(&read, &written);
        let back = read::rule::read(&sets, &read);
        let expected = normal_form(rule);
        prop_assert_eq!(back, Ok(Rule { comment: None, ..expected.clone() }));
        prop_assert_eq!(normal_form(expected.clone()), expected);
    }
}
