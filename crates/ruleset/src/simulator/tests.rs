//! Every match, verdict and way through chains, one packet at a time.

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::{
    AddressRange, AddressTest, BaseChain, Chain, CtStates, Element, Family, Field, Finish,
    FlowSide, Log, LogPrefix, Match, PortRange, Rule, Set, SetType, TcpFlags, Transport, Verdict,
    VerdictMap,
};

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) const DROP: Verdict = Verdict::Drop;
pub(super) const ACCEPT: Verdict = Verdict::Accept;
pub(super) const RETURN: Verdict = Verdict::Return;

pub(super) fn jump(chain: &str) -> Verdict {
    Verdict::Jump(name(chain))
}

pub(super) fn goto(chain: &str) -> Verdict {
    Verdict::Goto(name(chain))
}

pub(super) fn from_set(set: &str) -> Match {
    Match::Address(Field::Source, AddressTest::Set(Family::V4, name(set)))
}

pub(super) fn to_set(set: &str) -> Match {
    Match::Address(Field::Destination, AddressTest::Set(Family::V4, name(set)))
}

pub(super) fn tcp(port: u16) -> Match {
    Match::Port(Transport::Tcp, PortRange(port, port))
}

pub(super) fn dispatch(field: Field, map: &str) -> Rule {
    let finish = Some(Finish::Dispatch(field, Family::V4, name(map)));
    Rule { matches: vec![], log: None, finish, comment: None }
}

/// A table that you build by calls. `forward` is the base chain.
#[derive(Clone, Debug)]
pub(super) struct Table(pub Ruleset);

impl Table {
    pub fn new() -> Self {
        Self(Ruleset::new(name("nftpol")))
    }

    pub fn chain(mut self, chain: &str, rules: impl IntoIterator<Item = Rule>) -> Self {
        let base = (chain == "forward").then_some(BaseChain::forward(0));
        let rules = rules.into_iter().collect();
        self.0.chains.insert(name(chain), Chain { base, comment: None, rules }.into());
        self
    }

    /// A set of IPv4 addresses.
    pub fn set(self, set: &str, addresses: &[&str]) -> Self {
        let elements = addresses.iter().map(|address| Element::Address(ip(address)));
        self.typed(set, SetType::Address(Family::V4), elements)
    }

    pub fn typed(
        mut self,
        set: &str,
        set_type: SetType,
        elements: impl IntoIterator<Item = Element>,
    ) -> Self {
        self.0.sets.insert(name(set), Set::new(set_type, None).with(elements));
        self
    }

    pub fn map(mut self, map: &str, entries: &[(&str, &str)]) -> Self {
        let mut new = VerdictMap::new(Family::V4, None);
        new.entries = entries.iter().map(|&(key, chain)| (ip(key), name(chain))).collect();
        self.0.maps.insert(name(map), new);
        self
    }
}

pub(super) fn web() -> Packet {
    Packet::to_port(ip("10.0.0.1"), ip("10.0.0.2"), Transport::Tcp, 80)
}

fn web6() -> Packet {
    Packet::to_port(ip("fd00::1"), ip("fd00::2"), Transport::Tcp, 80)
}

fn outcome(table: &Table, packet: &Packet) -> Outcome {
    simulate(&table.0, packet).unwrap().outcome
}

/// A set that the kernel holds in a store. To the simulator it is one of its own.
const STORED: &str = "p4.0123456789abcdef01234567";

/// Whether a match holds for a packet, in a table with a set of each type.
fn holds(condition: Match, packet: &Packet) -> bool {
    let v4 = Family::V4;
    let v6 = Family::V6;
    let range =
        |first: &str, last: &str| Element::Range(AddressRange::new(ip(first), ip(last)).unwrap());
    let table = Table::new()
        .set("pods", &["10.0.0.1"])
        .typed("pods6", SetType::Address(v6), [Element::Address(ip("fd00::1"))])
        .typed(
            "blocks",
            SetType::AddressRange(v4),
            [
                range("9.0.0.0", "9.0.0.9"),
                range("10.0.0.1", "10.0.0.1"),
                range("11.0.0.0", "12.0.0.0"),
            ],
        )
        .typed("blocks6", SetType::AddressRange(v6), [range("fd00::", "fd00::f")])
        .typed("named", SetType::AddressPort(v4), [Element::AddressPort(ip("10.0.0.2"), 80)])
        .typed("named6", SetType::AddressPort(v6), [Element::AddressPort(ip("fd00::2"), 80)])
        .typed(
            "self",
            SetType::AddressPair(v4),
            [Element::AddressPair(ip("10.0.0.1"), ip("10.0.0.1"))],
        )
        .typed(
            "self6",
            SetType::AddressPair(v6),
            [Element::AddressPair(ip("fd00::1"), ip("fd00::1"))],
        )
        .typed(
            "pairs",
            SetType::AddressPair(v4),
            [Element::AddressPair(ip("10.0.0.1"), ip("10.0.0.9"))],
        )
        .typed(
            "mixed",
            SetType::ProtocolPort,
            [Element::ProtocolPort(Transport::Tcp, 80), Element::ProtocolPort(Transport::Udp, 53)],
        )
        .typed(STORED, SetType::Address(v4), [Element::Address(ip("10.0.0.1"))])
        .typed("nd", SetType::Icmpv6Type, [Element::Icmpv6Type(135)])
        .chain("forward", [Rule::new([condition], DROP)]);
    outcome(&table, packet) == Outcome::Drop
}

#[test]
fn each_match_holds_where_it_should() {
    use Field::{Destination, Source};
    use Match::{
        Address, AddressPair, AddressPort, CtState, FlowSource, HopLimit, Icmpv6Type, NotOpening,
        NotToHost, Port, Protocol,
    };
    use Transport::{Tcp, Udp};
    let states = |established, related| CtState(CtStates { established, related });
    let flow = |ct| Packet { ct, ..web() };
    let (new, established, related) = (
        flow(super::CtState::New),
        flow(super::CtState::Established),
        flow(super::CtState::Related),
    );
    let inside = |field, first, last| {
        Address(field, AddressTest::In(AddressRange::new(ip(first), ip(last)).unwrap()))
    };
    let set = |field, family, set| Address(field, AddressTest::Set(family, name(set)));
    let from = |source: &str| Packet { source: ip(source), ..web() };
    let ports = |transport, first, last| Port(transport, PortRange(first, last));
    let udp = Packet::to_port(ip("10.0.0.1"), ip("10.0.0.2"), Udp, 80);
    let dns = Packet { destination_port: Some(53), ..udp };
    let ping = Packet::new(ip("10.0.0.1"), ip("10.0.0.2"), 1);
    let fragment = Packet { destination_port: None, tcp_flags: None, ..web() };
    let flags = |flags: &[TcpFlags]| {
        let all = flags.iter().fold(0, |all, flag| all | flag.0);
        Packet { tcp_flags: Some(TcpFlags(all)), ..web() }
    };
    let (fin, syn, rst, ack) = (TcpFlags::FIN, TcpFlags::SYN, TcpFlags::RST, TcpFlags::ACK);
    let congestion = TcpFlags(0xc0); // ECE and CWR (RFC 3168, 6.1)
    let itself = Packet { destination: ip("10.0.0.1"), ..web() };
    let itself6 = Packet { destination: ip("fd00::1"), ..web6() };
    let broadcast = Packet { to_host: false, ..web() };
    let neighbour = Packet::neighbour_discovery(ip("fd00::1"), ip("fd00::2"), 135);
    let routed = Packet { hop_limit: 254, ..neighbour };
    let echo = Packet::icmpv6(ip("fd00::1"), ip("fd00::2"), 128);
    let odd = Packet { source: ip("10.0.0.1"), destination: ip("10.0.0.2"), ..neighbour };
    let client = ip("10.0.0.9");
    let about = |original, reply| Packet { flow: [original, reply], ..web() };
    let of_side = |side, family, set| FlowSource(side, family, name(set));
    let opened = |family, set| Match::FlowOpener(family, name(set));
    let (v4, v6) = (Family::V4, Family::V6);
    let named = |family, transport, set| AddressPort(Destination, family, transport, name(set));
    #[rustfmt::skip]
    let cases = [
        ("established is asked for", states(true, true), established, true),
        ("related is asked for", states(true, true), related, true),
        ("new is not", states(true, true), new, false),
        ("only established", states(true, false), related, false),
        ("only related", states(false, true), established, false),
        ("no state at all", states(false, false), established, false),
        ("a Service carries it", Match::CtTranslated, Packet { translated: true, ..web() }, true),
        ("the host itself speaks", Match::SourceIsLocal, Packet { source_is_local: true, ..web() }, true),
        ("another speaks", Match::SourceIsLocal, web(), false),
        ("no Service carries it", Match::CtTranslated, established, false),
        ("the client speaks", of_side(FlowSide::Original, v4, "pairs"), about(Some(client), None), true),
        ("not the server", of_side(FlowSide::Reply, v4, "pairs"), about(Some(client), None), false),
        ("the server speaks", of_side(FlowSide::Reply, v4, "pairs"), about(None, Some(client)), true),
        ("about itself, no pair", of_side(FlowSide::Original, v4, "pairs"), about(Some(web().source), None), false),
        ("about no flow", of_side(FlowSide::Original, v4, "pairs"), web(), false),
        ("about a flow of the other family", of_side(FlowSide::Original, v6, "self6"), about(Some(client), None), false),
        ("a pod opened the flow", opened(v4, "pods"), about(Some(web().source), None), true),
        ("another did", opened(v4, "pods"), about(Some(client), None), false),
        ("a pod answers", opened(v4, "pods"), about(None, Some(web().source)), false),
        ("no flow that anybody opened", opened(v4, "pods"), web(), false),
        ("opened, of the other family", opened(v6, "pods6"), about(Some(web().source), None), false),
        ("to one host", NotToHost, new, false),
        ("to many", NotToHost, broadcast, true),
        ("family 4", Match::Family(v4), web(), true),
        ("family 4, other packet", Match::Family(v4), web6(), false),
        ("family 6", Match::Family(v6), web6(), true),
        ("a neighbour's hop limit", HopLimit(255), neighbour, true),
        ("a router's hop limit", HopLimit(255), routed, false),
        ("the usual hop limit", HopLimit(64), web6(), true),
        ("no hop limit in IPv4", HopLimit(255), odd, false),
        ("a SYN opens", NotOpening, web(), false),
        ("a SYN with congestion notification", NotOpening, flags(&[syn, congestion]), false),
        ("its answer", NotOpening, flags(&[syn, ack]), true),
        ("an ACK", NotOpening, flags(&[ack]), true),
        ("a reset", NotOpening, flags(&[rst]), true),
        ("SYN and FIN", NotOpening, flags(&[syn, fin]), true),
        ("no flag", NotOpening, flags(&[]), true),
        ("flags of a fragment", NotOpening, fragment, false),
        ("flags of UDP", NotOpening, Packet { tcp_flags: Some(ack), ..udp }, false),
        ("protocol", Protocol(6), web(), true),
        ("protocol of a fragment", Protocol(6), fragment, true),
        ("other protocol", Protocol(6), udp, false),
        ("source in range", inside(Source, "10.0.0.0", "10.0.0.1"), web(), true),
        ("source below", inside(Source, "10.0.0.2", "10.0.0.9"), web(), false),
        ("destination in range", inside(Destination, "10.0.0.2", "10.0.0.9"), web(), true),
        ("all of IPv4 is not IPv6", inside(Source, "0.0.0.0", "255.255.255.255"), web6(), false),
        ("all of IPv6 is not IPv4", inside(Source, "::", "ffff::"), web(), false),
        ("source in set", set(Source, v4, "pods"), web(), true),
        ("destination not in set", set(Destination, v4, "pods"), web(), false),
        ("IPv6 source in set", set(Source, v6, "pods6"), web6(), true),
        ("a set of the other family", set(Source, v6, "pods6"), web(), false),
        ("first of a range", set(Source, v4, "blocks"), from("9.0.0.0"), true),
        ("last of a range", set(Source, v4, "blocks"), from("9.0.0.9"), true),
        ("between ranges", set(Source, v4, "blocks"), from("9.0.0.10"), false),
        ("below all ranges", set(Source, v4, "blocks"), from("8.0.0.0"), false),
        ("above all ranges", set(Source, v4, "blocks"), from("12.0.0.1"), false),
        ("a range of one", set(Source, v4, "blocks"), web(), true),
        ("IPv6 range", set(Source, v6, "blocks6"), web6(), true),
        ("port", ports(Tcp, 80, 80), web(), true),
        ("port of IPv6", ports(Tcp, 80, 80), web6(), true),
        ("port in range", ports(Tcp, 1, 80), web(), true),
        ("port above range", ports(Tcp, 1, 79), web(), false),
        ("port of another protocol", ports(Tcp, 80, 80), udp, false),
        ("a fragment has no port", ports(Tcp, 0, 65535), fragment, false),
        ("ping has no port", ports(Tcp, 0, 65535), ping, false),
        ("protocol and port", Match::Ports(name("mixed")), web(), true),
        ("protocol and port of IPv6", Match::Ports(name("mixed")), web6(), true),
        ("the same port, other protocol", Match::Ports(name("mixed")), udp, false),
        ("the other protocol's port", Match::Ports(name("mixed")), dns, true),
        ("a fragment has no protocol with port", Match::Ports(name("mixed")), fragment, false),
        ("ping has no protocol with port", Match::Ports(name("mixed")), Packet { destination_port: Some(80), ..ping }, false),
        ("source in a stored set", set(Source, v4, STORED), web(), true),
        ("destination not in a stored set", set(Destination, v4, STORED), web(), false),
        (
            "source port",
            Match::SourcePort(Udp, 8472),
            Packet { source_port: Some(8472), ..udp },
            true,
        ),
        (
            "another source port",
            Match::SourcePort(Udp, 8472),
            Packet { source_port: Some(8471), ..udp },
            false,
        ),
        (
            "source port, other protocol",
            Match::SourcePort(Udp, 8472),
            Packet { source_port: Some(8472), ..web() },
            false,
        ),
        ("named port", named(v4, Tcp, "named"), web(), true),
        ("named port, other protocol", named(v4, Tcp, "named"), udp, false),
        ("named port of IPv6", named(v6, Tcp, "named6"), web6(), true),
        ("named port, other family", named(v6, Tcp, "named6"), web(), false),
        ("named port of a fragment", named(v4, Tcp, "named"), fragment, false),
        ("itself", AddressPair(v4, name("self")), itself, true),
        ("another", AddressPair(v4, name("self")), web(), false),
        ("itself in IPv6", AddressPair(v6, name("self6")), itself6, true),
        ("itself, other family", AddressPair(v6, name("self6")), itself, false),
        ("neighbour discovery", Icmpv6Type(name("nd")), neighbour, true),
        ("echo", Icmpv6Type(name("nd")), echo, false),
        ("protocol 58 over IPv4", Icmpv6Type(name("nd")), odd, false),
        ("no ICMP", Icmpv6Type(name("nd")), web6(), false),
    ];
    for (case, condition, packet, expected) in cases {
        assert_eq!(holds(condition, &packet), expected, "{case}");
    }
}

/// Chains `forward`, `a`, `b` and `c` with these rules.
fn chains(rules: [Vec<Rule>; 4]) -> Table {
    let [forward, a, b, c] = rules;
    Table::new().chain("forward", forward).chain("a", a).chain("b", b).chain("c", c)
}

#[test]
fn jump_goto_and_return_go_where_the_kernel_goes() {
    let to = |verdict| Rule::new([], verdict);
    let never = || Rule::new([tcp(1)], ACCEPT);
    let nothing = || Rule { matches: vec![], log: None, finish: None, comment: None };
    #[rustfmt::skip]
    let cases = [
        ("policy", [vec![], vec![], vec![], vec![]], Outcome::Accept, None),
        ("accept", [vec![to(ACCEPT), to(DROP)], vec![], vec![], vec![]], Outcome::Accept, Some(("forward", 0))),
        ("no match goes on", [vec![never(), to(DROP)], vec![], vec![], vec![]], Outcome::Drop, Some(("forward", 1))),
        ("no verdict goes on", [vec![nothing(), to(DROP)], vec![], vec![], vec![]], Outcome::Drop, Some(("forward", 1))),
        ("return in the base chain meets the policy", [vec![to(RETURN), to(DROP)], vec![], vec![], vec![]], Outcome::Accept, None),
        ("jump comes back at the end", [vec![to(jump("a")), to(DROP)], vec![never()], vec![], vec![]], Outcome::Drop, Some(("forward", 1))),
        ("jump comes back at return", [vec![to(jump("a")), to(DROP)], vec![to(RETURN), to(ACCEPT)], vec![], vec![]], Outcome::Drop, Some(("forward", 1))),
        ("goto from the base chain does not", [vec![to(goto("a")), to(DROP)], vec![], vec![], vec![]], Outcome::Accept, None),
        ("return after goto from the base chain", [vec![to(goto("a")), to(DROP)], vec![to(RETURN)], vec![], vec![]], Outcome::Accept, None),
        ("end after jump, goto: the jump's caller", [vec![to(jump("a")), to(DROP)], vec![to(goto("b")), to(ACCEPT)], vec![], vec![]], Outcome::Drop, Some(("forward", 1))),
        ("return after jump, goto: the jump's caller", [vec![to(jump("a")), to(DROP)], vec![to(goto("b")), to(ACCEPT)], vec![to(RETURN)], vec![]], Outcome::Drop, Some(("forward", 1))),
        ("return after jump, jump: one level", [vec![to(jump("a")), to(ACCEPT)], vec![to(jump("b")), to(DROP)], vec![to(RETURN)], vec![]], Outcome::Drop, Some(("a", 1))),
        ("return after jump, goto, jump", [vec![to(jump("a")), to(ACCEPT)], vec![to(goto("b"))], vec![to(jump("c")), to(DROP)], vec![to(RETURN)]], Outcome::Drop, Some(("b", 1))),
        ("a chain twice", [vec![to(jump("a")), to(jump("a")), to(DROP)], vec![to(RETURN)], vec![], vec![]], Outcome::Drop, Some(("forward", 2))),
        ("drop deep down", [vec![to(jump("a")), to(ACCEPT)], vec![to(goto("b"))], vec![to(jump("c"))], vec![to(DROP)]], Outcome::Drop, Some(("c", 0))),
        ("accept deep down ends all", [vec![to(jump("a")), to(DROP)], vec![to(jump("b")), to(DROP)], vec![to(ACCEPT)], vec![]], Outcome::Accept, Some(("b", 0))),
    ];
    for (case, rules, outcome, decided_by) in cases {
        let simulated = simulate(&chains(rules).0, &web()).unwrap();
        let decided_by = decided_by.map(|(chain, rule)| RulePosition { chain: name(chain), rule });
        assert_eq!((simulated.outcome, simulated.decided_by), (outcome, decided_by), "{case}");
    }
}

#[test]
fn a_map_goes_to_its_chain_or_on_to_the_next_rule() {
    let table = |entries| {
        Table::new()
            .chain(
                "forward",
                [Rule::new([], jump("egress")), Rule::new([tcp(80)], ACCEPT), Rule::new([], DROP)],
            )
            .chain("egress", [dispatch(Field::Source, "egress"), Rule::new([], DROP)])
            .chain("e.x", [Rule::new([tcp(80)], RETURN), Rule::new([], DROP)])
            .map("egress", entries)
    };
    let ssh = Packet::to_port(ip("10.0.0.1"), ip("10.0.0.2"), Transport::Tcp, 22);
    let hit = table(&[("10.0.0.1", "e.x")]);
    assert_eq!(outcome(&hit, &web()), Outcome::Accept);
    assert_eq!(
        simulate(&hit.0, &ssh).unwrap().decided_by,
        Some(RulePosition { chain: name("e.x"), rule: 1 })
    );
    let miss = table(&[("10.0.0.2", "e.x")]);
    assert_eq!(
        simulate(&miss.0, &web()).unwrap().decided_by,
        Some(RulePosition { chain: name("egress"), rule: 1 })
    );
    // The rule is for IPv4 and matches no other packet.
    assert_eq!(outcome(&hit, &web6()), Outcome::Drop);
    let end = |chain, packet: &Packet| simulate_chain(&hit.0, &name(chain), packet);
    assert_eq!(end("egress", &web()), Ok(End::Returned));
    assert_eq!(end("egress", &ssh), Ok(End::Dropped));
    assert_eq!(end("forward", &web()), Ok(End::Accepted));
    assert_eq!(end("none", &web()), Err(Broken::NoStart(name("none"))));
}

#[test]
fn the_trace_is_every_rule_that_matched() {
    let table = chains([
        vec![Rule::new([tcp(1)], DROP), Rule::new([], jump("a")), Rule::new([], DROP)],
        vec![Rule::new([tcp(80)], RETURN)],
        vec![],
        vec![],
    ]);
    let trace: Vec<String> =
        simulate(&table.0, &web()).unwrap().trace.iter().map(ToString::to_string).collect();
    assert_eq!(trace, ["chain forward, rule 1", "chain a, rule 0", "chain forward, rule 2"]);
}

fn log(family: Family, finish: Option<Finish>) -> Rule {
    let log = Log {
        field: Field::Source,
        family,
        set: name("logged"),
        per_second: 10,
        prefix: LogPrefix::new("x"),
        group: 100,
    };
    Rule { matches: vec![], log: Some(log), finish, comment: None }
}

#[test]
fn a_log_changes_nothing() {
    let logged = |rule| {
        Table::new()
            .typed("logged", SetType::RateLimit(Family::V4), [])
            .chain("forward", [rule, Rule::new([], DROP)])
    };
    for packet in [web(), web6()] {
        assert_eq!(outcome(&logged(log(Family::V4, None)), &packet), Outcome::Drop);
    }
    let limited = log(Family::V4, Some(Finish::Verdict(ACCEPT)));
    let at = RulePosition { chain: name("forward"), rule: 0 };
    assert_eq!(simulate(&logged(limited).0, &web()), Err(Broken::LimitedVerdict { at }));
}

#[test]
fn every_base_chain_must_let_a_packet_through() {
    let two = |early, late| {
        let mut table = Table::new()
            .chain("forward", [Rule::new([], early)])
            .chain("a.first", [Rule::new([], late)]);
        Arc::make_mut(table.0.chains.get_mut("a.first").unwrap()).base =
            Some(BaseChain::forward(5));
        table
    };
    assert_eq!(outcome(&two(ACCEPT, ACCEPT), &web()), Outcome::Accept);
    assert_eq!(outcome(&two(ACCEPT, DROP), &web()), Outcome::Drop);
    let decided_by = simulate(&two(DROP, ACCEPT).0, &web()).unwrap().decided_by.unwrap();
    assert_eq!(decided_by.chain, name("forward"));
    assert_eq!(outcome(&Table::new(), &web()), Outcome::Accept);
}

#[test]
fn a_broken_table_is_an_error_and_no_panic() {
    let at = || RulePosition { chain: name("forward"), rule: 0 };
    let only = |rule| Table::new().chain("forward", [rule]);
    let x = || name("x");
    #[rustfmt::skip]
    let cases = [
        (only(Rule::new([], jump("x"))), Broken::UnknownChain { at: at(), chain: x() }),
        (only(Rule::new([], goto("x"))), Broken::UnknownChain { at: at(), chain: x() }),
        (only(dispatch(Field::Source, "m")).map("m", &[("10.0.0.1", "x")]), Broken::UnknownChain { at: at(), chain: x() }),
        (only(dispatch(Field::Source, "x")), Broken::UnknownSet { at: at(), name: x() }),
        (only(Rule::new([from_set("x")], DROP)), Broken::UnknownSet { at: at(), name: x() }),
        (only(log(Family::V4, None)), Broken::UnknownSet { at: at(), name: name("logged") }),
        (only(Rule::new([from_set("x")], DROP)).typed("x", SetType::ProtocolPort, []), Broken::WrongType { at: at(), name: x() }),
        (only(Rule::new([from_set("x")], DROP)).typed("x", SetType::Address(Family::V6), []), Broken::WrongType { at: at(), name: x() }),
    ];
    for (table, broken) in cases {
        assert_eq!(simulate(&table.0, &web()), Err(broken));
    }
}

#[test]
fn sixteen_levels_are_too_deep_and_loops_end() {
    let deep = |levels: u8| {
        let mut table = Table::new().chain("forward", [Rule::new([], jump("c1"))]);
        for level in 1..levels {
            let next = format!("c{}", level + 1);
            let verdict = if level % 2 == 0 { jump(&next) } else { goto(&next) };
            table = table.chain(&format!("c{level}"), [Rule::new([], verdict)]);
        }
        table.chain(&format!("c{levels}"), [Rule::new([], DROP)])
    };
    assert_eq!(outcome(&deep(15), &web()), Outcome::Drop);
    let at = RulePosition { chain: name("c15"), rule: 0 };
    assert_eq!(simulate(&deep(16).0, &web()), Err(Broken::TooDeep { at }));
    for verdict in [jump("forward"), goto("forward")] {
        let table = Table::new().chain("forward", [Rule::new([], verdict)]);
        assert!(matches!(simulate(&table.0, &web()), Err(Broken::TooDeep { .. })));
    }
}

mod frames;
