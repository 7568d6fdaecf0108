//! The table of a network beside the primary one does what the specification of
//! MultiNetworkPolicy says. The proof says so of every packet, each step is the table from
//! scratch, and so is every moment of a change. Random clusters whose pods have the same
//! addresses on two networks; no kernel.

#![expect(clippy::unwrap_used, reason = "an error in a plan or table fails the test")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use compiler::{Engine, Options, Place};
use policy::secondary::{Secondary, networks_of};
use policy::spec::Packet;
use policy::spec::secondary::passes;
use policy::{Direction, Inside, InterfaceIndex, NodeNetwork, ObjectKey, Pod, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::plan::{Budget, plan_within};
use ruleset::simulator::{Outcome, Passage, possible_outcomes_along, simulate_at};
use ruleset::{Hook, Ruleset};
use samples::judge::on_the_wire;
use samples::random::{self, NODES, further_networks as networks, moved};

/// As in `meaning.rs`: the same cases each time by default.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// The interface on the judged network, the primary one, and one of another network.
const JUDGED: InterfaceIndex = InterfaceIndex(4);
const PRIMARY: InterfaceIndex = InterfaceIndex(2);
const OTHER: InterfaceIndex = InterfaceIndex(5);

fn network(pod: &ObjectKey) -> NodeNetwork {
    let mut inside = Inside::of(pod.clone());
    inside.apart.extend([PRIMARY, OTHER]);
    NodeNetwork { inside: Some(inside), ..NodeNetwork::default() }
}

fn engine(pod: &ObjectKey, on: &ObjectKey, node: &str) -> Engine {
    let options = Options { node: Some(node.to_owned()), log: None, ..Options::default() };
    Engine::at(Place::on_network(pod.clone(), on), options)
}

/// What a table does with a packet by an interface.
fn crosses(table: &Ruleset, direction: Direction, by: InterfaceIndex, packet: &Packet) -> Outcome {
    let mut sent = on_the_wire(packet);
    let hook = match direction {
        Direction::Ingress => {
            sent.frame.in_interface = by.0;
            Hook::Input
        }
        Direction::Egress => {
            sent.frame.out_interface = by.0;
            Hook::Output
        }
    };
    simulate_at(table, hook, &sent).unwrap().outcome
}

/// A pod's own addresses on a network.
fn addresses<'a>(pod: &'a Pod, on: &ObjectKey) -> BTreeSet<&'a IpAddr> {
    let networks = pod.attachment.networks.iter();
    let here = networks.filter(|one| one.definition(&pod.key.namespace).as_ref() == Some(on));
    here.flat_map(|one| &one.addresses).collect()
}

/// The pods of a node, on each of their networks.
fn local<'a>(cluster: &'a Snapshot, node: &'a str) -> impl Iterator<Item = (&'a Pod, ObjectKey)> {
    let pods = cluster.pods.values().map(|pod| &**pod);
    let local = pods.filter(move |pod| pod.is_on(Some(node)) && pod.is_subject());
    local.flat_map(|pod| networks_of(pod).into_iter().map(move |on| (pod, on)))
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn secondary_tables_mean_what_the_specification_says(
        (snapshot, turn) in (random::snapshot(), 0usize..20)
    ) {
        let cluster = moved(&snapshot, turn);
        let mut secondary = Secondary::default();
        secondary.follow(&cluster, &networks().into());
        for (node, _) in NODES {
            for (pod, on) in local(&cluster, node) {
                let here = secondary.network(&on).unwrap();
                let table =
                    engine(&pod.key, &on, node).update(here, &network(&pod.key)).ruleset.clone();
                for packet in random::packets(&[&snapshot]) {
                    for direction in Direction::BOTH {
                        let said = passes(&cluster, &on, pod, direction, &packet);
                        let seen = crosses(&table, direction, JUDGED, &packet);
                        prop_assert_eq!(
                            seen == Outcome::Accept, said,
                            "{:?} {} at {} on {}", packet, direction, pod.key, on
                        );
                        for by in [PRIMARY, OTHER, Inside::LOOPBACK] {
                            let seen = crosses(&table, direction, by, &packet);
                            prop_assert_eq!(seen, Outcome::Accept, "not its interface");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn secondary_changes_are_never_judged_by_a_mixture(
        ((before, after), turn) in (random::many_changes(), 0usize..20)
    ) {
        // Pods and policies that go change the turn of others, too.
        let (old, new) = (moved(&before, turn), moved(&after, turn));
        let mut secondary = Secondary::default();
        let networks = networks().into();
        secondary.follow(&old, &networks);
        let first = secondary.clone();
        secondary.follow(&new, &networks);
        for (node, _) in NODES {
            for (pod, on) in local(&new, node) {
                let was = old.pods.get(&pod.key).filter(|one| {
                    one.is_on(Some(node)) && one.is_subject() && networks_of(one).contains(&on)
                });
                let Some(was) = was else { continue };
                let mut engine = engine(&pod.key, &on, node);
                let network = network(&pod.key);
                let table = |engine: &mut Engine, all: &Secondary| {
                    engine.update(all.network(&on).unwrap(), &network).ruleset.clone()
                };
                let (from, to) = (table(&mut engine, &first), table(&mut engine, &secondary));
                let mut states = vec![from];
                for batch in plan_within(states.last(), &to, Budget::default()).unwrap() {
                    let mut next = states.last().unwrap().clone();
                    next.apply(&batch).unwrap();
                    states.push(next);
                }
                prop_assert_eq!(states.last().unwrap(), &to);
                // With other addresses, what is allowed may be refused meanwhile.
                let is_alike = addresses(was, &on) == addresses(pod, &on);
                for packet in random::packets(&[&before, &after]) {
                    for direction in Direction::BOTH {
                        let said = passes(&new, &on, pod, direction, &packet);
                        let is_still = said == passes(&old, &on, was, direction, &packet);
                        if !is_still || (said && !is_alike) {
                            continue;
                        }
                        let mut sent = on_the_wire(&packet);
                        let hook = match direction {
                            Direction::Ingress => Hook::Input,
                            Direction::Egress => Hook::Output,
                        };
                        sent.frame.in_interface = JUDGED.0;
                        sent.frame.out_interface = JUDGED.0;
                        let way = [Passage { history: &states, hook, packet: sent }];
                        let possible = possible_outcomes_along(&way, 1).unwrap();
                        let wanted = if said { Outcome::Accept } else { Outcome::Drop };
                        prop_assert!(possible.always(wanted), "{packet:?} {direction} {possible:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn secondary_proofs_hold((snapshot, turn) in (random::crowd(), 0usize..20)) {
        let cluster = moved(&snapshot, turn);
        let mut secondary = Secondary::default();
        secondary.follow(&cluster, &networks().into());
        for (node, _) in NODES {
            for (pod, on) in local(&cluster, node).take(2) {
                let here = secondary.network(&on).unwrap();
                let network = network(&pod.key);
                let table = engine(&pod.key, &on, node).update(here, &network).ruleset.clone();
                let none = BTreeSet::new();
                let report =
                    verify::verify(here, Some(node), &none, &network, &table, None).unwrap();
                prop_assert!(report.is_equal(), "{:?}", report.ways().collect::<Vec<_>>());
                // The table of the other network is no proof of this one.
                let [a, b] = networks();
                let other = if on == a { b } else { a };
                let there = secondary.network(&other).unwrap();
                let foreign = engine(&pod.key, &other, node).update(there, &network).clone();
                let is_equal = |one: &Ruleset| {
                    verify::verify(here, Some(node), &none, &network, one, None)
                        .is_ok_and(|report| report.is_equal())
                };
                let differs = random::packets(&[&snapshot]).iter().any(|packet| {
                    Direction::BOTH.into_iter().any(|direction| {
                        let seen = crosses(&foreign.ruleset, direction, JUDGED, packet);
                        (seen == Outcome::Accept) != passes(&cluster, &on, pod, direction, packet)
                    })
                });
                prop_assert!(!differs || !is_equal(&foreign.ruleset));
            }
        }
    }
}
