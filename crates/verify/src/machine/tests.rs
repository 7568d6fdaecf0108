//! Compares with `ruleset::simulator`, on tables that no compiler would make.

use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use ruleset::simulator::{CtState, Outcome, simulate};
use ruleset::{
    AddressRange, AddressTest, BaseChain, Chain, CtStates, Element, Family, Field, Finish, Log,
    LogPrefix, Match, Name, PortTest, Rule, Ruleset, Set, SetType, Transport, Verdict, VerdictMap,
};

use super::*;
use crate::space::{self, Frame};

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
const PROTOCOLS: [u8; 6] = [0, 6, 17, 58, 132, 255];
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
        .prop_map(|(of, first, last)| Match::Port(of, PortTest::In(first, last)));
    prop_oneof![
        1 => states,
        1 => Just(Match::NotToHost),
        2 => family().prop_map(Match::Family),
        1 => select(HOPS.to_vec()).prop_map(Match::HopLimit),
        2 => select(PROTOCOLS.to_vec()).prop_map(Match::Protocol),
        1 => Just(Match::NotOpening),
        4 => range,
        4 => in_set,
        3 => port,
        2 => transport().prop_map(|of| Match::Port(of, PortTest::Set(name("ports")))),
        2 => (field(), family(), transport())
            .prop_map(|(end, of, by)| Match::AddressPort(end, of, by, set("named", of))),
        2 => family().prop_map(|of| Match::AddressPair(of, set("pairs", of))),
        1 => Just(Match::Icmpv6Type(name("types"))),
    ]
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
        SetType::Port => vec(select(PORTS.to_vec()).prop_map(Element::Port), 0..3).boxed(),
        SetType::Icmpv6Type => {
            vec(select(TYPES.to_vec()).prop_map(Element::Icmpv6Type), 0..3).boxed()
        }
        SetType::RateLimit(_) | SetType::Key(_) => Just(Vec::new()).boxed(),
    }
}

fn table() -> impl Strategy<Value = Ruleset> {
    let mut types = vec![(name("ports"), SetType::Port), (name("types"), SetType::Icmpv6Type)];
    for of in Family::BOTH {
        types.extend([
            (set("hosts", of), SetType::Address(of)),
            (set("nets", of), SetType::AddressRange(of)),
            (set("named", of), SetType::AddressPort(of)),
            (set("pairs", of), SetType::AddressPair(of)),
            (set("logged", of), SetType::RateLimit(of)),
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

fn frame() -> impl Strategy<Value = Frame> {
    let ct = select(vec![CtState::New, CtState::New, CtState::Established, CtState::Related]);
    (family(), ct, any::<bool>(), select(HOPS.to_vec()))
        .prop_map(|(family, ct, to_host, hop_limit)| Frame { family, ct, to_host, hop_limit })
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
    if family == Family::V6 {
        codes.extend::<Vec<u128>>(edges(space::icmpv6_types(TYPES)));
    }
    codes
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
        let machine = Machine::new(&table);
        let all = space::addresses(frame.family);
        let known: Vec<u128> = ADDRESSES
            .iter()
            .filter_map(|text| space::of_family(frame.family, text.parse().unwrap()))
            .chain([7])
            .collect();
        // A single outer address uses a shorter path.
        let outers = if alone { known.iter().map(|one| Ranges::single(*one)).collect() } else { vec![all.clone()] };
        for addresses in outers {
            let region = Region::product(&all, &space::codes(frame.family));
            let view = View { frame, outer };
            let part = PacketSet { outer: addresses.clone(), region };
            let ends = machine.table(view, part).unwrap();
            prop_assert!(ends.returned.is_empty());
            let here = known.iter().filter(|one| addresses.contains(**one));
            for (here, there) in here.flat_map(|one| known.iter().map(move |other| (*one, *other))) {
                for code in all_codes(frame.family) {
                    let (source, destination) = match outer {
                        Field::Source => (here, there),
                        Field::Destination => (there, here),
                    };
                    let packet = space::packet(frame, source, destination, code).unwrap();
                    let seen = simulate(&table, &packet).unwrap();
                    let passes = usize::from(seen.outcome == Outcome::Accept);
                    prop_assert_eq!(holds(&ends.accepted, here, there, code), passes, "{:?}", &packet);
                    prop_assert_eq!(holds(&ends.dropped, here, there, code), 1 - passes, "{:?}", &packet);
                    let point = Region::product(&Ranges::single(there), &Ranges::single(code));
                    let point = PacketSet { outer: Ranges::single(here), region: point };
                    if passes == 0 {
                        prop_assert_eq!(machine.decides(view, point).unwrap(), seen.decided_by);
                    }
                }
            }
        }
    }
}

#[test]
fn a_table_that_no_kernel_takes_is_an_error() {
    let frame = Frame { family: Family::V4, ct: CtState::New, to_host: true, hop_limit: 64 };
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
        table.sets.insert(name("ports"), Set::new(SetType::Port, None));
        table.sets.insert(name("logged4"), Set::new(SetType::RateLimit(Family::V4), None));
        let wrong = Set::new(SetType::Address(Family::V4), None).with([Element::Port(1)]);
        table.sets.insert(name("wrong"), wrong);
        let mut map = VerdictMap::new(Family::V4, None);
        map.entries.insert("10.0.0.1".parse().unwrap(), name("none"));
        table.maps.insert(name("map"), map);
        let base = Some(BaseChain::forward(0));
        let chain = Chain { base, comment: None, rules: vec![rule] };
        table.chains.insert(name("a"), chain.into());
        let region = Region::product(&space::addresses(Family::V4), &space::codes(Family::V4));
        let part = PacketSet { outer: space::addresses(Family::V4), region };
        assert!(Machine::new(&table).table(view, part).is_err(), "{case}");
    }
}
