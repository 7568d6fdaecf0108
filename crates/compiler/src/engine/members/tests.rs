//! What a decision costs while sets of pods together have more than a namespace may.

use std::net::Ipv4Addr;
use std::sync::Arc;

use policy::{
    Labels, NetworkPolicy, NodeNetwork, Peer, Peers, Phase, Pod, PodPeer, Ports, Requirement, Rule,
    Selector, Snapshot,
};

use super::*;
use crate::price::Amount;
use crate::work::looks;
use crate::{Engine, Options};

/// Pods of each namespace. The first is on the node.
const PODS: u32 = 10;

fn namespace(number: u32) -> String {
    format!("ns-{number}")
}

fn pod(of: u32, number: u32) -> Pod {
    Pod {
        key: ObjectKey::new(namespace(of), format!("p{number}")),
        labels: Labels::new(),
        node: Some(if number == 0 { "here" } else { "there" }.to_owned()),
        addresses: vec![Ipv4Addr::from_bits(0x0a00_0000 + of * PODS + number).into()],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

/// On all pods of a namespace, for those of it without some labels.
fn policy(of: u32, name: &str, peers: u32) -> NetworkPolicy {
    let peer = |number| {
        let key = format!("x-{number}");
        let pods = Selector::new([Requirement { key, operator: policy::Operator::DoesNotExist }]);
        Peer::Pods(PodPeer { namespaces: None, pods })
    };
    let peers = Peers::Only((0..peers).map(peer).collect());
    NetworkPolicy {
        key: ObjectKey::new(namespace(of), name),
        uid: String::new(),
        audit: policy::Audit::default(),
        pod_selector: Selector::everything(),
        ingress: Some(vec![Rule { peers, ports: Ports::All }]),
        egress: None,
    }
}

/// The first namespace has a policy that finds no room.
fn cluster(namespaces: u32) -> Snapshot {
    let of = 0..namespaces;
    let policies = of.clone().map(|of| policy(of, "a", 2)).chain([policy(0, "greedy", 9)]);
    Snapshot::new(policies, of.flat_map(|of| (0..PODS).map(move |at| pod(of, at))), [])
}

fn engine() -> Engine {
    let node = Amount { sets: 10_000, rules: 10_000, elements: 100_000 };
    let namespace = Amount { sets: 100, rules: 100, elements: 60 };
    let budgets = Budgets { node, namespace };
    Engine::new(Options { node: Some("here".to_owned()), budgets, ..Options::default() })
}

/// What it costs that a pod of a namespace comes, one goes, a policy comes and goes.
fn costs(namespaces: u32, of: u32) -> Vec<usize> {
    let mut engine = engine();
    let mut snapshot = cluster(namespaces);
    let network = NodeNetwork::default();
    let beyond = engine.update(&snapshot, &network).over_budget.clone();
    assert_eq!(*beyond, BTreeSet::from([ObjectKey::new("ns-0", "greedy")]));
    let fresh = Pod { addresses: vec![Ipv4Addr::new(10, 9, 9, 9).into()], ..pod(of, PODS) };
    let more = policy(of, "b", 3);
    let (fresh, more) = (Arc::new(fresh), Arc::new(more));
    let changes: [&dyn Fn(&mut Snapshot); 4] = [
        &|snapshot| drop(snapshot.pods.insert(fresh.key.clone(), Arc::clone(&fresh))),
        &|snapshot| drop(snapshot.pods.remove(&fresh.key)),
        &|snapshot| drop(snapshot.policies.insert(more.key.clone(), Arc::clone(&more))),
        &|snapshot| drop(snapshot.policies.remove(&more.key)),
    ];
    changes
        .map(|change| {
            change(&mut snapshot);
            looks(|| {
                engine.update(&snapshot, &network);
            })
        })
        .into()
}

#[test]
fn a_change_does_not_cost_the_sets_of_other_namespaces() {
    for of in [0, 5] {
        let (small, large) = (costs(20, of), costs(200, of));
        for (step, (small, large)) in small.into_iter().zip(large).enumerate() {
            assert!(small >= 2, "namespace {of}, step {step}: only {small} looks were counted");
            // The depth of an ordered set grows.
            assert!(large <= small * 3 / 2, "namespace {of}, step {step}: {small}, then {large}");
        }
    }
}
