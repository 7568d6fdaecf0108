//! What policies in audit mean, in the specification, in the table and in the proof. Random
//! clusters and named mistakes; no kernel.

#![expect(clippy::unwrap_used, reason = "an error in a table fails the test")]

use std::collections::BTreeSet;
use std::sync::Arc;

use compiler::{Engine, Options};
use policy::spec::{self, Side};
use policy::{Direction, Mode, NodeNetwork, ObjectKey, Snapshot, subjects};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::plan::plan;
use ruleset::simulator::{self, Outcome, simulate};
use ruleset::{Finish, Match, Name, Op, Rule, Ruleset, Verdict};
use samples::from_scratch::{compiled, compiled_on};
use samples::judge::{is_forwarded, on_the_wire};
use samples::large;
use samples::random::{self, NODES};
use verify::{Report, verify};

fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// The same with all policies in this mode, or without those that are not enforced.
fn with(snapshot: &Snapshot, change: impl Fn(&mut policy::NetworkPolicy) -> bool) -> Snapshot {
    let policies = snapshot.policies.values().filter_map(|policy| {
        let mut policy = (**policy).clone();
        change(&mut policy).then(|| (policy.key.clone(), Arc::new(policy)))
    });
    Snapshot { policies: policies.collect(), ..snapshot.clone() }
}

fn sides(decision: spec::Decision) -> [(Direction, Side); 2] {
    [(Direction::Egress, decision.egress), (Direction::Ingress, decision.ingress)]
}

/// Of whose policies a table tells that they would deny a packet, and whether it passes.
fn seen(table: &Ruleset, packet: &simulator::Packet) -> (BTreeSet<Direction>, bool) {
    let seen = simulate(table, packet).unwrap();
    let logs = seen.trace.iter().filter(|at| {
        table.chains[&at.chain].rules[at.rule].log.as_ref().is_some_and(|log| {
            log.set.as_str().starts_with("audited.") && log.prefix.as_str() == at.chain.as_str()
        })
    });
    let told = logs.filter_map(|at| {
        let is = |start: &str| at.chain.as_str().starts_with(start);
        let egress = is("audit.e.").then_some(Direction::Egress);
        egress.or(is("audit.i.").then_some(Direction::Ingress))
    });
    (told.collect(), seen.outcome == Outcome::Accept)
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_policy_in_audit_counts_as_absent(snapshot in random::snapshot()) {
        let without = with(&snapshot, |policy| policy.is_enforced());
        let owners = [&snapshot, &without].map(spec::owners);
        for packet in random::packets(&[&snapshot]) {
            for (node, _) in NODES {
                prop_assert_eq!(
                    spec::decide_with(&snapshot, &owners[0], Some(node), &packet),
                    spec::decide_with(&without, &owners[1], Some(node), &packet)
                );
            }
        }
    }

    /// What is told is what would be denied if all policies were enforced.
    #[test]
    fn what_is_told_would_be_denied(snapshot in random::snapshot()) {
        let enforced = with(&snapshot, |policy| {
            policy.audit.mode = Mode::Enforce;
            true
        });
        let owners = [&snapshot, &enforced].map(spec::owners);
        for packet in random::packets(&[&snapshot]) {
            let of = |direction| match direction {
                Direction::Egress => packet.source,
                Direction::Ingress => packet.destination,
            };
            let now = sides(spec::decide_with(&snapshot, &owners[0], None, &packet));
            let told = sides(spec::audit_with(&snapshot, &owners[0], None, &packet));
            let then = sides(spec::decide_with(&enforced, &owners[1], None, &packet));
            for (((direction, now), (_, told)), (_, then)) in now.into_iter().zip(told).zip(then) {
                if now == Side::NotIsolated {
                    prop_assert_eq!(told, then, "{:?} {}", packet, direction);
                    continue;
                }
                prop_assert_eq!(told, Side::NotIsolated);
                // One more policy allows more, unless it is not known whose it is.
                let one = subjects(&snapshot, None, of(direction)).len() == 1;
                prop_assert!(!now.passes() || !one || then.passes(), "{:?} {}", packet, direction);
            }
        }
    }

    #[test]
    fn the_table_tells_what_the_specification_says(snapshot in random::snapshot()) {
        let owners = spec::owners(&snapshot);
        for (node, node_address) in NODES {
            let options = Options { node: Some(node.to_owned()), ..Options::default() };
            let table = compiled_on(&snapshot, &NodeNetwork::default(), &options).ruleset;
            for packet in random::packets(&[&snapshot]) {
                if !is_forwarded(node_address, &packet) {
                    continue;
                }
                let (told, passes) = seen(&table, &on_the_wire(&packet));
                let said = sides(spec::audit_with(&snapshot, &owners, Some(node), &packet));
                let denied = said.into_iter().filter(|(_, side)| !side.passes());
                let denied: BTreeSet<Direction> = denied.map(|(direction, _)| direction).collect();
                if passes {
                    prop_assert_eq!(told, denied, "{:?} on {}", packet, node);
                }
            }
        }
    }

    /// Without anybody in audit the table is as if there were no audit.
    #[test]
    fn nobody_in_audit_costs_nothing(snapshot in random::snapshot()) {
        let enforced = with(&snapshot, |policy| {
            policy.audit.mode = Mode::Enforce;
            true
        });
        let options = Options { node: Some("n1".to_owned()), ..Options::default() };
        let mut engine = Engine::new(options.clone());
        engine.update(&snapshot, &NodeNetwork::default());
        let after = engine.update(&enforced, &NodeNetwork::default()).ruleset.clone();
        let is_of_audit = |name: &Name| name.as_str().starts_with("audit");
        prop_assert!(!after.chains.keys().any(is_of_audit));
        prop_assert!(!after.sets.keys().chain(after.maps.keys()).any(is_of_audit));
        prop_assert!(!after.chains.values().flat_map(|one| &one.rules).any(
            |rule| rule.target().is_some_and(is_of_audit)
        ));
    }
}

const WEB: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: dev, annotations: {nftpol.dev/mode: audit}}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: 80}]}]
  egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: dev}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}]
";

/// `dev/web` in audit, `dev/db` enforced, `dev/front` free.
fn small() -> Snapshot {
    let spec = samples::fixtures::dev_pods(
        samples::testbed_spec::Network::Bridge,
        &["n1"],
        &["web", "db", "front"],
        samples::testbed_spec::Families::Both,
    );
    samples::objects::snapshot(&spec, WEB).unwrap()
}

fn proof(snapshot: &Snapshot, table: &Ruleset) -> Report {
    let nothing = NodeNetwork::default();
    verify(snapshot, Some("n1"), &BTreeSet::new(), &nothing, table, None).unwrap()
}

fn options() -> Options {
    Options { node: Some("n1".to_owned()), ..Options::default() }
}

fn chain<'a>(table: &'a mut Ruleset, start: &str) -> &'a mut Vec<Rule> {
    let name = table.chains.keys().find(|name| name.as_str().starts_with(start)).cloned();
    &mut Arc::make_mut(table.chains.get_mut(&name.unwrap()).unwrap()).rules
}

type Mistake = (&'static str, fn(&mut Ruleset));

const MISTAKES: [Mistake; 13] = [
    ("nothing is told", |table| chain(table, "audit.i.").retain(|rule| rule.log.is_none())),
    ("IPv6 is not told", |table| {
        chain(table, "audit.e.")
            .retain(|rule| rule.log.as_ref().is_none_or(|log| log.family == ruleset::Family::V4));
    }),
    ("what is allowed is told", |table| chain(table, "audit.i.").retain(|rule| !rule.allows())),
    ("all is allowed", |table| chain(table, "audit.e.").insert(0, Rule::new([], Verdict::Return))),
    ("what would be denied is dropped", |table| {
        chain(table, "audit.e.").push(Rule::new([], Verdict::Drop));
    }),
    ("what is allowed skips ingress", |table| {
        chain(table, "audit.e.")[0].finish = Some(Finish::Verdict(Verdict::Accept));
    }),
    ("a look-up that finds nothing drops", |table| {
        chain(table, "audit.ingress4").push(Rule::new([], Verdict::Drop));
    }),
    ("a pod has no chain", |table| {
        let map = table.maps.get_mut("audit.ingress6").unwrap();
        map.entries.clear();
    }),
    ("the chain of another", |table| {
        let chain = table.maps["audit.ingress4"].entries.values().next().cloned().unwrap();
        let free = table.maps["audit.ingress4"].entries.keys().next().copied().unwrap();
        let other = match free {
            std::net::IpAddr::V4(v4) => std::net::Ipv4Addr::from(u32::from(v4) + 2).into(),
            v6 => v6,
        };
        table.maps.get_mut("audit.ingress4").unwrap().entries.insert(other, chain);
    }),
    ("a pod does not reach itself", |table| {
        chain(table, "audit.egress4")
            .retain(|rule| !rule.matches.iter().any(|one| matches!(one, Match::AddressPair(..))));
    }),
    ("nobody asks", |table| {
        chain(table, "forward")
            .retain(|rule| rule.target().is_none_or(|name| name.as_str() != "audit.egress4"));
    }),
    ("it is counted as dropped", |table| {
        for rule in chain(table, "audit.e.") {
            if let Some(log) = &mut rule.log {
                log.set = Name::new(log.set.as_str().replace("audited", "logged")).unwrap();
            }
        }
    }),
    ("it names another chain", |table| {
        for rule in chain(table, "audit.e.") {
            if let Some(log) = &mut rule.log {
                log.prefix = ruleset::LogPrefix::new("e.dev/db.0");
            }
        }
    }),
];

#[test]
fn a_mistake_in_the_chains_of_audit_is_caught() {
    let snapshot = small();
    let right = compiled(&snapshot, &options()).ruleset;
    let report = proof(&snapshot, &right);
    assert!(report.is_equal(), "{}", report.ways().collect::<String>());
    assert_eq!(report.counts.audited, 4);
    for (name, plant) in MISTAKES {
        let mut wrong = right.clone();
        plant(&mut wrong);
        assert!(wrong != right, "{name}: it changes nothing");
        let report = proof(&snapshot, &wrong);
        assert!(!report.is_equal(), "{name}: it is not found");
        // The simulator confirms it.
        for found in &report.audit_differences {
            let (told, passes) = seen(&wrong, &found.packet);
            assert!(passes && told.contains(&found.direction) == found.is_told, "{name}: {found}");
        }
    }
}

/// Where a policy that is enforced and one in audit select one pod, the second changes
/// nothing, and tells nothing: it could only allow more.
#[test]
fn beside_an_enforced_policy_one_in_audit_neither_opens_nor_tells() {
    let both = WEB
        .replace("{name: db,", "{name: web-too,")
        .replace("{app: db}}\n  in", "{app: web}}\n  in");
    let spec = samples::fixtures::dev_pods(
        samples::testbed_spec::Network::Bridge,
        &["n1"],
        &["web", "front"],
        samples::testbed_spec::Families::V4,
    );
    let snapshot = samples::objects::snapshot(&spec, &both).unwrap();
    let table = compiled(&snapshot, &options()).ruleset;
    let starts =
        |start: &str| table.chains.keys().filter(|one| one.as_str().starts_with(start)).count();
    assert_eq!((starts("audit.i."), starts("i."), starts("audit.e."), starts("e.")), (0, 1, 1, 0));
    assert!(proof(&snapshot, &table).is_equal());
}

/// What a policy's switch to audit and back costs does not grow with the cluster.
#[test]
fn a_switch_costs_the_same_in_a_cluster_of_twice_the_size() {
    let costs = [100, 200].map(|namespaces| {
        let cluster = large::sized(namespaces).unwrap();
        let mut engine =
            Engine::new(Options { node: Some(large::NODE.to_owned()), ..Options::default() });
        let key: ObjectKey = large::local_policy();
        let mut audited = cluster.clone();
        let mut policy = (*cluster.policies[&key]).clone();
        policy.audit.mode = Mode::Audit;
        audited.policies.insert(key, Arc::new(policy));
        let nothing = NodeNetwork::default();
        let tables = [&cluster, &audited, &cluster]
            .map(|snapshot| engine.update(snapshot, &nothing).ruleset.clone());
        assert_eq!(tables[0], tables[2]);
        let cost = |from: &Ruleset, to: &Ruleset| {
            let batches = plan(Some(from), to).unwrap();
            let operations: Vec<&Op> = batches.iter().flat_map(|batch| &batch.ops).collect();
            (batches.len(), operations.len())
        };
        (cost(&tables[0], &tables[1]), cost(&tables[1], &tables[2]))
    });
    assert_eq!(costs[0], costs[1]);
    println!("to audit: {:?}, back: {:?} (commits, operations)", costs[0].0, costs[0].1);
}
