//! Compares with `ruleset::simulator`, on tables that no compiler would make.

use std::net::IpAddr;

use policy::spec::binding::Binding;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ruleset::simulator::{self, CtState, Outcome, Packet, simulate};
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, CtStates, Element, EtherType, Family, Field,
    Finish, FlowSide, InterfaceField, Key, KeyAddress, KeyAddressType, KeyFields, Log, LogPrefix,
    Match, Name, PortRange, Rule, Ruleset, Set, SetType, Store, Tag, TagType, Transport, Verdict,
    VerdictMap,
};

use super::*;
use crate::space::{self, FlowSource, Frame};

const ADDRESSES: [&str; 8] = [
    "0.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "255.255.255.255",
    "::",
    "fd00::1",
    "fd00::2",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const PORTS: [u16; 5] = [0, 1, 80, 81, u16::MAX];
const TYPES: [u8; 4] = [0, 135, 136, 255];
const PROTOCOLS: [u8; 7] = [0, 1, 6, 17, 58, 132, 255];
const INTERFACES: [u32; 2] = [3, 4];
const HOPS: [u8; 2] = [64, 255];
/// A chain jumps only to later chains. The first two are base chains.
const CHAINS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn address() -> impl Strategy<Value = IpAddr> {
    select(ADDRESSES.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn family() -> impl Strategy<Value = Family> {
    select(Family::BOTH.to_vec())
}

fn field() -> impl Strategy<Value = Field> {
    select(vec![Field::Source, Field::Destination])
}

fn transport() -> impl Strategy<Value = Transport> {
    select(Transport::ALL.to_vec())
}

/// The set of a type. Each type has one, named after it.
fn set(kind: &str, family: Family) -> Name {
    name(&format!("{kind}{}", family.digit()))
}

fn a_match() -> impl Strategy<Value = Match> {
    let states = (any::<bool>(), any::<bool>())
        .prop_map(|(established, related)| Match::CtState(CtStates { established, related }));
    let range =
        (field(), address(), address()).prop_filter_map("a range", |(field, one, other)| {
            let range = AddressRange::new(one.min(other), one.max(other))?;
            Some(Match::Address(field, AddressTest::In(range)))
        });
    let in_set = (field(), family(), select(vec!["hosts", "nets"]))
        .prop_map(|(end, of, kind)| Match::Address(end, AddressTest::Set(of, set(kind, of))));
    let port = (transport(), select(PORTS.to_vec()), select(PORTS.to_vec()))
        .prop_map(|(of, first, last)| Match::Port(of, PortRange(first, last)));
    prop_oneof![
        1 => states,
        1 => Just(Match::NotToHost),
        1 => Just(Match::CtTranslated),
        1 => Just(Match::SourceIsLocal),
        2 => family().prop_map(Match::Family),
        1 => select(HOPS.to_vec()).prop_map(Match::HopLimit),
        2 => select(PROTOCOLS.to_vec()).prop_map(Match::Protocol),
        1 => Just(Match::NotOpening),
        4 => range,
        4 => in_set,
        3 => port,
        2 => select(vec![name("mixed"), stored_ports()]).prop_map(Match::Ports),
        2 => (field(), family(), transport())
            .prop_map(|(end, of, by)| Match::AddressPort(end, of, by, set("named", of))),
        2 => family().prop_map(|of| Match::AddressPair(of, set("pairs", of))),
        1 => (transport(), select(PORTS.to_vec())).prop_map(|(of, port)| Match::SourcePort(of, port)),
        2 => (select(FlowSide::BOTH.to_vec()), family())
            .prop_map(|(side, of)| Match::FlowSource(side, of, set("pairs", of))),
        1 => Just(Match::Icmpv6Type(name("types"))),
        1 => select(PROTOCOLS.to_vec()).prop_map(Match::NotProtocol),
        1 => select(TYPES.to_vec()).prop_map(Match::IcmpType),
        1 => Just(Match::NotInit),
        1 => select(vec![EtherType::Ipv4, EtherType::Ipv6, EtherType::Arp])
            .prop_map(Match::EtherType),
        1 => Just(Match::PriorityTag(TagType::Dot1q)),
        2 => family().prop_map(|of| Match::Key(exit(Some(of)), set("own", of))),
        1 => Just(Match::Key(exit(None), name("guarded"))),
    ]
}

/// The output interface, alone or with the destination.
fn exit(destination: Option<Family>) -> KeyFields {
    let interface = Some(InterfaceField::Out);
    KeyFields { interface, mac: None, address: destination.map(KeyAddress::Destination) }
}

fn finish(below: &'static [&'static str]) -> impl Strategy<Value = Option<Finish>> {
    let verdict = |verdict| Some(Finish::Verdict(verdict));
    let ends = prop_oneof![
        3 => Just(verdict(Verdict::Accept)),
        3 => Just(verdict(Verdict::Drop)),
        2 => Just(verdict(Verdict::Return)),
        1 => Just(None),
    ];
    if below.is_empty() {
        return ends.boxed();
    }
    let goes = (select(below.to_vec()), any::<bool>()).prop_map(move |(to, back)| {
        verdict(if back { Verdict::Jump(name(to)) } else { Verdict::Goto(name(to)) })
    });
    // Maps lead to the last chains, so only the first chains use them.
    let dispatch =
        (field(), family()).prop_map(|(end, of)| Some(Finish::Dispatch(end, of, set("map", of))));
    let maps = if below.len() >= 3 { 2 } else { 0 };
    prop_oneof![4 => ends, 3 => goes, maps => dispatch].boxed()
}

fn rule(below: &'static [&'static str]) -> impl Strategy<Value = Rule> {
    let rule = (vec(a_match(), 0..3), finish(below)).prop_map(|(matches, finish)| Rule {
        matches,
        log: None,
        finish,
        comment: None,
    });
    let log = (vec(a_match(), 0..2), field(), family()).prop_map(|(matches, field, family)| Rule {
        matches,
        log: Some(Log {
            field,
            family,
            set: set("logged", family),
            per_second: 1,
            prefix: LogPrefix::new("x"),
            group: 1,
        }),
        finish: None,
        comment: None,
    });
    prop_oneof![8 => rule, 1 => log]
}

fn elements(set_type: SetType) -> BoxedStrategy<Vec<Element>> {
    let of = |family: Family| address().prop_filter("family", move |ip| Family::of(*ip) == family);
    match set_type {
        SetType::Address(family) => vec(of(family).prop_map(Element::Address), 0..3).boxed(),
        SetType::AddressRange(family) => (of(family), of(family))
            .prop_map(|(one, other)| {
                let range = AddressRange::new(one.min(other), one.max(other));
                range.map(Element::Range).into_iter().collect()
            })
            .boxed(),
        SetType::AddressPort(family) => {
            let element = (of(family), select(PORTS.to_vec()));
            vec(element.prop_map(|(ip, port)| Element::AddressPort(ip, port)), 0..4).boxed()
        }
        SetType::AddressPair(family) => {
            let element = (of(family), of(family));
            vec(element.prop_map(|(one, other)| Element::AddressPair(one, other)), 0..4).boxed()
        }
        SetType::ProtocolPort => {
            let element = (transport(), select(PORTS.to_vec()));
            vec(element.prop_map(|(of, port)| Element::ProtocolPort(of, port)), 0..4).boxed()
        }
        SetType::Icmpv6Type => {
            vec(select(TYPES.to_vec()).prop_map(Element::Icmpv6Type), 0..3).boxed()
        }
        SetType::Key(shape) => {
            let of = match shape.address {
                Some(KeyAddressType::V4) => of(Family::V4).prop_map(Some).boxed(),
                Some(KeyAddressType::V6 | KeyAddressType::Target) => {
                    of(Family::V6).prop_map(Some).boxed()
                }
                None => Just(None).boxed(),
            };
            let key = (select(INTERFACES.to_vec()), of).prop_map(|(interface, address)| {
                Element::Key(Key { interface: Some(interface), mac: None, address })
            });
            vec(key, 0..4).boxed()
        }
        SetType::RateLimit(_) | SetType::Store(_) => Just(Vec::new()).boxed(),
    }
}

/// A set that the kernel holds in another.
fn stored_ports() -> Name {
    Name::in_store(Store::Ports, Tag::new(1))
}

fn table() -> impl Strategy<Value = Ruleset> {
    let mut types = vec![
        (name("mixed"), SetType::ProtocolPort),
        (Name::of_store(Store::Ports), SetType::Store(Store::Ports)),
        (stored_ports(), SetType::ProtocolPort),
        (name("types"), SetType::Icmpv6Type),
        (name("guarded"), exit(None).set_type()),
    ];
    for of in Family::BOTH {
        types.extend([
            (set("hosts", of), SetType::Address(of)),
            (set("nets", of), SetType::AddressRange(of)),
            (set("named", of), SetType::AddressPort(of)),
            (set("pairs", of), SetType::AddressPair(of)),
            (set("logged", of), SetType::RateLimit(of)),
            (set("own", of), exit(Some(of)).set_type()),
        ]);
    }
    let sets: Vec<_> = types
        .into_iter()
        .map(|(name, set_type)| {
            let set = move |of| Set::new(set_type, None).with(of);
            elements(set_type).prop_map(move |of| (name.clone(), set(of)))
        })
        .collect();
    let entries = vec((address(), select(CHAINS[3..].to_vec())), 0..4);
    let chain = |at: usize| vec(rule(CHAINS.get(at.max(1) + 1..).unwrap_or_default()), 0..6);
    let chains: Vec<_> = (0..CHAINS.len()).map(chain).collect();
    (sets, entries, chains).prop_map(|(sets, entries, chains)| {
        let mut table = Ruleset::new(name("t"));
        table.sets = sets.into_iter().collect();
        for of in Family::BOTH {
            let entries = entries.iter().filter(|(ip, _)| Family::of(*ip) == of);
            let mut map = VerdictMap::new(of, None);
            map.entries = entries.map(|(ip, chain)| (*ip, name(chain))).collect();
            table.maps.insert(set("map", of), map);
        }
        for (index, rules) in chains.into_iter().enumerate() {
            let base = [Some(BaseChain::forward(1)), Some(BaseChain::forward(0))];
            let base = base.get(index).copied().flatten();
            let chain = Chain { base, comment: None, rules };
            table.chains.insert(name(CHAINS[index]), chain.into());
        }
        table
    })
}

fn flow_source() -> impl Strategy<Value = FlowSource> {
    prop_oneof![
        Just(FlowSource::Own),
        Just(FlowSource::Nobody),
        select(vec![0x0a00_0001, 0x0a00_0002]).prop_map(FlowSource::Other),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let ct = select(vec![CtState::New, CtState::New, CtState::Established, CtState::Related]);
    let source_port = prop::option::of(select(PORTS.to_vec()));
    let sides = (flow_source(), flow_source(), source_port);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (family(), ct, sides, flags, select(HOPS.to_vec())).prop_map(
        |(family, ct, (original, reply, source_port), flags, hop_limit)| Frame {
            family,
            ct,
            translated: flags.0,
            source_is_local: flags.1,
            source_port,
            original,
            reply,
            to_host: flags.2,
            hop_limit,
            exit: 0,
        },
    )
}

/// Codes on both sides of every limit that a table can test.
fn all_codes(family: Family) -> Vec<u128> {
    let edges = |ranges: Ranges| ranges.iter().flat_map(|(one, other)| [one, other]).collect();
    let mut codes: Vec<u128> = PROTOCOLS
        .iter()
        .flat_map(|number| -> Vec<u128> { edges(space::protocol(family, *number)) })
        .collect();
    for (protocol, port) in [Transport::Tcp, Transport::Udp, Transport::Sctp]
        .into_iter()
        .flat_map(|transport| PORTS.map(|port| (space::protocol_of(transport), port)))
    {
        codes.extend::<Vec<u128>>(edges(space::ports(protocol, port, port)));
    }
    match family {
        Family::V4 => codes.extend::<Vec<u128>>(edges(space::icmp_types(TYPES))),
        Family::V6 => codes.extend::<Vec<u128>>(edges(space::icmpv6_types(TYPES))),
    }
    codes
}

/// A node without pods.
fn with_nothing<T>(check: impl FnOnce(&Binding<'_>) -> T) -> T {
    let (network, isolated, nodes) = Default::default();
    check(&Binding { network: &network, isolated: &isolated, nodes: &nodes })
}

fn holds(parts: &[PacketSet], outer: u128, inner: u128, code: u128) -> usize {
    let has = |part: &&PacketSet| {
        part.outer.contains(outer) && part.region.codes_of(inner).contains(code)
    };
    parts.iter().filter(has).count()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn all_packets_at_once_fare_as_each_does(
        table in table(), frame in frame(), outer in field(), alone in any::<bool>(),
    ) {
        with_nothing(|binding| all_at_once(binding, &table, frame, outer, alone))?;
    }
}

/// Sends all packets at once and each alone, to each kind of interface.
fn all_at_once(
    binding: &Binding<'_>,
    table: &Ruleset,
    frame: Frame,
    outer: Field,
    alone: bool,
) -> Result<(), TestCaseError> {
    let machine = Machine::new(table, Exits::new(binding, table));
    let all = space::addresses(frame.family);
    let known: Vec<u128> = ADDRESSES
        .iter()
        .filter_map(|text| space::of_family(frame.family, text.parse().unwrap()))
        .chain([7])
        .collect();
    // A single outer address uses a shorter path.
    let outers = match alone {
        true => known.iter().map(|one| Ranges::single(*one)).collect(),
        false => vec![all.clone()],
    };
    for (exit, addresses) in (0..machine.exits().count())
        .flat_map(|exit| outers.iter().map(move |addresses| (exit, addresses)))
    {
        let view = View { frame: Frame { exit, ..frame }, outer };
        let region = Region::product(&all, &space::codes(frame.family));
        let ends = machine.table(view, PacketSet { outer: addresses.clone(), region }).unwrap();
        prop_assert!(ends.returned.is_empty());
        let here = known.iter().filter(|one| addresses.contains(**one));
        for (here, there) in here.flat_map(|one| known.iter().map(move |other| (*one, *other))) {
            for code in all_codes(frame.family) {
                let (source, destination) = match outer {
                    Field::Source => (here, there),
                    Field::Destination => (there, here),
                };
                // Then it would be its own.
                let other = FlowSource::Other(source);
                if [frame.original, frame.reply].contains(&other) {
                    continue;
                }
                let packet = space::packet(view.frame, source, destination, code).unwrap();
                let example = machine.exits().example(binding, exit, packet.destination);
                // Not every kind has every destination.
                let Some(out_interface) = example else { continue };
                let around = simulator::Frame { out_interface, ..packet.frame };
                let packet = Packet { frame: around, ..packet };
                let seen = simulate(table, &packet).unwrap();
                let passes = usize::from(seen.outcome == Outcome::Accept);
                let held = |parts| holds(parts, here, there, code);
                prop_assert_eq!(held(&ends.accepted), passes, "{:?}", &packet);
                prop_assert_eq!(held(&ends.dropped), 1 - passes, "{:?}", &packet);
                let point = Region::product(&Ranges::single(there), &Ranges::single(code));
                let point = PacketSet { outer: Ranges::single(here), region: point };
                if passes == 0 {
                    prop_assert_eq!(machine.decides(view, point).unwrap(), seen.decided_by);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_table_that_no_kernel_takes_is_an_error() {
    let (ct, to_host, hop_limit) = (CtState::New, true, 64);
    let [original, reply] = [FlowSource::Nobody; 2];
    let (family, translated, source_port, exit) = (Family::V4, false, None, 0);
    let source_is_local = false;
    #[rustfmt::skip]
    let frame = Frame {
        family, ct, translated, source_is_local, source_port, original, reply, to_host, hop_limit, exit,
    };
    let view = View { frame, outer: Field::Source };
    let in_set = |set: &str| Match::Address(Field::Source, AddressTest::Set(Family::V4, name(set)));
    let finish = |finish| Rule { finish: Some(finish), ..Rule::new([], Verdict::Drop) };
    let limited = Rule {
        log: Some(Log {
            field: Field::Source,
            family: Family::V4,
            set: name("logged4"),
            per_second: 1,
            prefix: LogPrefix::new("x"),
            group: 1,
        }),
        ..Rule::new([], Verdict::Drop)
    };
    let cases = [
        ("no such chain", Rule::new([], Verdict::Jump(name("none")))),
        ("no such set", Rule::new([in_set("none")], Verdict::Drop)),
        ("a set of another type", Rule::new([in_set("ports")], Verdict::Drop)),
        ("a set with wrong elements", Rule::new([in_set("wrong")], Verdict::Drop)),
        ("no such map", finish(Finish::Dispatch(Field::Source, Family::V4, name("none")))),
        ("a map to nowhere", finish(Finish::Dispatch(Field::Source, Family::V4, name("map")))),
        ("a loop", Rule::new([], Verdict::Goto(name("a")))),
        ("a verdict behind a limit", limited),
    ];
    for (case, rule) in cases {
        let mut table = Ruleset::new(name("t"));
        table.sets.insert(name("ports"), Set::new(SetType::ProtocolPort, None));
        table.sets.insert(name("logged4"), Set::new(SetType::RateLimit(Family::V4), None));
        let wrong = Set::new(SetType::Address(Family::V4), None).with([Element::Icmpv6Type(1)]);
        table.sets.insert(name("wrong"), wrong);
        let mut map = VerdictMap::new(Family::V4, None);
        map.entries.insert("10.0.0.1".parse().unwrap(), name("none"));
        table.maps.insert(name("map"), map);
        let base = Some(BaseChain::forward(0));
        let chain = Chain { base, comment: None, rules: vec![rule] };
        table.chains.insert(name("a"), chain.into());
        let region = Region::product(&space::addresses(Family::V4), &space::codes(Family::V4));
        let part = PacketSet { outer: space::addresses(Family::V4), region };
        with_nothing(|binding| {
            let machine = Machine::new(&table, Exits::new(binding, &table));
            assert!(machine.table(view, part).is_err(), "{case}");
        });
    }
}
