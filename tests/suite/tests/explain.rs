//! `explain` says what the specification says, and has a repair for each denial. Random clusters
//! and questions; no kernel.

use std::net::IpAddr;

use author::Cluster;
use author::explain::{Answer, AskedPort, End, Named, NumberOrName, Verdict, explain};
use policy::spec::{self, Packet, ProtocolPort};
use policy::{ObjectKey, Protocol, Selector, Snapshot};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use samples::random;

/// Questions for each random cluster.
const QUESTIONS: usize = 30;

/// The same cases in every run: 500 clusters with 30 questions each, of which five
/// in seven are about ports. `PROPTEST_CASES` draws that many new clusters.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 500, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

fn at(address: IpAddr, port: Option<AskedPort>) -> End {
    End { text: address.to_string(), named: Named::Address(address), port }
}

fn asked(transport: ProtocolPort) -> Option<AskedPort> {
    match transport {
        ProtocolPort::Port(protocol, number) => {
            Some(AskedPort { protocol, port: NumberOrName::Number(number) })
        }
        ProtocolPort::Other(_) => None,
    }
}

/// What a question about two addresses must answer.
fn expected(snapshot: &Snapshot, packet: &Packet) -> (bool, [bool; 2]) {
    let owners = spec::owners(snapshot);
    let decision = spec::decide_with(snapshot, &owners, None, packet);
    (decision.passes(), [decision.egress.passes(), decision.ingress.passes()])
}

fn verdicts(answer: &Answer) -> Vec<(Verdict, [Verdict; 2])> {
    let of =
        |case: &author::explain::Case| (case.verdict, [case.egress.verdict, case.ingress.verdict]);
    answer.cases.iter().map(of).collect()
}

fn verdict(passes: bool) -> Verdict {
    if passes { Verdict::Allowed } else { Verdict::Denied }
}

/// The rules that a side names as allowing, and those that the specification names.
fn check_rules(side: &author::explain::Side, spec: &spec::Side) -> Result<(), TestCaseError> {
    let named: Vec<String> = side
        .policies
        .iter()
        .flat_map(|policy| {
            let allowing = policy.rules.iter().filter(|rule| rule.allows);
            allowing.map(move |rule| format!("{} {}", policy.name, rule.name))
        })
        .collect();
    match spec {
        spec::Side::Allowed(rules) => {
            let index = |text: &String| text.rsplit(['[', ']']).nth(1).map(str::to_owned);
            let expected: Vec<String> =
                rules.iter().map(|rule| format!("{} {}", rule.policy, rule.index)).collect();
            let named: Vec<String> = named
                .iter()
                .map(|text| {
                    let policy = text.split(' ').next().unwrap_or_default();
                    format!("{policy} {}", index(text).unwrap_or_default())
                })
                .collect();
            prop_assert_eq!(named, expected);
        }
        spec::Side::Denied(policies) => {
            prop_assert_eq!(named, Vec::<String>::new());
            let theirs: Vec<String> = policies.iter().map(ToString::to_string).collect();
            let ours: Vec<String> = side.policies.iter().map(|one| one.name.clone()).collect();
            prop_assert_eq!(ours, theirs);
        }
        spec::Side::NotIsolated | spec::Side::Exempt => {
            prop_assert!(side.policies.is_empty());
        }
        spec::Side::Shut(_) => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn answers_about_addresses_are_the_specifications(
        (snapshot, questions) in (random::snapshot(), prop::collection::vec(any::<Index>(), QUESTIONS))
    ) {
        let packets = random::packets(&[&snapshot]);
        let cluster = Cluster::from(snapshot.clone());
        let owners = spec::owners(&snapshot);
        for question in questions {
            let packet = *question.get(&packets);
            let Some(port) = asked(packet.transport) else { continue };
            let answer =
                explain(&cluster, &at(packet.source, None), &at(packet.destination, Some(port)));
            let (passes, sides) = expected(&snapshot, &packet);
            if packet.source == packet.destination {
                prop_assert!(passes);
            }
            let answer = answer.map_err(|error| TestCaseError::fail(format!("{packet:?}: {error}")))?;
            prop_assert_eq!(
                verdicts(&answer), [(verdict(passes), sides.map(verdict))],
                "{:?}:\n{}", packet, answer
            );
            let decision = spec::decide_with(&snapshot, &owners, None, &packet);
            check_rules(&answer.cases[0].egress, &decision.egress)?;
            check_rules(&answer.cases[0].ingress, &decision.ingress)?;
        }
    }

    /// Folding loses no pair: what is said of many pods is true of each pair of them.
    #[test]
    fn answers_about_many_pods_hold_for_each_pair(
        (snapshot, port) in (random::crowd(), prop::sample::select(vec![80u16, 81, 8080]))
    ) {
        let cluster = Cluster::from(snapshot.clone());
        let owners = spec::owners(&snapshot);
        let everything = |namespace: &str, port| End {
            text: format!("{namespace}/*"),
            named: Named::Selected(namespace.to_owned(), Selector::everything()),
            port,
        };
        for from in snapshot.namespaces.keys() {
            for to in snapshot.namespaces.keys() {
                let port = AskedPort { protocol: Protocol::Tcp, port: NumberOrName::Number(port) };
                let ends = (everything(from, None), everything(to, Some(port.clone())));
                let Ok(answer) = explain(&cluster, &ends.0, &ends.1) else { continue };
                check_pairs(&snapshot, &owners, (from, to), &port, &answer)?;
            }
        }
    }

    #[test]
    fn every_denial_names_a_repair(snapshot in random::snapshot()) {
        let cluster = Cluster::from(snapshot.clone());
        let packets = random::packets(&[&snapshot]);
        for packet in packets.iter().step_by(23) {
            let Some(port) = asked(packet.transport) else { continue };
            let ends = (at(packet.source, None), at(packet.destination, Some(port)));
            let Ok(answer) = explain(&cluster, &ends.0, &ends.1) else { continue };
            for case in &answer.cases {
                let shut = [&case.egress, &case.ingress].iter().any(|side| side.why.contains("so nothing passes"));
                let repaired = !case.nearest.is_empty();
                prop_assert!(repaired || shut || case.verdict == Verdict::Allowed, "{}", answer);
            }
        }
    }
}

/// Each pair of pods, one of each namespace, is in a case with the right verdict.
fn check_pairs(
    snapshot: &Snapshot,
    owners: &policy::Owners<'_>,
    (from, to): (&str, &str),
    port: &AskedPort,
    answer: &Answer,
) -> Result<(), TestCaseError> {
    let NumberOrName::Number(number) = port.port else { return Ok(()) };
    let pods = |namespace: &str| -> Vec<&policy::Pod> {
        let all = snapshot.pods.values().map(|pod| &**pod);
        all.filter(|pod| pod.key.namespace == namespace && !pod.addresses.is_empty()).collect()
    };
    let names = |all: &[author::explain::EndName], key: &ObjectKey, whole: &str| {
        all.iter().any(|one| one.name == key.to_string() || one.name.starts_with(whole))
    };
    for source in pods(from) {
        for destination in pods(to) {
            let live = |pod: &policy::Pod| pod.is_subject() || pod.host_network;
            if source.key == destination.key || !live(source) || !live(destination) {
                continue;
            }
            for (&source_address, &address) in source
                .addresses
                .iter()
                .flat_map(|one| destination.addresses.iter().map(move |two| (one, two)))
            {
                if source_address.is_ipv4() != address.is_ipv4() {
                    continue;
                }
                let packet = Packet {
                    source: source_address,
                    destination: address,
                    transport: ProtocolPort::Port(port.protocol, number),
                };
                let passes = spec::decide_with(snapshot, owners, None, &packet).passes();
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                let said: Vec<Verdict> = answer
                    .cases
                    .iter()
                    .filter(|case| {
                        names(&case.from, &source.key, &format!("{from}/* ("))
                            && names(&case.to, &destination.key, &format!("{to}/* ("))
                            && case.families.iter().any(|one| one.to_string() == family)
                    })
                    .map(|case| case.verdict)
                    .collect();
                prop_assert_eq!(said, [verdict(passes)], "{:?}\n{}", packet, answer);
            }
        }
    }
    Ok(())
}
