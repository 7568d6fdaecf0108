//! The compiled table does what the specification says, and so does every moment of a
//! change between two tables. Random clusters in the simulator; no kernel.

#![expect(clippy::unwrap_used, reason = "an error in a plan or table fails the test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use compiler::Options;
use policy::spec;
use policy::{Direction, Isolation, NodeNetwork, Snapshot, isolation, subjects};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::plan::{Budget, plan, plan_within};
use ruleset::simulator::{self, Outcome, Witness, possible_outcomes};
use ruleset::{Ruleset, TcpFlags};
use samples::from_scratch::compiled_on;
use samples::judge::{NodeVerdict, is_forwarded, on_the_wire};
use samples::random::{self, NODES};

/// The same cases in every run, so that a failure can be repeated. `PROPTEST_CASES`
/// draws that many new ones, with a random seed unless `PROPTEST_RNG_SEED` is set.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// How much a batch may hold: one operation, a few, or everything.
fn budget() -> impl Strategy<Value = Budget> {
    let few = (5..100_u64).prop_map(|many| Budget::of(Duration::from_micros(many)));
    prop_oneof![Just(Budget::SMALLEST), few, Just(Budget::default())]
}

fn table(snapshot: &Snapshot, network: &NodeNetwork, node: &str) -> Ruleset {
    let options = Options { node: Some(node.to_owned()), ..Options::default() };
    compiled_on(snapshot, network, &options).ruleset
}

/// A node on which no interface is known. It may drop what no object names.
fn network() -> impl Strategy<Value = NodeNetwork> {
    random::unknown().prop_map(|unknown| unknown.network())
}

/// TCP segments that open no flow, between all addresses.
fn strays(snapshots: &[&Snapshot]) -> BTreeSet<(IpAddr, IpAddr)> {
    let packets = random::packets(snapshots).into_iter();
    let pairs = packets.map(|packet| (packet.source, packet.destination));
    let own = |address: IpAddr| NODES.iter().any(|(_, node)| address.to_string() == *node);
    pairs.filter(|(source, destination)| !own(*source) && !own(*destination)).collect()
}

fn stray((source, destination): (IpAddr, IpAddr)) -> simulator::Packet {
    let opening = simulator::Packet::to_port(source, destination, ruleset::Transport::Tcp, 80);
    simulator::Packet { tcp_flags: Some(TcpFlags::ACK), ..opening }
}

/// Whether one of the ends is a pod of the node that is isolated in some direction.
fn is_isolated(snapshot: &Snapshot, node: &str, (source, destination): (IpAddr, IpAddr)) -> bool {
    let isolates = |address| {
        let subjects = subjects(snapshot, Some(node), address);
        let of = |direction| isolation(snapshot, &subjects, direction);
        Direction::BOTH.into_iter().any(|direction| of(direction) != Isolation::None)
    };
    isolates(source) || isolates(destination)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn tcp_that_opens_no_flow_is_dropped_at_isolated_pods_while_one_object_changes(
        ((before, after), budget) in (random::single_change(), budget())
    ) {
        check_strays(&before, &after, budget)?;
    }

    #[test]
    fn tcp_that_opens_no_flow_is_dropped_at_isolated_pods_while_many_objects_change(
        ((before, after), budget) in (random::many_changes(), budget())
    ) {
        check_strays(&before, &after, budget)?;
    }

    #[test]
    fn the_table_means_what_the_specification_says(
        (snapshot, network) in (random::snapshot(), network())
    ) {
        let owners = spec::owners(&snapshot);
        for (node, node_address) in NODES {
            let table = table(&snapshot, &network, node);
            for packet in random::packets(&[&snapshot]) {
                if !is_forwarded(node_address, &packet) {
                    continue;
                }
                let expected =
                    NodeVerdict::on(&network, &snapshot, &owners, Some(node), &packet);
                let seen = simulator::simulate(&table, &on_the_wire(&packet)).unwrap();
                prop_assert_eq!(
                    seen.outcome == Outcome::Accept, expected.passes(),
                    "{:?} on {}: {:?}, {:?}", packet, node, expected, seen
                );
            }
        }
    }

    #[test]
    fn without_a_node_all_pods_are_local(snapshot in random::snapshot()) {
        let owners = spec::owners(&snapshot);
        let nothing = NodeNetwork::default();
        let table = compiled_on(&snapshot, &nothing, &Options::default()).ruleset;
        for packet in random::packets(&[&snapshot]) {
            if NODES.iter().any(|(_, address)| !is_forwarded(address, &packet)) {
                continue;
            }
            let expected = spec::decide_with(&snapshot, &owners, None, &packet);
            let seen = simulator::simulate(&table, &on_the_wire(&packet)).unwrap();
            prop_assert_eq!(seen.outcome == Outcome::Accept, expected.passes(), "{:?}", packet);
        }
    }

    #[test]
    fn a_difference_applied_is_the_same_as_from_scratch(
        ((before, after), budget, networks) in (
            random::many_changes(), budget(), (network(), network())
        )
    ) {
        let (old, new) = (table(&before, &networks.0, "n1"), table(&after, &networks.1, "n1"));
        let states = history(Some(&old), &new, budget);
        prop_assert_eq!(states.last().unwrap(), &new);
        let from_nothing = history(None, &new, budget);
        prop_assert_eq!(from_nothing.last().unwrap(), &new);
        prop_assert!(plan(Some(&new), &new).unwrap().is_empty());
    }

    #[test]
    fn no_packet_is_judged_by_a_mixture_while_one_object_changes(
        ((before, after), network, budget) in (random::single_change(), network(), budget())
    ) {
        check_change([&before, &after], &[network.clone(), network], budget, Change::One)?;
    }

    #[test]
    fn what_a_namespace_takes_in_one_direction_goes_before_what_it_gives_in_the_other(
        ((before, after), network, budget) in (random::namespace_change(), network(), budget())
    ) {
        let networks = [network.clone(), network];
        check_change([&before, &after], &networks, budget, Change::Namespace)?;
    }

    #[test]
    fn a_new_table_drops_nothing_that_it_lets_pass_in_the_end(
        (snapshot, network, budget) in (random::snapshot(), network(), budget())
    ) {
        let owners = spec::owners(&snapshot);
        for (node, node_address) in NODES {
            let states = history(None, &table(&snapshot, &network, node), budget);
            for packet in random::packets(&[&snapshot]) {
                let verdict = NodeVerdict::on(&network, &snapshot, &owners, Some(node), &packet);
                if !is_forwarded(node_address, &packet) || !verdict.passes() {
                    continue;
                }
                if let Some(witness) = possible(Outcome::Drop, &states, &packet) {
                    prop_assert!(false, "{:?} on {} is dropped: {}", packet, node, witness);
                }
            }
        }
    }

    #[test]
    fn nothing_that_is_denied_before_and_after_passes_while_many_objects_change(
        ((before, after), networks, budget) in (
            random::many_changes(), [network(), network()], budget()
        )
    ) {
        check_change([&before, &after], &networks, budget, Change::Many)?;
    }

    #[test]
    fn no_packet_is_judged_by_a_mixture_while_what_is_unknown_changes(
        (snapshot, networks, budget) in (random::snapshot(), [network(), network()], budget())
    ) {
        check_change([&snapshot, &snapshot], &networks, budget, Change::One)?;
    }
}

/// The states of a table while a plan is committed, including the first one.
fn history(old: Option<&Ruleset>, new: &Ruleset, budget: Budget) -> Vec<Ruleset> {
    let first = old.cloned().unwrap_or_else(|| Ruleset::new(new.table.clone()));
    let mut states = vec![first];
    for batch in plan_within(old, new, budget).unwrap() {
        let mut next = states.last().unwrap().clone();
        next.apply(&batch).unwrap();
        states.push(next);
    }
    states
}

/// What the moments of a change must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A change of one pod or one policy: no mixture of old and new at all.
    One,
    /// A change of one namespace, and so of the elements of many peers: a packet that
    /// both states deny is dropped, unless elements come and go in both directions.
    Namespace,
    /// A change of several objects: a packet that one direction denies in both states
    /// is dropped.
    Many,
}

fn check_change(
    [before, after]: [&Snapshot; 2],
    networks: &[NodeNetwork; 2],
    budget: Budget,
    change: Change,
) -> Result<(), TestCaseError> {
    let (owners_before, owners_after) = (spec::owners(before), spec::owners(after));
    for (node, node_address) in NODES {
        let [network_before, network_after] = networks;
        let old = table(before, network_before, node);
        let new = table(after, network_after, node);
        let states = history(Some(&old), &new, budget);
        if states.len() == 1 {
            continue;
        }
        let packets: Vec<_> = random::packets(&[before, after])
            .into_iter()
            .filter(|packet| is_forwarded(node_address, packet))
            .map(|packet| {
                let first =
                    NodeVerdict::on(network_before, before, &owners_before, Some(node), &packet);
                let then =
                    NodeVerdict::on(network_after, after, &owners_after, Some(node), &packet);
                (packet, first, then)
            })
            .collect();
        let both_ways = takes_and_gives(&packets);
        for (packet, first, then) in packets {
            let denied_in_one =
                (!first.egress && !then.egress) || (!first.ingress && !then.ingress);
            let across = match change {
                Change::One => true,
                Change::Namespace => !both_ways,
                Change::Many => false,
            };
            let denied = denied_in_one || (!first.passes() && !then.passes() && across);
            if let Some(witness) =
                denied.then(|| possible(Outcome::Accept, &states, &packet)).flatten()
            {
                prop_assert!(
                    false,
                    "{:?} on {} is denied before and after, yet passes: {}\n{:#?}",
                    packet,
                    node,
                    witness,
                    plan_within(Some(&old), &new, budget)
                );
            }
            let allowed = first.passes() && then.passes() && change == Change::One;
            if let Some(witness) =
                allowed.then(|| possible(Outcome::Drop, &states, &packet)).flatten()
            {
                prop_assert!(
                    false,
                    "{:?} on {} is allowed before and after, yet dropped: {}\n{:#?}",
                    packet,
                    node,
                    witness,
                    plan_within(Some(&old), &new, budget)
                );
            }
        }
    }
    Ok(())
}

/// Checks strays before and after the change. Pairs of addresses that are treated
/// alike before and after are checked at every moment between, too.
fn check_strays(before: &Snapshot, after: &Snapshot, budget: Budget) -> Result<(), TestCaseError> {
    for (node, _) in NODES {
        let nothing = NodeNetwork::default();
        let (old, new) = (table(before, &nothing, node), table(after, &nothing, node));
        let states = history(Some(&old), &new, budget);
        for pair in strays(&[before, after]) {
            let first = is_isolated(before, node, pair);
            let then = is_isolated(after, node, pair);
            for (state, dropped) in [(states.first(), first), (states.last(), then)] {
                let seen = simulator::simulate(state.unwrap(), &stray(pair)).unwrap();
                prop_assert_eq!(seen.outcome == Outcome::Drop, dropped, "{:?} on {}", pair, node);
            }
            if first == then {
                let wanted = if first { Outcome::Drop } else { Outcome::Accept };
                let possible = possible_outcomes(&states, &stray(pair)).unwrap();
                prop_assert!(possible.always(wanted), "{:?} on {}: {:?}", pair, node, possible);
            }
        }
    }
    Ok(())
}

/// How a packet that meets at most one commit can have this outcome.
fn possible(outcome: Outcome, states: &[Ruleset], packet: &spec::Packet) -> Option<Witness> {
    let possible = possible_outcomes(states, &on_the_wire(packet)).unwrap();
    match outcome {
        Outcome::Accept => possible.accept,
        Outcome::Drop => possible.drop,
    }
}

/// Whether a change both allows and denies packets, in both directions. Then no order
/// of the two directions suits all packets.
fn takes_and_gives(packets: &[(spec::Packet, NodeVerdict, NodeVerdict)]) -> bool {
    let any = |test: fn(NodeVerdict, NodeVerdict) -> bool| {
        packets.iter().any(|(_, first, then)| test(*first, *then))
    };
    any(|first, then| first.egress && !then.egress)
        && any(|first, then| !first.egress && then.egress)
        && any(|first, then| first.ingress && !then.ingress)
        && any(|first, then| !first.ingress && then.ingress)
}
