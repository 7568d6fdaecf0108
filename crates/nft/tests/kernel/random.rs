//! Random tables. We send them ourselves and as text through nft(8). Both read back
//! unchanged.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::{creation, nft, read_table};
use crate::namespace::{in_namespace, name};
use proptest::prelude::*;
use proptest::sample::select;
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, Comment, CtStates, Element, EtherType, Family,
    Field, Finish, FlowSide, Hook, InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields,
    KeyShape, Log, LogPrefix, MacField, Match, Name, PortRange, Rule, Ruleset, Set, SetType, Store,
    TableFamily, TableId, Tag, TagType, Transport, Verdict, VerdictMap,
};

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

fn any_comment() -> impl Strategy<Value = Option<Comment>> {
    proptest::option::of("[a-zA-Z0-9 :,/=ü'-]{1,140}".prop_map(|text| Comment::new(&text)))
}

fn any_element(set_type: SetType) -> BoxedStrategy<Element> {
    let number = any::<u128>;
    match set_type {
        SetType::Address(family) => {
            number().prop_map(move |one| Element::Address(address(family, one))).boxed()
        }
        SetType::AddressPort(family) => (number(), any::<u16>())
            .prop_map(move |(one, port)| Element::AddressPort(address(family, one), port))
            .boxed(),
        SetType::AddressPair(family) => (number(), number())
            .prop_map(move |(one, other)| {
                Element::AddressPair(address(family, one), address(family, other))
            })
            .boxed(),
        SetType::ProtocolPort => (select(Transport::ALL.to_vec()), any::<u16>())
            .prop_map(|(transport, port)| Element::ProtocolPort(transport, port))
            .boxed(),
        SetType::Key(shape) => any_key(shape).prop_map(Element::Key).boxed(),
        _ => any::<u8>().prop_map(Element::Icmpv6Type).boxed(),
    }
}

/// Disjoint ranges that do not touch, one for each pair of sorted numbers.
fn any_ranges(family: Family) -> BoxedStrategy<BTreeSet<Element>> {
    let shift = 128 - family.bits();
    let ends = proptest::collection::btree_set(any::<u128>(), 0..20);
    ends.prop_map(move |ends| {
        let ends: Vec<u128> = ends.into_iter().map(|end| end >> shift).collect();
        let pairs = ends.chunks_exact(2).filter(|pair| pair[1] - pair[0] > 1);
        let ranges = pairs
            .map(|pair| AddressRange::new(address(family, pair[0]), address(family, pair[1] - 1)));
        ranges.map(|range| Element::Range(range.expect("in order"))).collect()
    })
    .boxed()
}

fn any_set(set_type: SetType) -> impl Strategy<Value = Set> {
    let elements = match set_type {
        SetType::RateLimit(_) => Just(BTreeSet::new()).boxed(),
        SetType::AddressRange(family) => any_ranges(family),
        _ => proptest::collection::btree_set(any_element(set_type), 0..20).boxed(),
    };
    (elements, any_comment()).prop_map(move |(elements, comment)| Set {
        set_type,
        comment,
        elements: elements.into(),
    })
}

fn any_key(shape: KeyShape) -> impl Strategy<Value = Key> {
    // The kernel numbers interfaces from 1 on, in an `int`. nft takes no other number.
    let any = (1..=i32::MAX.cast_unsigned(), any::<[u8; 6]>(), any::<u128>());
    any.prop_map(move |(interface, mac, number)| Key {
        interface: shape.interface.then_some(interface),
        mac: shape.mac.then_some(mac),
        address: shape.address.map(|kind| match kind {
            KeyAddressType::V4 => address(Family::V4, number),
            KeyAddressType::V6 | KeyAddressType::Target => address(Family::V6, number),
        }),
    })
}

/// A key that packets of this family have in tables of this family, and its set.
fn any_fields(table: TableFamily, family: Family) -> impl Strategy<Value = Match> {
    let interface = select(vec![None, Some(InterfaceField::In), Some(InterfaceField::Out)]);
    let macs = match table {
        TableFamily::Inet => vec![None], // nft 1.0.6 tests the kind of interface before a MAC there
        TableFamily::Bridge => vec![None, Some(MacField::Source), Some(MacField::Destination)],
    };
    let address =
        select(vec![None, Some(KeyAddress::Source(family)), Some(KeyAddress::Destination(family))]);
    (interface, select(macs), address)
        .prop_map(|(interface, mac, address)| KeyFields { interface, mac, address })
        .prop_filter("more than an address", |key| key.interface.is_some() || key.mac.is_some())
        .prop_map(|fields| Match::Key(fields, key_set(fields)))
}

fn key_set(fields: KeyFields) -> Name {
    let KeyFields { interface, mac, address } = fields;
    let address = match address.map(KeyAddress::address_type) {
        None => "",
        Some(KeyAddressType::V4) => "4",
        Some(KeyAddressType::V6) => "6",
        Some(KeyAddressType::Target) => "t",
    };
    let (interface, mac) = (u8::from(interface.is_some()), u8::from(mac.is_some()));
    name(&format!("k{interface}{mac}{address}"))
}

/// Every shape of key.
fn any_key_sets() -> impl Strategy<Value = Vec<(Name, Set)>> {
    let shapes =
        [Some(InterfaceField::In), None].into_iter().flat_map(|interface| {
            [Some(MacField::Source), None].into_iter().flat_map(move |mac| {
                let source = Some(KeyAddress::Source(Family::V4));
                let target = Some(KeyAddress::Target);
                [None, source, Some(KeyAddress::Source(Family::V6)), target]
                    .map(|address| KeyFields { interface, mac, address })
            })
        });
    let sets = shapes.filter_map(|fields| match fields.set_type() {
        SetType::Key(shape) if fields != KeyFields::NONE => Some((key_set(fields), shape)),
        _ => None,
    });
    sets.map(|(name, shape)| any_set(SetType::Key(shape)).prop_map(move |set| (name.clone(), set)))
        .collect::<Vec<_>>()
}

/// The tags of stored sets.
const TAGS: [Tag; 4] =
    [Tag::new(0), Tag::new(7), Tag::new(0xfedc_ba98 << 64 | 1), Tag::new(u128::MAX)];

/// All stores, and sets in them.
fn any_stored() -> impl Strategy<Value = Vec<(Name, Set)>> {
    let one = |store: Store, tag| {
        any_set(store.stores())
            .prop_map(move |set| (Name::in_store(store, tag), Set { comment: None, ..set }))
    };
    let stored: Vec<_> =
        Store::ALL.into_iter().flat_map(|store| TAGS.map(|tag| one(store, tag))).collect();
    stored.prop_map(|stored| Store::all().chain(stored).collect())
}

/// The name of a stored set.
fn any_tagged(store: Store) -> impl Strategy<Value = Name> {
    select(TAGS.to_vec()).prop_map(move |tag| Name::in_store(store, tag))
}

/// A stored set without elements that no rule asks leaves nothing in the kernel.
fn without_traces(mut all: Ruleset) -> Ruleset {
    let rules = all.chains.values().flat_map(|chain| &chain.rules);
    let asked: BTreeSet<Name> = rules.flat_map(Rule::lookups).cloned().collect();
    all.sets = all
        .sets
        .into_iter()
        .filter(|(name, set)| {
            name.stored().is_none() || !set.elements.is_empty() || asked.contains(name)
        })
        .collect();
    all
}

/// A rule that nft accepts: one family and one protocol.
fn any_rule(
    table: TableFamily,
    family: Family,
    transport: Transport,
) -> impl Strategy<Value = Rule> {
    let field = || select(vec![Field::Source, Field::Destination]);
    let shift = 128 - family.bits();
    let range =
        (any::<u128>(), any::<u128>(), 0..=128_u32).prop_map(move |(one, other, length)| {
            let host = u128::MAX.checked_shr(length.min(family.bits()) + shift).unwrap_or(0);
            let (first, last) = if other % 2 == 0 {
                ((one >> shift) & !host, (one >> shift) | host)
            } else {
                ((one >> shift).min(other >> shift), (one >> shift).max(other >> shift))
            };
            let last = last & (u128::MAX >> shift);
            AddressRange::new(address(family, first), address(family, last)).expect("in order")
        });
    let digit = family.digit();
    let set = move |word: &str| name(&format!("{word}.{digit}"));
    let states = select(vec![(true, true), (true, false), (false, true)]);
    let matches = prop_oneof![
        states.prop_map(move |(established, related)| match table {
            TableFamily::Inet => Match::CtState(CtStates { established, related }),
            TableFamily::Bridge => Match::NotToHost, // not every kernel tracks frames
        }),
        Just(match table {
            TableFamily::Inet => Match::CtTranslated,
            TableFamily::Bridge => Match::NotToHost,
        }),
        Just(match table {
            TableFamily::Inet => Match::SourceIsLocal,
            TableFamily::Bridge => Match::NotToHost, // frames have no such expression
        }),
        Just(Match::NotToHost),
        Just(Match::Family(family)),
        any::<u8>().prop_map(move |hops| match family {
            Family::V4 => Match::Family(family),
            Family::V6 => Match::HopLimit(hops),
        }),
        Just(Match::Protocol(transport.number())),
        Just(match transport {
            Transport::Tcp => Match::NotOpening,
            Transport::Udp | Transport::Sctp => Match::Protocol(transport.number()),
        }),
        (field(), range).prop_map(|(field, range)| Match::Address(field, AddressTest::In(range))),
        (field(), select(vec!["a", "r"])).prop_map(move |(field, word)| {
            Match::Address(field, AddressTest::Set(family, set(word)))
        }),
        (any::<u16>(), any::<u16>()).prop_map(move |(one, other)| {
            Match::Port(transport, PortRange(one.min(other), one.max(other)))
        }),
        Just(Match::Ports(name("mixed.x"))),
        any_tagged(Store::Ports).prop_map(Match::Ports),
        (field(), any_tagged(Store::Addresses(family)))
            .prop_map(move |(field, set)| { Match::Address(field, AddressTest::Set(family, set)) }),
        (field(), any_tagged(Store::AddressPorts(family)))
            .prop_map(move |(field, set)| { Match::AddressPort(field, family, transport, set) }),
        any::<u16>().prop_map(move |port| Match::SourcePort(transport, port)),
        field().prop_map(move |field| Match::AddressPort(field, family, transport, set("n"))),
        Just(Match::AddressPair(family, set("self"))),
        select(FlowSide::BOTH.to_vec()).prop_map(move |side| match table {
            TableFamily::Inet => Match::FlowSource(side, family, set("self")),
            TableFamily::Bridge => Match::NotToHost, // as above
        }),
        Just(match table {
            TableFamily::Inet => Match::FlowOpener(family, set("a")),
            TableFamily::Bridge => Match::NotToHost, // as above
        }),
        any_fields(table, family),
        any::<u8>().prop_map(Match::NotProtocol),
        Just(match transport {
            Transport::Sctp => Match::NotInit,
            Transport::Tcp | Transport::Udp => Match::Protocol(transport.number()),
        }),
        Just(match (table, family) {
            (TableFamily::Inet, _) => Match::Family(family),
            (TableFamily::Bridge, Family::V4) => Match::EtherType(EtherType::Ipv4),
            (TableFamily::Bridge, Family::V6) => Match::EtherType(EtherType::Ipv6),
        }),
        select(vec![TagType::Dot1q, TagType::Dot1ad]).prop_map(Match::PriorityTag),
    ];
    let log = (field(), 1..1000_u32, "[a-z .]{1,30}", any::<u16>()).prop_map(
        move |(field, per_second, prefix, group)| Log {
            field,
            family,
            set: set("logged"),
            per_second,
            prefix: LogPrefix::new(&prefix),
            group,
        },
    );
    let finish = prop_oneof![
        Just(Finish::Verdict(Verdict::Accept)),
        Just(Finish::Verdict(Verdict::Drop)),
        Just(Finish::Verdict(Verdict::Return)),
        Just(Finish::Verdict(Verdict::Jump(name("target.x")))),
        Just(Finish::Verdict(Verdict::Goto(name("target.x")))),
        field().prop_map(move |field| Finish::Dispatch(field, family, set("m"))),
    ];
    let matches = proptest::collection::vec(matches, 0..5);
    (matches, proptest::option::weighted(0.2, log), finish, any_comment()).prop_map(
        |(matches, log, finish, comment)| {
            nft::normal_form(Rule { matches, log, finish: Some(finish), comment })
        },
    )
}

fn any_rules(table: TableFamily) -> impl Strategy<Value = Vec<Rule>> {
    let rule = (select(vec![Family::V4, Family::V6]), select(Transport::ALL.to_vec()))
        .prop_flat_map(move |(family, transport)| any_rule(table, family, transport));
    proptest::collection::vec(rule, 0..25)
}

prop_compose! {
    fn any_table(family: TableFamily)(
        keys in any_key_sets(),
        v4 in any_sets(Family::V4),
        v6 in any_sets(Family::V6),
        mixed in any_set(SetType::ProtocolPort),
        stored in any_stored(),
        types in any_set(SetType::Icmpv6Type),
        rules in any_rules(family),
        hooked in any_rules(family),
        hook in select(vec![
            Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting,
        ]),
        priority in -1000..1000_i32,
        comment in any_comment(),
    ) -> Ruleset {
        let mut all = Ruleset::of(TableId { family, name: name("nftpol") });
        all.sets.extend(keys);
        for (sets, map) in [v4, v6] {
            let digit = map.family.digit();
            let sets = sets.into_iter().map(|(word, set)| (name(&format!("{word}.{digit}")), set));
            all.sets.extend(sets);
            all.maps.insert(name(&format!("m.{digit}")), map);
        }
        all.sets.insert(name("mixed.x"), mixed);
        all.sets.extend(stored);
        all.sets.insert(name("nd.x"), types);
        let base = Some(BaseChain { hook, priority });
        let types = Rule::new([Match::Icmpv6Type(name("nd.x"))], Verdict::Accept);
        let one = Chain { base: None, comment, rules };
        all.chains.insert(name("one.x"), one.into());
        all.chains.insert(name("hook.x"), Chain { base, comment: None, rules: hooked }.into());
        all.chains.insert(name("target.x"), Chain { rules: vec![types], ..Chain::default() }.into());
        all
    }
}

fn any_sets(family: Family) -> impl Strategy<Value = (Vec<(&'static str, Set)>, VerdictMap)> {
    let types = [
        ("a", SetType::Address(family)),
        ("r", SetType::AddressRange(family)),
        ("n", SetType::AddressPort(family)),
        ("self", SetType::AddressPair(family)),
        ("logged", SetType::RateLimit(family)),
    ];
    let sets: Vec<_> =
        types.map(|(word, set_type)| any_set(set_type).prop_map(move |set| (word, set))).into();
    let keys = proptest::collection::btree_set(any::<u128>(), 0..10);
    let map = (keys, any_comment()).prop_map(move |(keys, comment)| {
        let entries = keys.into_iter().map(|key| (address(family, key), name("target.x")));
        VerdictMap { family, comment, entries: entries.collect() }
    });
    (sets, map)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_paths_read_back(
        all in select(vec![TableFamily::Inet, TableFamily::Bridge]).prop_flat_map(any_table),
    ) {
        let ours = in_namespace(|kernel| {
            kernel.send(&all.id(), &creation(&all), None).expect("send");
            read_table(kernel, &all.id())
        });
        let expected = without_traces(all.clone());
        prop_assert_eq!(&ours, &expected);
        let theirs = in_namespace(|kernel| {
            nft(&["-f", "-"], &ruleset::text::ruleset(&all));
            read_table(kernel, &all.id())
        });
        prop_assert_eq!(&theirs, &expected);
    }
}
