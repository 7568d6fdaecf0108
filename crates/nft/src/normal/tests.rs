use super::*;
use crate::expression::Expression;
use crate::ffi::{self, Body, Messages, Object, parse};
use crate::read::tests::{any_rule, sets};
use crate::{read, write};
use proptest::prelude::*;
use ruleset::{Field, PortTest, Transport, Verdict};

const FROM_ONE: Match = Match::Address(
    Field::Source,
    ruleset::AddressTest::In(ruleset::AddressRange::single(std::net::IpAddr::V4(
        std::net::Ipv4Addr::LOCALHOST,
    ))),
);
const TCP: Match = Match::Protocol(6);
const PORT: Match = Match::Port(Transport::Tcp, PortTest::In(80, 80));
const HOPS: Match = Match::HopLimit(255);
const V4: Match = Match::Family(Family::V4);
const V6: Match = Match::Family(Family::V6);

#[test]
fn implied_tests_go_and_others_stay() {
    let cases: [(&str, &[Match], &[Match]); 12] = [
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
    for (case, given, expected) in cases {
        let rule = |matches: &[Match]| Rule::new(matches.iter().cloned(), Verdict::Accept);
        assert_eq!(normal_form(rule(given)), rule(expected), "{case}");
    }
}

proptest! {
    /// The rule is written, passed through libnftnl and read again.
    #[test]
    fn a_rule_reads_back_in_normal_form(rule in any_rule()) {
        let sets = sets();
        let mut object = Object::new();
        let written = write::rule::expressions(&rule);
        for expression in &written {
            expression.append_to(&mut object);
        }
        let mut message = Messages::new();
        message.push(libc::NFT_MSG_NEWRULE, 0, 0, Body::Rule(&object)).expect("it fits");
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
