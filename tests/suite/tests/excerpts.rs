//! From an excerpt of a cluster the same table is compiled as from all of it, and the way to
//! an excerpt does not matter. Random clusters; no kernel.

#![expect(clippy::unwrap_used, reason = "an error fails the test")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use compiler::{Engine, Excerpts, Options, Place};
use policy::{Inside, NodeNetwork, ObjectKey, Snapshot, subject_of};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ruleset::Ruleset;
use samples::large;
use samples::random::{self, NODES};

/// The same cases each time by default.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// An address of the node that no object names but, in some clusters, that of a pod.
fn shim(snapshots: &[&Snapshot]) -> IpAddr {
    let pods = snapshots.iter().flat_map(|one| one.pods.values());
    let last = pods.flat_map(|pod| pod.addresses.first()).next_back();
    last.copied().unwrap_or_else(|| "192.168.0.77".parse().unwrap())
}

fn network(pod: &ObjectKey, shim: IpAddr) -> NodeNetwork {
    let mut inside = Inside::of(pod.clone());
    inside.node.insert(shim);
    NodeNetwork { inside: Some(inside), ..NodeNetwork::default() }
}

fn engine(pod: &ObjectKey, node: &str) -> Engine {
    let options = Options { node: Some(node.to_owned()), ..Options::default() };
    Engine::at(Place::inside(pod.clone()), options)
}

fn table(snapshot: &Snapshot, pod: &ObjectKey, node: &str, shim: IpAddr) -> Ruleset {
    engine(pod, node).update(snapshot, &network(pod, shim)).ruleset.clone()
}

fn local(snapshots: &[&Snapshot], node: &str) -> BTreeSet<ObjectKey> {
    let all = snapshots.iter().flat_map(|one| one.pods.values());
    let local = all.filter(|pod| pod.is_on(Some(node)));
    local.map(|pod| pod.key.clone()).collect()
}

/// Through these snapshots, the excerpts of all pods of a node stay those made from scratch,
/// and make the tables of the whole.
fn check(snapshots: &[&Snapshot]) -> Result<(), TestCaseError> {
    let shim = shim(snapshots);
    for (node, _) in NODES {
        let pods = local(snapshots, node);
        let mut excerpts = Excerpts::of(Some(node));
        pods.iter().for_each(|pod| excerpts.add(pod, &[shim].into()));
        let mut engines: Vec<Engine> = pods.iter().map(|pod| engine(pod, node)).collect();
        for snapshot in snapshots {
            excerpts.follow(snapshot);
            for (pod, engine) in pods.iter().zip(&mut engines) {
                let found = excerpts.get(pod).unwrap();
                let mut anew = Excerpts::of(Some(node));
                anew.follow(snapshot);
                anew.add(pod, &[shim].into());
                prop_assert_eq!(found, anew.get(pod).unwrap(), "{} on {}", pod, node);
                let compiled = engine.update(found, &network(pod, shim)).ruleset.clone();
                // No table is sent for objects without the pod.
                if subject_of(snapshot, Some(node), pod).is_some() {
                    let whole = table(snapshot, pod, node, shim);
                    prop_assert_eq!(compiled, whole, "{} on {}", pod, node);
                }
            }
        }
        excerpts.retain(|_| false);
        prop_assert!(pods.iter().all(|pod| excerpts.get(pod).is_none()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn an_excerpt_follows_one_object((before, after) in random::single_change()) {
        check(&[&before, &after, &before])?;
    }

    #[test]
    fn an_excerpt_follows_a_namespace((before, after) in random::namespace_change()) {
        check(&[&before, &after, &before])?;
    }

    #[test]
    fn an_excerpt_follows_many_objects((before, after) in random::many_changes()) {
        check(&[&Snapshot::default(), &before, &after])?;
    }
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn an_excerpt_of_a_crowd((before, after) in (random::crowd(), random::crowd())) {
        check(&[&before, &after])?;
    }
}

/// What engines hold follows the peers of a pod's policies, whatever the cluster's size.
#[test]
fn an_excerpt_does_not_grow_with_the_cluster() {
    let sizes = [100, 200].map(|namespaces| {
        let cluster = large::sized(namespaces).unwrap();
        let pod = large::local_pod();
        let mut excerpts = Excerpts::of(Some(large::NODE));
        excerpts.follow(&cluster);
        excerpts.add(&pod, &BTreeSet::new());
        let excerpt = excerpts.get(&pod).unwrap();
        assert!(excerpt.pods.len() * 10 < cluster.pods.len(), "{} pods", excerpt.pods.len());
        (excerpt.pods.len(), excerpt.policies.len(), excerpt.namespaces.len())
    });
    assert_eq!(sizes[0], sizes[1]);
}
