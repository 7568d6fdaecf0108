//! Random rules and sets, and rules that the reader must reject.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use ruleset::{
    AddressRange, AddressTest, CtStates, EtherType, Family, Field, Finish, FlowSide,
    InterfaceField, KeyAddress, KeyFields, Log, LogPrefix, MacField, Match, Name, PortRange, Rule,
    Ruleset, Set, SetType, Store, TableFamily, TableId, Tag, TagType, Transport, Verdict,
    VerdictMap,
};

use super::rule::read;
use super::set::set_types;
use crate::expression::{EQUAL, Expression, NOT_EQUAL};
use crate::packet::Part;
use crate::register::Register;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The name of the set of this type.
fn set_name(set_type: SetType) -> Name {
    if let SetType::Store(store) = set_type {
        return Name::of_store(store);
    }
    let word: String =
        format!("s{set_type:?}").chars().filter(char::is_ascii_alphanumeric).collect();
    name(&word)
}

fn map_name(family: Family) -> Name {
    name(&format!("map{}", family.digit()))
}

/// A table with a set of each type.
pub(crate) fn sets(family: TableFamily) -> Ruleset {
    let mut all = Ruleset::of(TableId { family, name: name("nftpol") });
    all.sets = set_types().map(|one| (set_name(one), Set::new(one, None))).collect();
    all.maps =
        Family::BOTH.map(|one| (map_name(one), VerdictMap::new(one, None))).into_iter().collect();
    all
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn any_field() -> impl Strategy<Value = Field> {
    prop_oneof![Just(Field::Source), Just(Field::Destination)]
}

fn any_transport() -> impl Strategy<Value = Transport> {
    prop_oneof![Just(Transport::Tcp), Just(Transport::Udp), Just(Transport::Sctp)]
}

/// Single addresses, prefixes of every length, and ranges of any shape.
pub(crate) fn any_range() -> impl Strategy<Value = AddressRange> {
    (any_family(), any::<u128>(), any::<u128>(), 0..=128_u32, 0..3).prop_map(
        |(family, one, other, length, shape)| {
            let length = length.min(family.bits());
            let host = u128::MAX.checked_shr(length + 128 - family.bits()).unwrap_or(0);
            let low = u128::MAX >> (128 - family.bits());
            let (first, last) = match shape {
                0 => (one & low, one & low),
                1 => (one & low & !host, (one | host) & low),
                _ => ((one & low).min(other & low), (one & low).max(other & low)),
            };
            let address = |number: u128| match family {
                Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
                Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(number)),
            };
            AddressRange::new(address(first), address(last)).expect("in order")
        },
    )
}

/// Any key whose fields a packet can have together.
fn any_key() -> impl Strategy<Value = Match> {
    use MacField::{ArpSender, Destination, Source};
    let interface =
        prop_oneof![Just(None), Just(Some(InterfaceField::In)), Just(Some(InterfaceField::Out)),];
    let mac = prop_oneof![Just(None), Just(Some(Source)), Just(Some(Destination))];
    let address = prop_oneof![
        any_family().prop_map(KeyAddress::Source),
        any_family().prop_map(KeyAddress::Destination),
        Just(KeyAddress::Target),
    ];
    let ip = (mac, proptest::option::of(address));
    let arp_mac = prop_oneof![Just(None), Just(Some(Source)), Just(Some(ArpSender))];
    let arp = (arp_mac, proptest::option::of(Just(KeyAddress::ArpSender)));
    (interface, prop_oneof![ip, arp])
        .prop_map(|(interface, (mac, address))| KeyFields { interface, mac, address })
        .prop_filter("a field", |fields| *fields != KeyFields::NONE)
        .prop_map(|fields| Match::Key(fields, set_name(fields.set_type())))
}

fn any_frame_test() -> impl Strategy<Value = Match> {
    prop_oneof![
        Just(Match::EtherType(EtherType::Ipv4)),
        Just(Match::EtherType(EtherType::Ipv6)),
        Just(Match::EtherType(EtherType::Arp)),
        Just(Match::PriorityTag(TagType::Dot1q)),
        Just(Match::PriorityTag(TagType::Dot1ad)),
    ]
}

/// A set of its own, or a stored one.
fn any_set(store: Store) -> impl Strategy<Value = Name> {
    let tags = prop_oneof![Just(0), Just(1), Just(u128::MAX), any::<u128>()];
    prop_oneof![
        Just(set_name(store.stores())),
        tags.prop_map(move |tag| Name::in_store(store, Tag::new(tag))),
    ]
}

fn any_match() -> impl Strategy<Value = Match> {
    let states = any::<(bool, bool)>()
        .prop_map(|(established, related)| Match::CtState(CtStates { established, related }));
    let in_set =
        (any_field(), any_family(), any::<bool>()).prop_flat_map(|(field, family, ranges)| {
            let set = match ranges {
                true => Just(set_name(SetType::AddressRange(family))).boxed(),
                false => any_set(Store::Addresses(family)).boxed(),
            };
            set.prop_map(move |set| Match::Address(field, AddressTest::Set(family, set)))
        });
    let port = (any_transport(), any::<u16>(), any::<u16>(), any::<bool>()).prop_map(
        |(transport, one, other, single)| match single {
            true => Match::Port(transport, PortRange(one, one)),
            false => Match::Port(transport, PortRange(one.min(other), one.max(other))),
        },
    );
    let address_port =
        (any_field(), any_family(), any_transport()).prop_flat_map(|(field, family, transport)| {
            any_set(Store::AddressPorts(family))
                .prop_map(move |set| Match::AddressPort(field, family, transport, set))
        });
    prop_oneof![
        any_set(Store::Ports).prop_map(Match::Ports),
        states,
        Just(Match::NotToHost),
        Just(Match::CtTranslated),
        Just(Match::SourceIsLocal),
        any_family().prop_map(Match::Family),
        any::<u8>().prop_map(Match::HopLimit),
        prop_oneof![Just(6), Just(17), Just(58), any::<u8>()].prop_map(Match::Protocol),
        (any_field(), any_range())
            .prop_map(|(field, range)| Match::Address(field, AddressTest::In(range))),
        any_key(),
        any_frame_test(),
        prop_oneof![Just(1), Just(132), any::<u8>()].prop_map(Match::NotProtocol),
        any::<u8>().prop_map(Match::IcmpType),
        Just(Match::NotInit),
        Just(Match::NotOpening),
        in_set,
        port,
        (any_transport(), any::<u16>()).prop_map(|(of, port)| Match::SourcePort(of, port)),
        address_port,
        any_family()
            .prop_map(|family| Match::AddressPair(family, set_name(SetType::AddressPair(family)))),
        (prop_oneof![Just(FlowSide::Original), Just(FlowSide::Reply)], any_family()).prop_map(
            |(side, family)| {
                Match::FlowSource(side, family, set_name(SetType::AddressPair(family)))
            }
        ),
        any_family()
            .prop_map(|family| Match::FlowOpener(family, set_name(SetType::Address(family)))),
        Just(Match::Icmpv6Type(set_name(SetType::Icmpv6Type))),
    ]
}

fn any_log() -> impl Strategy<Value = Log> {
    (any_field(), any_family(), 1..=u32::MAX, "[a-z. ]{0,20}", any::<u16>()).prop_map(
        |(field, family, per_second, prefix, group)| Log {
            field,
            family,
            set: set_name(SetType::RateLimit(family)),
            per_second,
            prefix: LogPrefix::new(&prefix),
            group,
        },
    )
}

fn any_finish() -> impl Strategy<Value = Finish> {
    prop_oneof![
        Just(Finish::Verdict(Verdict::Accept)),
        Just(Finish::Verdict(Verdict::Drop)),
        Just(Finish::Verdict(Verdict::Return)),
        Just(Finish::Verdict(Verdict::Jump(name("target")))),
        Just(Finish::Verdict(Verdict::Goto(name("target")))),
        (any_field(), any_family()).prop_map(|(field, family)| Finish::Dispatch(
            field,
            family,
            map_name(family)
        )),
    ]
}

/// Any rule, in normal form or not.
pub(crate) fn any_rule() -> impl Strategy<Value = Rule> {
    let matches = proptest::collection::vec(any_match(), 0..6);
    let (log, finish) = (proptest::option::of(any_log()), proptest::option::of(any_finish()));
    (matches, log, finish).prop_map(|(matches, log, finish)| Rule {
        matches,
        log,
        finish,
        comment: None,
    })
}

fn any_expression() -> impl Strategy<Value = Expression> {
    let register = (0..16_u32).prop_map(|words| Register::FIRST.after(words * 4)).boxed();
    let bytes = proptest::collection::vec(any::<u8>(), 1..20).boxed();
    let sets = [c"sPort", c"sAddressV4", c"map4", c"none", c"p4", c"n6", c"t"];
    let set = proptest::sample::select(sets.to_vec());
    prop_oneof![
        (0..20_u32, register.clone()).prop_map(|(key, into)| Expression::Meta { key, into }),
        (0..4_u32, 0..30_u32, 0..20_u32, register.clone()).prop_map(
            |(base, offset, length, into)| Expression::Payload { base, offset, length, into }
        ),
        (register.clone(), bytes.clone(), register.clone())
            .prop_map(|(from, mask, into)| Expression::Mask { from, mask, into }),
        (register.clone(), bytes.clone(), register.clone())
            .prop_map(|(from, value, into)| Expression::Replace { from, value, into }),
        (register.clone(), 0..7_u32, bytes.clone()).prop_map(|(register, operation, value)| {
            Expression::Compare { register, operation, value }
        }),
        (register.clone(), bytes.clone(), bytes)
            .prop_map(|(register, first, last)| Expression::Between { register, first, last }),
        (register, set, any::<bool>()).prop_map(|(register, set, verdict)| {
            Expression::Lookup { register, set: set.to_owned(), verdict }
        }),
        any::<i32>().prop_map(|code| Expression::Verdict { code, chain: None }),
        Just(Expression::Other("fib".to_owned())),
    ]
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_panic(all in proptest::collection::vec(any_expression(), 0..12)) {
        let _ = read(&sets(TableFamily::Inet), &all);
    }
}

#[test]
fn an_address_without_its_family_is_not_understood() {
    let load = Part::address(Family::V4, Field::Source).load(Register::FIRST);
    let compare =
        Expression::Compare { register: Register::FIRST, operation: 0, value: vec![1; 4] };
    assert!(read(&sets(TableFamily::Inet), &[load, compare]).is_err());
}

#[test]
fn a_hop_limit_without_its_family_is_not_understood() {
    let compare = Expression::Compare { register: Register::FIRST, operation: 0, value: vec![255] };
    let rule = Rule::new([Match::HopLimit(255)], Verdict::Accept);
    let written = crate::write::rule::expressions(TableFamily::Inet, &rule);
    let [_, _, load, ..] = &written[..] else { panic!("{written:?}") };
    assert_eq!(load, &Part::HopLimit.load(Register::FIRST));
    assert!(read(&sets(TableFamily::Inet), &written).is_ok());
    assert!(read(&sets(TableFamily::Inet), &[load.clone(), compare]).is_err());
    let v4 = crate::write::rule::expressions(
        TableFamily::Inet,
        &Rule { finish: None, ..Rule::new([Match::Family(Family::V4)], Verdict::Accept) },
    );
    assert!(read(&sets(TableFamily::Inet), &[&v4[..], &written[2..]].concat()).is_err());
}

#[test]
fn a_port_without_its_protocol_is_not_understood() {
    let load = Part::Port.load(Register::FIRST);
    let compare =
        Expression::Compare { register: Register::FIRST, operation: 0, value: vec![0, 80] };
    assert!(read(&sets(TableFamily::Inet), &[load, compare]).is_err());
}

#[test]
fn only_our_comparison_of_tcp_flags_is_understood() {
    let written = crate::write::rule::expressions(
        TableFamily::Inet,
        &Rule { finish: None, ..Rule::new([Match::NotOpening], Verdict::Accept) },
    );
    assert!(read(&sets(TableFamily::Inet), &written).is_ok());
    let [_, _, load, mask, compare] = &written[..] else { panic!("{written:?}") };
    assert!(
        read(&sets(TableFamily::Inet), &[load.clone(), mask.clone(), compare.clone()]).is_err(),
        "no protocol"
    );
    let register = Register::FIRST;
    let other_mask = Expression::Mask { from: register, mask: vec![0x12], into: register };
    let equal = Expression::Compare { register, operation: EQUAL, value: vec![2] };
    let other_value = Expression::Compare { register, operation: NOT_EQUAL, value: vec![0x10] };
    for (mask, compare) in [(&other_mask, compare), (mask, &equal), (mask, &other_value)] {
        let changed = [&written[..3], &[mask.clone(), compare.clone()]].concat();
        assert!(read(&sets(TableFamily::Inet), &changed).is_err(), "{changed:?}");
    }
}

#[test]
fn only_a_tag_before_the_key_makes_a_look_up_in_a_store() {
    let set = Name::in_store(Store::Ports, Tag::new(0x2a));
    let rule = Rule { finish: None, ..Rule::new([Match::Ports(set.clone())], Verdict::Accept) };
    let written = crate::write::rule::expressions(TableFamily::Inet, &rule);
    let all = |expressions: &[Expression]| read(&sets(TableFamily::Inet), expressions);
    assert_eq!(all(&written), Ok(rule));
    let [load, replace, next, second, protocol, port, look_up] = &written[..] else {
        panic!("{written:?}")
    };
    let tag = |value: &[u8]| {
        let (from, into) = (Register::FIRST, Register::FIRST);
        Expression::Replace { from, value: value.to_vec(), into }
    };
    let four = Part::Replaced(4).load(Register::FIRST);
    let other = Part::address(Family::V6, Field::Source).load(Register::FIRST);
    let mask = Expression::Mask { from: Register::FIRST, mask: vec![1; 8], into: Register::FIRST };
    let of_other_name = Expression::Lookup {
        register: Register::FIRST,
        set: crate::write::rule::c_string(set.as_str()),
        verdict: false,
    };
    let (short, long, of_four) = (tag(&[1; 7]), tag(&[1; 9]), tag(&[1; 4]));
    let wrong: [Vec<&Expression>; 12] = [
        vec![load, next, second, protocol, port, look_up],
        vec![replace, next, second, protocol, port, look_up],
        vec![load, replace, next, protocol, port, look_up],
        vec![load, replace, second, protocol, port, look_up],
        vec![load, replace, protocol, port, look_up],
        vec![&four, &of_four, next, second, protocol, port, look_up],
        vec![&other, replace, next, second, protocol, port, look_up],
        vec![load, &short, next, second, protocol, port, look_up],
        vec![load, &long, next, second, protocol, port, look_up],
        vec![load, &mask, next, second, protocol, port, look_up],
        vec![load, replace, next, second, protocol, look_up],
        vec![load, replace, next, second, protocol, port, &of_other_name],
    ];
    for expressions in wrong {
        let expressions: Vec<Expression> = expressions.into_iter().cloned().collect();
        assert!(all(&expressions).is_err(), "{expressions:?}");
    }
}

#[test]
fn a_register_that_was_overwritten_is_not_read() {
    let set = set_name(SetType::AddressPair(Family::V4));
    let look_up = Expression::Lookup {
        register: Register::FIRST,
        set: crate::write::rule::c_string(set.as_str()),
        verdict: false,
    };
    let second = Part::address(Family::V4, Field::Destination).load(Register::FIRST.after(4));
    let first = Part::address(Family::V4, Field::Source).load(Register::FIRST);
    let family = crate::write::rule::expressions(
        TableFamily::Inet,
        &Rule { finish: None, ..Rule::new([Match::Family(Family::V4)], Verdict::Accept) },
    );
    let all = |tail: &[Expression]| [&family[..], tail].concat();
    let fine = all(&[first.clone(), second.clone(), look_up.clone()]);
    assert!(read(&sets(TableFamily::Inet), &fine).is_ok());
    let wide = Part::address(Family::V4, Field::Source).load(Register::FIRST.after(4));
    let overwritten = all(&[first, second, wide, look_up]);
    assert!(read(&sets(TableFamily::Inet), &overwritten).is_err());
}
