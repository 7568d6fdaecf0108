//! What `explain` and `matrix` say of a network beside the primary one is what the
//! specification of MultiNetworkPolicy says. Random clusters whose pods have the same addresses
//! on two networks; no kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use author::Cluster;
use author::explain::{AskedPort, End, Named, NumberOrName, Verdict, explain};
use author::matrix::ends::Unit;
use author::matrix::table::Matrix;
use policy::secondary::{NETWORK, networks_of};
use policy::spec::secondary::passes;
use policy::spec::{Packet, ProtocolPort};
use policy::{Direction, ObjectKey, Pod, Protocol, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use samples::random::{self, further_networks, moved};

/// The same cases in every run. `PROPTEST_CASES` draws that many new ones.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// Addresses of a range that are looked at.
const FEW: usize = 20;

const PORTS: [(Protocol, u16); 5] = [
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 81),
    (Protocol::Tcp, 8080),
    (Protocol::Udp, 80),
    (Protocol::Sctp, 9),
];

/// A pod's first address of each family on a network.
fn addresses(pod: &Pod, on: &ObjectKey) -> [Option<IpAddr>; 2] {
    let networks = pod.attachment.networks.iter();
    let here = networks.filter(|one| one.definition(&pod.key.namespace).as_ref() == Some(on));
    let all: Vec<IpAddr> = here.flat_map(|one| &one.addresses).map(IpAddr::to_canonical).collect();
    [false, true].map(|v6| all.iter().copied().find(|one| one.is_ipv6() == v6))
}

/// The pods of a network that can have traffic.
fn pods<'a>(cluster: &'a Snapshot, on: &ObjectKey) -> Vec<&'a Pod> {
    let pods = cluster.pods.values().map(|pod| &**pod);
    pods.filter(|pod| pod.is_subject() && networks_of(pod).contains(on)).collect()
}

/// The addresses that two pods report on a network. Which of them is meant is not known.
fn shared(cluster: &Snapshot, on: &ObjectKey) -> BTreeSet<IpAddr> {
    let mut owners: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for pod in pods(cluster, on) {
        let networks = pod.attachment.networks.iter();
        let here = networks.filter(|one| one.definition(&pod.key.namespace).as_ref() == Some(on));
        let own: BTreeSet<IpAddr> =
            here.flat_map(|one| &one.addresses).map(IpAddr::to_canonical).collect();
        own.into_iter().for_each(|one| *owners.entry(one).or_default() += 1);
    }
    owners.into_iter().filter(|(_, count)| *count > 1).map(|(address, _)| address).collect()
}

/// What the specification says of a packet from one pod to another.
fn expected(cluster: &Snapshot, on: &ObjectKey, from: &Pod, to: &Pod, packet: &Packet) -> bool {
    passes(cluster, on, from, Direction::Egress, packet)
        && passes(cluster, on, to, Direction::Ingress, packet)
}

fn named(pod: &Pod, port: Option<AskedPort>) -> End {
    let named = Named::Workload("Pod", pod.key.clone());
    End { text: format!("{}/pod/{}", pod.key.namespace, pod.key.name), named, port }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn further_answers_are_the_specifications(
        (snapshot, turn) in (random::snapshot(), 0usize..20)
    ) {
        let cluster = moved(&snapshot, turn);
        let whole = Cluster::from(cluster.clone());
        for on in further_networks() {
            let here = whole.on_network(&on);
            let unclear = shared(&cluster, &on);
            let all = pods(&cluster, &on);
            for (index, (from, to)) in all
                .iter()
                .flat_map(|from| all.iter().map(move |to| (*from, *to)))
                .filter(|(from, to)| from.key != to.key)
                .enumerate()
            {
                let (protocol, number) = PORTS[(index + turn) % PORTS.len()];
                let port = AskedPort { protocol, port: NumberOrName::Number(number) };
                let ends = (named(from, None), named(to, Some(port)));
                let Ok(answer) = explain(&here, &ends.0, &ends.1) else {
                    let [own, other] = [from, to].map(|pod| addresses(pod, &on));
                    let common = own.iter().zip(other).any(|(one, two)| one.is_some() && two.is_some());
                    prop_assert!(!common, "{} -> {} on {on}: no answer", from.key, to.key);
                    continue;
                };
                for case in &answer.cases {
                    for family in &case.families {
                        let v6 = usize::from(*family == author::reach::Family::Ipv6);
                        let (Some(source), Some(destination)) =
                            (addresses(from, &on)[v6], addresses(to, &on)[v6])
                        else {
                            return Err(TestCaseError::fail(format!("no {family}: {answer}")));
                        };
                        if source == destination {
                            continue;
                        }
                        let transport = ProtocolPort::Port(protocol, number);
                        let packet = Packet { source, destination, transport };
                        let said = expected(&cluster, &on, from, to, &packet);
                        let is_allowed = case.verdict == Verdict::Allowed;
                        match unclear.contains(&source) || unclear.contains(&destination) {
                            // Never more than passes.
                            true => prop_assert!(said || !is_allowed, "{packet:?} on {on}:\n{answer}"),
                            false => {
                                prop_assert_eq!(is_allowed, said, "{:?} on {}:\n{}", packet, on, answer);
                                let shut = [&case.egress, &case.ingress];
                                let shut = shut.iter().any(|side| side.why.contains("so nothing passes"));
                                prop_assert!(said || shut || !case.nearest.is_empty(), "{answer}");
                            }
                        }
                        let text = answer.to_string();
                        // The selectors are as their authors wrote them.
                        let is_label = ["=", " in ("].map(|end| format!("{NETWORK}{end}"));
                        prop_assert!(!is_label.iter().any(|one| text.contains(one)), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn further_matrices_are_the_specifications(
        (snapshot, turn) in (random::snapshot(), 0usize..20)
    ) {
        let cluster = moved(&snapshot, turn);
        let whole = Cluster::from(cluster.clone());
        for on in further_networks() {
            let here = whole.on_network(&on);
            let unclear = shared(&cluster, &on);
            let matrix = Matrix::new(&here, &mut |_, _| {}).expect("few ends");
            let pod = |end: usize| match &matrix.ends[end].unit {
                Unit::Pod(key) => cluster.pods.get(key).map(|pod| &**pod),
                Unit::Outside(_) | Unit::Node(_) | Unit::Kept(_) | Unit::Workload(..) => None,
            };
            let with_address =
                pods(&cluster, &on).into_iter().filter(|pod| addresses(pod, &on) != [None, None]);
            let count = (0..matrix.ends.len()).filter(|end| pod(*end).is_some()).count();
            prop_assert_eq!(count, with_address.count(), "each pod is an end, and no other");
            let networks = cluster.pods.values().flat_map(|pod| &pod.attachment.networks);
            let taken: BTreeSet<IpAddr> = networks.flat_map(|one| &one.addresses).copied().collect();
            for (from, to, cell) in matrix.pairs(true) {
                for (v6, set) in cell.ports.into_iter().enumerate() {
                    let Some(set) = set else { continue };
                    let of = |end: usize| match &matrix.ends[end].unit {
                        // A range is named whole, with the pods' addresses in it.
                        Unit::Outside(outside) => {
                            let nets = outside.cidrs().into_iter();
                            let nets = nets.filter(|net| usize::from(net.addr().is_ipv6()) == v6);
                            let mut some = nets.flat_map(|net| net.hosts().take(FEW));
                            some.find(|address| !taken.contains(address))
                        }
                        _ => pod(end).and_then(|pod| addresses(pod, &on)[v6]),
                    };
                    let (Some(source), Some(destination)) = (of(from), of(to)) else { continue };
                    for (protocol, number) in PORTS {
                        let transport = ProtocolPort::Port(protocol, number);
                        let packet = Packet { source, destination, transport };
                        let side = |end, direction| {
                            pod(end).is_none_or(|pod| passes(&cluster, &on, pod, direction, &packet))
                        };
                        let said = side(from, Direction::Egress) && side(to, Direction::Ingress);
                        let shown = matrix.sets.get(set).contains(transport);
                        match unclear.contains(&source) || unclear.contains(&destination) {
                            true => prop_assert!(said || !shown, "{packet:?} on {on}"),
                            false => prop_assert_eq!(shown, said, "{:?} on {}", packet, on),
                        }
                    }
                }
            }
        }
    }
}
