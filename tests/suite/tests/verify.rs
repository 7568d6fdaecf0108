//! The exact comparison agrees with the simulator and the specification, on random
//! clusters and on slightly wrong tables. No kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use compiler::{Compiled, Options};
use policy::spec::binding::{Binding, isolated_pods, nodes};
use policy::spec::owners;
use policy::{NodeNetwork, Snapshot, Tunnel, TunnelSources, spec};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use ruleset::simulator::{Outcome, simulate, simulate_at};
use ruleset::{Finish, Match, Name, Ruleset, TableFamily, Verdict};
use samples::frames;
use samples::from_scratch::compiled_on;
use samples::judge::{self, NodeVerdict, is_forwarded, on_the_wire};
use samples::random::{self, NODES};
use verify::{Reason, Report, Unknown, verify};

/// As in `meaning.rs`: the same cases each time by default.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// An interface that random networks do not have. Number 0 would not do: addresses that
/// are contested are bound to it.
const NO_PODS_INTERFACE: u32 = 1_000_000;

fn tables(snapshot: &Snapshot, network: &NodeNetwork, node: Option<&str>) -> Compiled {
    let options = Options { node: node.map(str::to_owned), ..Options::default() };
    compiled_on(snapshot, network, &options)
}

fn proved(
    snapshot: &Snapshot,
    network: &NodeNetwork,
    node: Option<&str>,
    Compiled { ruleset, bridge, .. }: &Compiled,
) -> Report {
    let bridge = bridge.as_ref();
    verify(snapshot, node, &BTreeSet::new(), network, ruleset, bridge).expect("complete tables")
}

fn shown(report: &Report) -> String {
    report.ways().map(|one| format!("{one}\n")).collect()
}

/// A small mistake. Each index picks one of the objects that exist.
#[derive(Clone, Debug)]
enum Mistake {
    /// A rule is missing.
    Rule(Index),
    /// Two neighbouring rules change places.
    Order(Index),
    /// A match of a rule is missing.
    Match(Index),
    /// A rule has another verdict.
    Verdict(Index, Verdict),
    /// An element of a set is missing.
    Gone(Index),
    /// An element of a set is also in another set of its type.
    Too(Index, Index),
    /// An entry of a map is missing.
    Entry(Index),
    /// Two entries of a map swap their targets.
    Entries(Index),
}

fn mistake() -> impl Strategy<Value = Mistake> {
    let verdict = prop::sample::select(vec![Verdict::Accept, Verdict::Drop, Verdict::Return]);
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Mistake::Rule),
        index().prop_map(Mistake::Order),
        index().prop_map(Mistake::Match),
        (index(), verdict).prop_map(|(at, verdict)| Mistake::Verdict(at, verdict)),
        index().prop_map(Mistake::Gone),
        (index(), index()).prop_map(|(of, to)| Mistake::Too(of, to)),
        index().prop_map(Mistake::Entry),
        index().prop_map(Mistake::Entries),
    ]
}

impl Mistake {
    /// Makes the mistake, or does nothing where no such object exists.
    fn make(&self, table: &mut Ruleset) -> Option<()> {
        match self {
            Self::Rule(at) | Self::Order(at) | Self::Match(at) | Self::Verdict(at, _) => {
                let chains = table.chains.iter();
                let all: Vec<(Name, usize)> = chains
                    .flat_map(|(name, chain)| {
                        (0..chain.rules.len()).map(move |rule| (name.clone(), rule))
                    })
                    .collect();
                let (name, rule) = all.get(at.index(all.len().max(1)))?;
                let rules = &mut Arc::make_mut(table.chains.get_mut(name)?).rules;
                let next = (rule + 1).min(rules.len() - 1);
                match self {
                    Self::Rule(_) => drop(rules.remove(*rule)),
                    Self::Order(_) => rules.swap(*rule, next),
                    Self::Verdict(_, verdict) if rules[*rule].log.is_none() => {
                        rules[*rule].finish = Some(Finish::Verdict(verdict.clone()));
                    }
                    _ => drop(rules[*rule].matches.pop()),
                }
            }
            Self::Gone(at) | Self::Too(at, _) => {
                let sets = table.sets.iter();
                let all: Vec<_> = sets
                    .flat_map(|(name, set)| {
                        set.elements.iter().map(|element| (name.clone(), *element))
                    })
                    .collect();
                let (name, element) = all.get(at.index(all.len().max(1)))?;
                let set_type = table.sets.get(name)?.set_type;
                match self {
                    Self::Too(_, to) => {
                        let others = table.sets.iter().filter(|(_, set)| set.set_type == set_type);
                        let others: Vec<Name> = others.map(|(name, _)| name.clone()).collect();
                        let to = &others[to.index(others.len())];
                        table.sets.get_mut(to)?.elements.insert(*element);
                    }
                    _ => drop(table.sets.get_mut(name)?.elements.remove(element)),
                }
            }
            Self::Entry(at) | Self::Entries(at) => {
                let maps = table.maps.iter().filter(|(_, map)| !map.entries.is_empty());
                let maps: Vec<Name> = maps.map(|(name, _)| name.clone()).collect();
                let map = table.maps.get_mut(maps.get(at.index(maps.len().max(1)))?)?;
                let first = map.entries.get_min().cloned()?;
                let last = map.entries.get_max().cloned()?;
                map.entries.remove(&first.0);
                if let Self::Entries(_) = self {
                    map.entries.insert(first.0, last.1);
                    map.entries.insert(last.0, first.1);
                }
            }
        }
        Some(())
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_compiled_table_is_what_the_specification_says(
        snapshot in random::snapshot(), wiring in prop::option::of(random::wiring()),
    ) {
        for node in NODES.iter().map(|(node, _)| Some(*node)).chain([None]) {
            let network = wiring.as_ref().map(|wiring| wiring.network(&snapshot, node));
            let network = network.unwrap_or_default();
            let tables = tables(&snapshot, &network, node);
            let report = proved(&snapshot, &network, node, &tables);
            prop_assert!(report.is_equal(), "{node:?}\n{}", shown(&report));
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    /// Each packet that the report shows differs. If it shows none, no packet between
    /// the relevant addresses and ports differs.
    #[test]
    fn a_wrong_table_differs_where_it_is_said_to(
        snapshot in random::snapshot(),
        wiring in prop::option::of(random::wiring()),
        mistakes in prop::collection::vec((prop::bool::weighted(0.3), mistake()), 1..3),
        frames in prop::collection::vec(frames::any(), 100),
    ) {
        let (node, node_address) = NODES[0];
        let network = wiring.as_ref().map(|wiring| wiring.network(&snapshot, Some(node)));
        let network = network.unwrap_or_default();
        let mut wrong = tables(&snapshot, &network, Some(node));
        for (of_frames, mistake) in &mistakes {
            match &mut wrong.bridge {
                Some(bridge) if *of_frames => mistake.make(bridge),
                _ => mistake.make(&mut wrong.ruleset),
            };
        }
        let report = proved(&snapshot, &network, Some(node), &wrong);
        let owners = owners(&snapshot);
        let says = |packet: &spec::Packet| {
            NodeVerdict::on(&network, &snapshot, &owners, Some(node), packet)
        };
        for difference in &report.differences {
            let seen = simulate_at(&wrong.ruleset, difference.hook, &difference.packet).unwrap();
            prop_assert_eq!(seen.outcome, difference.got, "{}", difference);
            prop_assert_eq!(&seen.decided_by, &difference.place, "{}", difference);
            prop_assert_ne!(difference.got, difference.expected, "{}", difference);
            if matches!(difference.reason, Reason::Policies { .. }) {
                let said = says(&judge::in_the_specification(&difference.packet)).passes();
                prop_assert_eq!(said, difference.expected == Outcome::Accept, "{}", difference);
            }
        }
        let (isolated, nodes) = (isolated_pods(&snapshot, Some(node)), nodes(&snapshot, &network));
        let binding = Binding { network: &network, isolated: &isolated, nodes: &nodes };
        for one in &report.bound_differences {
            let table = match one.table {
                TableFamily::Inet => Some(&wrong.ruleset),
                TableFamily::Bridge => wrong.bridge.as_ref(),
            };
            let seen = simulate_at(table.unwrap(), one.hook, &one.packet).unwrap();
            prop_assert_eq!((seen.outcome, &seen.decided_by), (one.got, &one.place), "{}", one);
            let said = frames::said(&binding, one.table, one.hook, &one.packet);
            prop_assert_eq!(said, one.refusal, "{}", one);
        }
        if report.differences.is_empty() {
            for packet in random::packets(&[&snapshot]) {
                if is_forwarded(node_address, &packet) && binding_passes(&binding, &packet) {
                    let mut wire = on_the_wire(&packet);
                    wire.frame.out_interface = NO_PODS_INTERFACE;
                    let seen = simulate(&wrong.ruleset, &wire).unwrap();
                    prop_assert_eq!(
                        seen.outcome == Outcome::Accept, says(&packet).passes(),
                        "{:?}: {:?}, {:?}", packet, mistakes, seen
                    );
                }
            }
        }
        if report.bound_differences.is_empty() {
            for (table, hook) in frames::places(&wrong) {
                for frame in &frames {
                    let packet = frame.at(&network, table.family, hook);
                    let seen = simulate_at(table, hook, &packet).unwrap();
                    let said = frames::said(&binding, table.family, hook, &packet);
                    prop_assert_eq!(
                        seen.outcome == Outcome::Drop, said.is_some(),
                        "{:?} at {} {}: {:?}, {:?}", packet, table.family, hook, said, mistakes
                    );
                }
            }
        }
    }
}

/// Whether a packet of a new flow, to an interface that is no pod's, goes to no tunnel.
fn binding_passes(binding: &Binding<'_>, packet: &spec::Packet) -> bool {
    binding.crosses_node(&frames::ip(&on_the_wire(packet))).is_ok()
}

/// Of no rule that keeps a Service out of the tunnels another one makes up for.
#[test]
fn a_service_that_leads_into_a_tunnel_is_noticed() {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let network = NodeNetwork {
        tunnels: [
            (Tunnel::Udp(8472), TunnelSources::Nodes),
            (Tunnel::Protocol(4), TunnelSources::Any),
        ]
        .into_iter()
        .collect(),
        tunnel_peers: ["192.0.2.7", "2001:db8::7"].map(address).into_iter().collect(),
        ..NodeNetwork::default()
    };
    let snapshot = Snapshot::default();
    let right = tables(&snapshot, &network, None);
    let report = proved(&snapshot, &network, None, &right);
    assert!(report.is_equal(), "{}", shown(&report));
    let mut tried = 0;
    for (name, chain) in &right.ruleset.chains {
        let rules = chain.rules.iter().enumerate();
        for (at, _) in rules.filter(|(_, rule)| rule.matches.contains(&Match::CtTranslated)) {
            let mut wrong = right.clone();
            let chain = wrong.ruleset.chains.get_mut(name).unwrap();
            Arc::make_mut(chain).rules.remove(at);
            let report = proved(&snapshot, &network, None, &wrong);
            assert!(!report.is_equal(), "{name} {at}");
            assert!(shown(&report).contains("carried by a Service"), "{}", shown(&report));
            tried += 1;
        }
    }
    assert_eq!(tried, 4);
}

proptest! {
    #![proptest_config(cases(60))]

    /// For each packet that random clusters make interesting.
    #[test]
    fn what_a_change_means_is_what_the_tables_let_pass(
        (before, after) in prop_oneof![random::single_change(), random::many_changes()],
    ) {
        let network = NodeNetwork::default();
        let [old, new] = [&before, &after].map(|one| tables(one, &network, None).ruleset);
        let packets = random::packets(&[&before, &after]);
        let addresses: BTreeSet<IpAddr> =
            packets.iter().flat_map(|packet| [packet.source, packet.destination]).collect();
        let known = after.pods.values().flat_map(|pod| &pod.addresses).copied().collect();
        let changes = verify::changes(&old, &new, addresses, &known).expect("complete tables");
        for packet in packets.iter().filter(|packet| is_asked(packet)) {
            let mut wire = on_the_wire(packet);
            wire.frame.out_interface = NO_PODS_INTERFACE;
            let [was, is] = [&old, &new].map(|table| {
                simulate(table, &wire).unwrap().outcome == Outcome::Accept
            });
            for (direction, own, peer) in [
                (policy::Direction::Egress, packet.source, packet.destination),
                (policy::Direction::Ingress, packet.destination, packet.source),
            ] {
                let says = |opens: bool| changes.iter().any(|change| {
                    let here = change.address == own && change.direction == direction;
                    here && change.opens == opens
                        && change.parts.iter().any(|part| part_has(part, &known, peer, packet))
                });
                let said = (says(true), says(false));
                prop_assert_eq!(said, (is && !was, was && !is), "{:?} {:?}", packet, direction);
            }
        }
    }
}

/// Whether a change's meaning speaks of such packets.
fn is_asked(packet: &spec::Packet) -> bool {
    let is_host = |address: IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    let is_icmp = match packet.transport {
        spec::ProtocolPort::Other(number) => [1, 58].contains(&number),
        spec::ProtocolPort::Port(..) => false,
    };
    let hosts = is_host(packet.source) && is_host(packet.destination);
    packet.source != packet.destination && hosts && !is_icmp
}

fn part_has(
    part: &verify::Part,
    known: &BTreeSet<IpAddr>,
    peer: IpAddr,
    packet: &spec::Packet,
) -> bool {
    let is_peer = match &part.unknown {
        _ if part.known.contains(&peer) => true,
        Unknown::All => !known.contains(&peer),
        Unknown::Ranges(ranges) => {
            ranges.iter().any(|(first, last)| (first..=last).contains(&&peer))
        }
    };
    is_peer
        && match packet.transport {
            spec::ProtocolPort::Port(protocol, port) => part
                .ports
                .iter()
                .any(|(of, first, last)| *of == protocol && (*first..=*last).contains(&port)),
            spec::ProtocolPort::Other(_) => part.others,
        }
}
