//! The table in a pod's own namespace does what the specification says, and so does every
//! moment of a change. The proof says so of every packet, and finds mistakes. Random
//! clusters in the simulator; no kernel.

#![expect(clippy::unwrap_used, reason = "an error in a plan or table fails the test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use compiler::{Engine, Options, Place};
use policy::spec::inside::{Crossing, crosses};
use policy::spec::{Packet, owners};
use policy::{Direction, Inside, InterfaceIndex, NodeNetwork, ObjectKey, Snapshot, subject_of};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use ruleset::plan::{Budget, plan_within};
use ruleset::simulator::{self, Outcome, Passage, possible_outcomes_along, simulate_at};
use ruleset::{Hook, Name, Ruleset};
use samples::judge::on_the_wire;
use samples::random::{self, NODES};
use samples::testbed_spec::{Families, TestbedSpec};

/// As in `meaning.rs`: the same cases each time by default.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// The pod's own interface, and one of another network.
const OWN: InterfaceIndex = InterfaceIndex(2);
const OTHER: InterfaceIndex = InterfaceIndex(5);

/// An address of the pod's node that the pod does not report.
const SHIM: &str = "192.168.0.77";

fn network(pod: &ObjectKey) -> NodeNetwork {
    let mut inside = Inside::of(pod.clone());
    inside.apart.insert(OTHER);
    inside.node.insert(SHIM.parse().unwrap());
    NodeNetwork { inside: Some(inside), ..NodeNetwork::default() }
}

fn engine(pod: &ObjectKey, node: &str) -> Engine {
    let options = Options { node: Some(node.to_owned()), ..Options::default() };
    Engine::at(Place::inside(pod.clone()), options)
}

fn table(snapshot: &Snapshot, pod: &ObjectKey, node: &str) -> Ruleset {
    engine(pod, node).update(snapshot, &network(pod)).ruleset.clone()
}

/// The pods of the node in any of these snapshots.
fn pods(snapshots: &[&Snapshot], node: &str) -> BTreeSet<ObjectKey> {
    let all = snapshots.iter().flat_map(|one| one.pods.values());
    let local = all.filter(|pod| pod.is_on(Some(node)) && !pod.host_network);
    local.map(|pod| pod.key.clone()).collect()
}

/// Between all addresses that matter, the node's other one included.
fn packets(snapshots: &[&Snapshot]) -> Vec<Packet> {
    let mut packets = random::packets(snapshots);
    let shim: IpAddr = SHIM.parse().unwrap();
    let v4 = |packet: &&Packet| packet.source.is_ipv4();
    let with: Vec<Packet> = packets
        .iter()
        .filter(v4)
        .step_by(7)
        .flat_map(|one| [Packet { source: shim, ..*one }, Packet { destination: shim, ..*one }])
        .collect();
    packets.extend(with);
    packets
}

/// A packet on its way in or out, in the model and in the simulator.
fn crossing(
    direction: Direction,
    interface: InterfaceIndex,
    packet: Packet,
) -> (Crossing, Hook, simulator::Packet) {
    let mut sent = on_the_wire(&packet);
    let hook = match direction {
        Direction::Ingress => {
            sent.frame.in_interface = interface.0;
            Hook::Input
        }
        Direction::Egress => {
            sent.frame.out_interface = interface.0;
            Hook::Output
        }
    };
    (Crossing { direction, interface, packet }, hook, sent)
}

fn ways() -> impl Iterator<Item = (Direction, InterfaceIndex)> {
    let interfaces = [Inside::LOOPBACK, OWN, OTHER];
    Direction::BOTH.into_iter().flat_map(move |one| interfaces.map(|by| (one, by)))
}

fn history(old: &Ruleset, new: &Ruleset, budget: Budget) -> Vec<Ruleset> {
    let mut states = vec![old.clone()];
    for batch in plan_within(Some(old), new, budget).unwrap() {
        let mut next = states.last().unwrap().clone();
        next.apply(&batch).unwrap();
        states.push(next);
    }
    states
}

/// No packet passes that is denied before and after, and none is dropped that is allowed
/// before and after: one packet is judged in one direction. If the pod's addresses change,
/// what is allowed may be refused meanwhile.
fn check_change(before: &Snapshot, after: &Snapshot, budget: Budget) -> Result<(), TestCaseError> {
    let (owners_before, owners_after) = (owners(before), owners(after));
    for (node, _) in NODES {
        for pod in pods(&[before, after], node) {
            let network = network(&pod);
            let inside = network.inside.as_ref().unwrap();
            let mut engine = engine(&pod, node);
            let old = engine.update(before, &network).ruleset.clone();
            let new = engine.update(after, &network).ruleset.clone();
            prop_assert_eq!(&new, &table(after, &pod, node), "not as from scratch");
            let states = history(&old, &new, budget);
            prop_assert_eq!(states.last().unwrap(), &new);
            // A table is never sent for objects without the pod.
            let [was, is] = [before, after].map(|one| subject_of(one, Some(node), &pod));
            let (Some(was), Some(is)) = (was, is) else { continue };
            if states.len() == 1 {
                continue;
            }
            let is_alike = was.pod.addresses == is.pod.addresses;
            for packet in packets(&[before, after]) {
                for direction in Direction::BOTH {
                    let (crossing, hook, packet) = crossing(direction, OWN, packet);
                    let first = crosses(before, &owners_before, Some(node), inside, &crossing);
                    let then = crosses(after, &owners_after, Some(node), inside, &crossing);
                    let is_still = first.passes() == then.passes();
                    if !is_still || (first.passes() && !is_alike) {
                        continue;
                    }
                    let way = [Passage { history: &states, hook, packet }];
                    let possible = possible_outcomes_along(&way, 1).unwrap();
                    let wanted = if first.passes() { Outcome::Accept } else { Outcome::Drop };
                    prop_assert!(
                        possible.always(wanted),
                        "{:?} at {} on {} must always be {:?}: {:?}",
                        crossing,
                        pod,
                        node,
                        wanted,
                        possible
                    );
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn inside_the_table_means_what_the_specification_says(snapshot in random::snapshot()) {
        let owners = owners(&snapshot);
        for (node, _) in NODES {
            for pod in pods(&[&snapshot], node) {
                let network = network(&pod);
                let inside = network.inside.as_ref().unwrap();
                let table = table(&snapshot, &pod, node);
                for packet in packets(&[&snapshot]) {
                    for (direction, interface) in ways() {
                        let (crossing, hook, packet) = crossing(direction, interface, packet);
                        let said = crosses(&snapshot, &owners, Some(node), inside, &crossing);
                        let seen = simulate_at(&table, hook, &packet).unwrap();
                        prop_assert_eq!(
                            seen.outcome == Outcome::Accept, said.passes(),
                            "{:?} at {}: {:?}, {:?}", crossing, pod, said, seen
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn inside_no_packet_is_judged_by_a_mixture_while_one_object_changes(
        (before, after) in random::single_change()
    ) {
        check_change(&before, &after, Budget::SMALLEST)?;
    }

    #[test]
    fn inside_no_packet_is_judged_by_a_mixture_while_many_objects_change(
        (before, after) in random::many_upheavals()
    ) {
        check_change(&before, &after, Budget::default())?;
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn inside_the_proof_holds_and_finds_a_missing_rule(
        (snapshot, at) in (random::crowd(), any::<Index>())
    ) {
        for (node, _) in NODES {
            for pod in pods(&[&snapshot], node).into_iter().take(2) {
                let (network, right) = (network(&pod), table(&snapshot, &pod, node));
                let proof = |table: &Ruleset| {
                    verify::verify(&snapshot, Some(node), &BTreeSet::new(), &network, table, None)
                };
                let report = proof(&right).unwrap();
                prop_assert!(report.is_equal(), "{:?}", report.ways().collect::<Vec<_>>());
                let mut wrong = right.clone();
                let Some(name) = remove_rule(&mut wrong, at) else { continue };
                // What the proof says of a wrong table, the simulator says, too.
                for difference in proof(&wrong).unwrap().differences {
                    let hook = match difference.direction.unwrap() {
                        Direction::Ingress => Hook::Input,
                        Direction::Egress => Hook::Output,
                    };
                    let [was, is] = [&right, &wrong]
                        .map(|table| simulate_at(table, hook, &difference.packet).unwrap().outcome);
                    prop_assert_eq!(is, difference.got, "{}: {}", name, difference);
                    prop_assert_eq!(was, difference.expected, "{}: {}", name, difference);
                }
            }
        }
    }
}

fn remove_rule(table: &mut Ruleset, at: Index) -> Option<Name> {
    let chains = table.chains.iter();
    let all: Vec<(Name, usize)> = chains
        .flat_map(|(name, chain)| (0..chain.rules.len()).map(move |rule| (name.clone(), rule)))
        .collect();
    let (name, rule) = all.get(at.index(all.len().max(1)))?.clone();
    Arc::make_mut(table.chains.get_mut(&name)?).rules.remove(rule);
    Some(name)
}

/// What one of these tables needs: isolated in both directions, or in one.
#[test]
fn inside_a_mistake_in_the_frame_is_caught() {
    let mut missed: Option<BTreeSet<String>> = None;
    for types in ["Ingress, Egress", "Ingress", "Egress"] {
        let found = missed_in(types);
        missed = Some(match missed {
            None => found,
            Some(before) => before.intersection(&found).cloned().collect(),
        });
    }
    let missed: Vec<String> = missed.unwrap_or_default().into_iter().collect();
    assert_eq!(missed, EQUIVALENT.map(String::from), "{missed:#?}");
}

/// The rules of the frame and the elements of its sets that can be left out without a
/// difference that the proof finds. The pods' chains are those of the node's table.
fn missed_in(types: &str) -> BTreeSet<String> {
    let spec = TestbedSpec::new(samples::testbed_spec::Network::Macvlan, &["n1"])
        .namespace("dev", &[])
        .pod("dev", "web", &[("app", "web")], Families::Both, &[])
        .pod("dev", "client", &[("app", "client")], Families::Both, &[]);
    let snapshot = samples::objects::snapshot(&spec, &POLICY.replace("TYPES", types)).unwrap();
    let pod = ObjectKey::new("dev", "web");
    let network = network(&pod);
    let options = Options { log: None, node: Some("n1".to_owned()), ..Options::default() };
    let mut engine = Engine::at(Place::inside(pod), options);
    let right = engine.update(&snapshot, &network).ruleset.clone();
    let differs = |table: &Ruleset| {
        let aside = BTreeSet::new();
        match verify::verify(&snapshot, Some("n1"), &aside, &network, table, None) {
            Ok(report) => !report.is_equal(),
            Err(_) => true,
        }
    };
    assert!(!differs(&right), "{types}");
    let mut missed = BTreeSet::new();
    let is_frame =
        |name: &Name| !name.as_str().starts_with("e.") && !name.as_str().starts_with("i.");
    for (name, chain) in right.chains.iter().filter(|(name, _)| is_frame(name)) {
        for rule in 0..chain.rules.len() {
            let mut wrong = right.clone();
            Arc::make_mut(wrong.chains.get_mut(name).unwrap()).rules.remove(rule);
            if !differs(&wrong) {
                missed.insert(format!("{name} rule {rule}"));
            }
        }
    }
    for (name, set) in &right.sets {
        for element in &set.elements {
            let mut wrong = right.clone();
            wrong.sets.get_mut(name).unwrap().elements.remove(element);
            if !differs(&wrong) {
                missed.insert(format!("{name} without {element:?}"));
            }
        }
    }
    missed
}

/// One peer, all its packets.
const POLICY: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: dev}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [TYPES]
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
  egress: [{to: [{podSelector: {matchLabels: {app: client}}}]}]
";

/// The drops after the look-up of a pod's chain: each address in a gate has an entry, so
/// they are there for the moments of a change alone.
const EQUIVALENT: [&str; 4] =
    ["egress4 rule 1", "egress6 rule 1", "ingress4 rule 1", "ingress6 rule 1"];
