//! Which live flows a change makes suspicious: never too few, and only a few for a
//! small change. In the simulator; no kernel.

#![expect(clippy::unwrap_used, reason = "an error in a manifest or table fails the test")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use agent::conntrack_cleanup::{Suspects, suspects};
use compiler::{Engine, Options};
use policy::{NodeNetwork, Snapshot, spec};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::Ruleset;
use ruleset::simulator::{Outcome, Packet, simulate};
use samples::objects;
use samples::random::{self, NODES};
use samples::testbed_spec::{Families, Network, TestbedSpec};

/// The same cases in every run. `PROPTEST_CASES` draws that many new ones.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 1_000, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

fn table(snapshot: &Snapshot, node: &str) -> Ruleset {
    let options = Options { node: Some(node.to_owned()), ..Options::default() };
    samples::from_scratch::compiled(snapshot, &options).ruleset
}

/// The tables that an agent makes from the first snapshot and then from the second.
fn tables_in_turn(snapshots: [&Snapshot; 2], node: &str) -> [Ruleset; 2] {
    let options = Options { node: Some(node.to_owned()), ..Options::default() };
    let mut engine = Engine::new(options);
    snapshots.map(|one| engine.update(one, &NodeNetwork::default()).ruleset.clone())
}

fn on_the_wire(packet: &spec::Packet) -> Packet {
    match packet.transport {
        spec::ProtocolPort::Other(protocol) => {
            Packet::new(packet.source, packet.destination, protocol)
        }
        spec::ProtocolPort::Port(protocol, port) => Packet {
            destination_port: Some(port),
            ..Packet::new(packet.source, packet.destination, protocol.number())
        },
    }
}

/// All pairs of the clusters' addresses, and pairs of link-local ones.
fn packets(snapshots: &[&Snapshot]) -> Vec<Packet> {
    let link_local = [("fe80::1", "fe80::2"), ("fd00::1", "fe80::2"), ("fe80::1", "fd00::2")];
    let beside =
        link_local.map(|(from, to)| Packet::new(from.parse().unwrap(), to.parse().unwrap(), 17));
    random::packets(snapshots).iter().map(on_the_wire).chain(beside).collect()
}

fn passes(table: &Ruleset, packet: &Packet) -> bool {
    simulate(table, packet).unwrap().outcome == Outcome::Accept
}

fn check(before: &Snapshot, after: &Snapshot) -> Result<(), TestCaseError> {
    for (node, _) in NODES {
        let (old, new) = (table(before, node), table(after, node));
        let found = suspects(Some(&old), &new);
        // Tables that share what did not change are compared in another way.
        let [earlier, later] = tables_in_turn([before, after], node);
        let in_turn = suspects(Some(&earlier), &later);
        let at_start = suspects(None, &new);
        prop_assert!(suspects(Some(&new), &new).is_empty());
        prop_assert!(found.addresses.is_subset(&addresses_of_all(before, after)));
        for packet in packets(&[before, after]) {
            let denied = !passes(&new, &packet);
            let touches = |suspects: &Suspects| suspects.touches(packet.source, packet.destination);
            prop_assert!(!denied || touches(&at_start), "{packet:?} on {node}, at start");
            let lost = denied && passes(&old, &packet);
            prop_assert!(!lost || touches(&found), "{packet:?} on {node}: {found:?}");
            prop_assert!(!lost || touches(&in_turn), "{packet:?} on {node}, in turn: {in_turn:?}");
        }
    }
    Ok(())
}

fn addresses_of_all(before: &Snapshot, after: &Snapshot) -> BTreeSet<IpAddr> {
    let pods = before.pods.values().chain(after.pods.values());
    let kept = before.kept.keys().chain(after.kept.keys()).copied();
    pods.flat_map(|pod| pod.addresses.clone()).chain(kept).collect()
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_one_object_takes_away_is_suspected((before, after) in random::single_change()) {
        check(&before, &after)?;
    }

    #[test]
    fn what_a_namespace_takes_away_is_suspected((before, after) in random::namespace_change()) {
        check(&before, &after)?;
    }

    #[test]
    fn what_many_changes_take_away_is_suspected((before, after) in random::many_changes()) {
        check(&before, &after)?;
    }
}

/// `web` and `db` on the node, `client` and `other` elsewhere.
fn spec(pods: &[(&str, &str)]) -> TestbedSpec {
    let spec = TestbedSpec::new(Network::Routed, &["near", "far"]).namespace("dev", &[]);
    pods.iter().fold(spec, |spec, (name, app)| {
        let node = usize::from(matches!(*name, "client" | "other"));
        spec.pod_on(node, "dev", name, &[("app", app)], Families::V4, &[])
    })
}

const PODS: [(&str, &str); 4] =
    [("web", "web"), ("db", "db"), ("client", "client"), ("other", "client")];
const WEB: &str = "10.244.1.2";
const DB: &str = "10.244.1.3";
const CLIENT: &str = "10.244.2.2";

/// Ingress from `app: client` on these ports, for the pods that the selector selects.
fn policy(name: &str, app: &str, ports: &[u16]) -> String {
    let ports: String = ports.iter().map(|port| format!("    - port: {port}\n")).collect();
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  namespace: dev
spec:
  podSelector:
    matchExpressions:
    - key: app
      operator: In
      values: [{app}]
  policyTypes: [Ingress]
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: client
    ports:
{ports}---
"
    )
}

fn compiled(pods: &[(&str, &str)], policies: &str) -> Ruleset {
    table(&objects::snapshot(&spec(pods), policies).unwrap(), "near")
}

fn suspected(before: &Ruleset, after: &Ruleset) -> (Vec<String>, bool) {
    let found = suspects(Some(before), after);
    (found.addresses.iter().map(ToString::to_string).collect(), found.link_local)
}

fn only(addresses: &[&str]) -> (Vec<String>, bool) {
    (addresses.iter().map(|&address| address.to_owned()).collect(), false)
}

#[test]
fn what_only_adds_suspects_nothing() {
    let narrow = compiled(&PODS, &policy("p", "web", &[80]));
    let wide = compiled(&PODS, &policy("p", "web", &[80, 81]));
    let second = policy("p", "web", &[80]) + &policy("q", "web", &[90]);
    let second = compiled(&PODS, &second);
    let mut fewer = PODS;
    fewer[3].1 = "stranger";
    let fewer = compiled(&fewer, &policy("p", "web", &[80]));
    let nobody = compiled(&PODS, "");
    for (case, before, after) in [
        ("nothing changes", &narrow, &narrow),
        ("a port more", &narrow, &wide),
        ("a policy more for an isolated pod", &narrow, &second),
        ("a peer more", &fewer, &narrow),
        ("no longer isolated", &wide, &nobody),
    ] {
        assert_eq!(suspected(before, after), only(&[]), "{case}");
    }
}

#[test]
fn the_first_isolated_pod_is_suspected_and_so_is_what_is_link_local() {
    let before = compiled(&PODS, "");
    let after = compiled(&PODS, &policy("p", "web", &[80]));
    assert_eq!(suspected(&before, &after), (vec![WEB.to_owned()], true));
}

#[test]
fn of_several_pods_only_the_one_that_is_newly_isolated_is_suspected() {
    let before = compiled(&PODS, &policy("p", "web", &[80]));
    let after = policy("p", "web", &[80]) + &policy("q", "db", &[80]);
    assert_eq!(suspected(&before, &compiled(&PODS, &after)), only(&[DB]));
}

#[test]
fn a_port_less_suspects_the_pods_of_that_policy() {
    let rest = policy("q", "db", &[80]);
    let before = compiled(&PODS, &(policy("p", "web", &[80, 81]) + &rest));
    let after = compiled(&PODS, &(policy("p", "web", &[80]) + &rest));
    assert_eq!(suspected(&before, &after), only(&[WEB]));
}

#[test]
fn a_peer_less_suspects_the_peer_where_it_has_fewer_addresses() {
    let before = compiled(&PODS, &policy("p", "web, db", &[80]));
    let mut relabelled = PODS;
    relabelled[2].1 = "stranger";
    let after = compiled(&relabelled, &policy("p", "web, db", &[80]));
    assert_eq!(suspected(&before, &after), only(&[CLIENT]));
    // One pod loses all its peers.
    let before = compiled(&PODS, &policy("p", "web", &[80]));
    relabelled[3].1 = "stranger";
    let after = compiled(&relabelled, &policy("p", "web", &[80]));
    assert_eq!(suspected(&before, &after), only(&[WEB]));
}

/// A pod gets the label of another policy, so it is compared chain by chain.
#[test]
fn an_address_that_has_another_chain_is_suspected() {
    let policies = policy("p", "web", &[80]) + &policy("q", "db", &[90]);
    let before = compiled(&PODS, &policies);
    let mut relabelled = PODS;
    relabelled[0].1 = "db";
    let after = compiled(&relabelled, &policies);
    assert_eq!(suspected(&before, &after), only(&[WEB]));
}

#[test]
fn without_a_table_before_or_with_another_frame_all_isolated_pods_are_suspected() {
    let after = compiled(&PODS, &policy("p", "web, db", &[80]));
    let all: BTreeSet<IpAddr> = [WEB, DB].iter().map(|one| one.parse().unwrap()).collect();
    let everybody = Suspects { addresses: all, link_local: true, ..Suspects::default() };
    assert_eq!(suspects(None, &after), everybody);
    let mut older = after.clone();
    let base = compiler::scaffold::base_chain();
    let mut chain = ruleset::Chain::clone(&older.chains[&base]);
    chain.rules.remove(0);
    older.chains.insert(base, chain.into());
    assert_eq!(suspects(Some(&older), &after), everybody);
}
