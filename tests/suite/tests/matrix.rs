//! The matrix says what the specification says, and the difference of two matrices is
//! that of the packets. Random clusters; no kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use author::matrix::diff::Diff;
use author::matrix::ends::Unit;
use author::matrix::judge::Judge;
use author::matrix::outside::Outside;
use author::matrix::sets::{SetId, Sets};
use author::matrix::table::Matrix;
use author::{Cluster, PortSet, Reach};
use policy::spec::{self, Packet, ProtocolPort};
use policy::{Protocol, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use samples::random;

/// The same cases in every run. `PROPTEST_CASES` draws that many new ones.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 150, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// Two versions: a few changes, or nothing in common.
fn versions() -> impl Strategy<Value = (Snapshot, Snapshot)> {
    prop_oneof![
        4 => random::many_changes(),
        2 => random::single_change(),
        1 => random::namespace_change(),
        2 => (random::snapshot(), random::crowd()),
    ]
}

/// TCP ports on both sides of every range that random policies and pods have, and for the
/// other protocols a port of each piece that these ranges cut the numbers into.
fn transports() -> Vec<ProtocolPort> {
    let edges = [8, 79, 442, 8079, 8081];
    let pieces = [0, 1, 9, 10, 80, 81, 82, 443, 444, 8080, u16::MAX];
    let of = |protocol| move |port: &u16| ProtocolPort::Port(protocol, *port);
    let tcp = edges.iter().chain(&pieces).map(of(Protocol::Tcp));
    let udp = pieces.iter().map(of(Protocol::Udp));
    let sctp = pieces.iter().map(of(Protocol::Sctp));
    tcp.chain(udp).chain(sctp).chain([1, 58].map(ProtocolPort::Other)).collect()
}

/// What the specification lets pass, of [`transports`].
struct Oracle<'a> {
    snapshot: &'a Snapshot,
    owners: policy::Owners<'a>,
}

impl<'a> Oracle<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, owners: spec::owners(snapshot) }
    }

    fn passing(&self, source: IpAddr, destination: IpAddr) -> BTreeSet<ProtocolPort> {
        let passes = |transport: &ProtocolPort| {
            let packet = Packet { source, destination, transport: *transport };
            spec::decide_with(self.snapshot, &self.owners, None, &packet).passes()
        };
        transports().into_iter().filter(passes).collect()
    }
}

fn of_set(set: &PortSet) -> BTreeSet<ProtocolPort> {
    transports().into_iter().filter(|one| set.contains(*one)).collect()
}

fn is_ipv6(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The addresses of random clusters that no pod and no node has, and more on each side of
/// every ipBlock.
fn outsiders(taken: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let texts = [
        "203.0.113.5",
        "203.0.113.6",
        "203.0.112.255",
        "203.0.114.0",
        "9.255.255.255",
        "10.9.9.9",
        "11.0.0.0",
        "0.0.0.0",
        "255.255.255.255",
        "::",
        "2001:db8::1",
        "fd00::99",
        "fd00:0:0:1::",
        "fcff::1",
        "ffff::",
    ];
    let pods = (0..10).flat_map(|last| [format!("10.0.0.{last}"), format!("fd00::{last}")]);
    let texts = texts.into_iter().map(str::to_owned).chain(pods);
    let addresses = texts.map(|text| text.parse::<IpAddr>().expect("an address literal"));
    addresses.filter(|one| !taken.contains(one)).collect()
}

/// The ends of two versions as a reader would name them: an independent list.
fn addresses(versions: [&Snapshot; 2]) -> BTreeMap<(String, usize), [Option<IpAddr>; 2]> {
    let mut ends: BTreeMap<(String, usize), [Option<IpAddr>; 2]> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (version, snapshot) in versions.into_iter().enumerate() {
        for pod in snapshot.pods.values() {
            taken.extend(&pod.host_addresses);
            if pod.is_subject() {
                taken.extend(&pod.addresses);
                for &address in &pod.addresses {
                    let end = ends.entry((pod.key.to_string(), is_ipv6(address))).or_default();
                    end[version] = Some(address);
                }
            }
            for &address in &pod.host_addresses {
                let name = format!("node {}", pod.node.as_deref().expect("each has one"));
                ends.insert((name, is_ipv6(address)), [Some(address); 2]);
            }
        }
        for &address in snapshot.kept.keys() {
            taken.insert(address);
            let end = ends.entry((format!("{address} (kept)"), is_ipv6(address))).or_default();
            end[version] = Some(address);
        }
    }
    for address in outsiders(&taken) {
        ends.insert((address.to_string(), is_ipv6(address)), [Some(address); 2]);
    }
    ends
}

/// The unit of a difference that a name stands for.
fn unit_of(diff: &Diff, name: &str) -> usize {
    let address: Option<IpAddr> = name.parse().ok();
    let within = |unit: &Unit| match (unit, address) {
        (Unit::Outside(Outside::Ranges(ranges)), Some(address)) => {
            ranges.iter().any(|(first, last)| {
                first.is_ipv4() == address.is_ipv4() && (*first..=*last).contains(&address)
            })
        }
        (Unit::Outside(_), _) | (_, Some(_)) => false,
        (unit, None) => author::matrix::names::unit(unit) == name,
    };
    let internet = || {
        let is = |unit: &Unit| *unit == Unit::Outside(Outside::Internet);
        diff.units.iter().position(is).expect("there is always an internet")
    };
    diff.units.iter().position(within).unwrap_or_else(internet)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_judge_says_what_the_specification_says(snapshot in random::crowd()) {
        let mut sets = Sets::default();
        let mut judge = Judge::new(&snapshot, &mut sets);
        let owners = spec::owners(&snapshot);
        for packet in random::packets(&[&snapshot]) {
            let id = judge.ports(&mut sets, packet.source, packet.destination);
            let decided = spec::decide_with(&snapshot, &owners, None, &packet);
            prop_assert_eq!(
                sets.get(id).contains(packet.transport), decided.passes(), "{:?}", packet
            );
        }
    }

    #[test]
    fn the_judge_says_on_all_ports_what_the_plain_answer_says(snapshot in random::crowd()) {
        let mut sets = Sets::default();
        let mut judge = Judge::new(&snapshot, &mut sets);
        let reach = Reach::new(&snapshot);
        let packets = random::packets(&[&snapshot]);
        let pairs: BTreeSet<_> = packets.iter().map(|one| (one.source, one.destination)).collect();
        for (source, destination) in pairs {
            let id = judge.ports(&mut sets, source, destination);
            prop_assert_eq!(sets.get(id), &reach.ports(source, destination));
        }
    }

    #[test]
    fn a_cell_says_what_the_specification_says_of_its_pods(snapshot in random::crowd()) {
        let cluster = Cluster::from(snapshot.clone());
        let matrix = Matrix::new(&cluster, &mut |_, _| {}).unwrap();
        let oracle = Oracle::new(&snapshot);
        let addresses = |key| snapshot.pods.get(key).map(|pod| pod.addresses.clone());
        for (row, from) in matrix.ends.iter().enumerate() {
            for (column, to) in matrix.ends.iter().enumerate().filter(|(at, _)| *at != row) {
                let sources = from.pods.iter().filter_map(addresses).flatten();
                for source in sources {
                    let same = |one: &IpAddr| one.is_ipv4() == source.is_ipv4() && *one != source;
                    for other in to.pods.iter().filter_map(addresses).flatten().filter(same) {
                        let set = matrix.cell(row, column).ports[is_ipv6(source)];
                        let set = matrix.sets.get(set.expect("both have an address of it"));
                        prop_assert_eq!(of_set(set), oracle.passing(source, other));
                    }
                }
            }
        }
    }

    #[test]
    fn a_difference_is_exactly_the_packets_that_differ((before, after) in versions()) {
        let clusters = [&before, &after].map(|one| Cluster::from(one.clone()));
        let diff = Diff::new(&clusters[0], &clusters[1], &mut |_, _| {}).unwrap();
        let oracles = [&before, &after].map(Oracle::new);
        let ends = addresses([&before, &after]);
        let units: BTreeMap<_, _> =
            ends.keys().map(|(name, _)| (name.clone(), unit_of(&diff, name))).collect();
        let changes: BTreeMap<_, _> =
            diff.changes.iter().map(|one| ((one.from, one.to), one)).collect();
        let mut explained = BTreeSet::new();
        for ((from, family), source) in &ends {
            for ((to, _), destination) in ends.iter().filter(|((_, other), _)| other == family) {
                let pair = (units[from], units[to]);
                // Policies hold for neither: all passes, always.
                let is_pod = |unit: usize| diff.units[unit].is_pod();
                if pair.0 == pair.1 || !is_pod(pair.0) && !is_pod(pair.1) {
                    continue;
                }
                let real = [0, 1].map(|at| match (source[at], destination[at]) {
                    (Some(one), Some(other)) => oracles[at].passing(one, other),
                    (Some(_) | None, _) => BTreeSet::new(),
                });
                let said = changes.get(&pair).map(|change| {
                    [change.before, change.after].map(|set| {
                        of_set(diff.sets.get(set[*family].unwrap_or(SetId::NOTHING)))
                    })
                });
                match said {
                    Some(said) => prop_assert_eq!(said, real.clone(), "{} -> {}", from, to),
                    None => prop_assert_eq!(&real[0], &real[1], "{} -> {}", from, to),
                }
                if real[0] != real[1] {
                    explained.insert(pair);
                }
            }
        }
        for (change, delta) in diff.iter() {
            let pair = (change.from, change.to);
            prop_assert!(explained.contains(&pair), "nothing changes between {:?}", pair);
            prop_assert!(delta.is_opening() || delta.is_closing());
            prop_assert!(!change.causes.is_empty());
        }
    }
}
