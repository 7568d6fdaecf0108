//! What it costs to keep excerpts.

use std::net::Ipv4Addr;

use policy::{Labels, Namespace, Peer, Peers, Phase, PodPeer, Ports, Requirement, Rule, Selector};

use super::*;
use crate::work::looks;

/// Pods of each namespace. One in ten is a client.
const PODS: usize = 50;

fn pod(number: usize, namespaces: usize) -> Pod {
    let app = if (number / namespaces).is_multiple_of(10) { "client" } else { "web" };
    let labels: Labels = [("app".to_owned(), app.to_owned())].into();
    Pod {
        key: ObjectKey::new(format!("ns-{}", number % namespaces), format!("pod-{number}")),
        labels,
        node: Some(if number == 0 { "here" } else { "there" }.to_owned()),
        addresses: vec![Ipv4Addr::from_bits(0x0a00_0000 + number as u32).into()],
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

/// This many namespaces. The clients of the first are let into all of its pods.
fn cluster(namespaces: usize) -> Snapshot {
    let names = (0..namespaces).map(|number| Namespace {
        name: format!("ns-{number}"),
        labels: Labels::default(),
        is_ending: false,
        switch: Default::default(),
    });
    let pods = Selector::new([Requirement::equals("app", "client".to_owned())]);
    let peer = Peer::Pods(PodPeer { namespaces: None, pods });
    let policy = NetworkPolicy {
        ingress: Some(vec![Rule { peers: Peers::Only(vec![peer]), ports: Ports::All }]),
        ..NetworkPolicy::shut(ObjectKey::new("ns-0", "clients"))
    };
    let pods = (0..namespaces * PODS).map(|number| pod(number, namespaces));
    Snapshot::new([policy], pods, names)
}

/// A pod gets another label: one that the local pod's policy reads, or another.
fn cost(namespaces: usize, namespace: usize) -> (usize, bool) {
    let before = cluster(namespaces);
    let owner = ObjectKey::new("ns-0", "pod-0");
    let mut excerpts = Excerpts::of(Some("here"));
    excerpts.follow(&before);
    excerpts.add(&owner, &BTreeSet::new());
    let known = excerpts.get(&owner).cloned().unwrap_or_default();
    assert_eq!(known.pods.len(), PODS / 10, "the pod itself is a client, too");
    let mut after = before.clone();
    let mut changed = pod(namespaces + namespace, namespaces);
    changed.labels = [("app".to_owned(), "client".to_owned())].into();
    after.pods.insert(changed.key.clone(), Arc::new(changed));
    let looks = looks(|| excerpts.follow(&after));
    let now = excerpts.get(&owner).cloned().unwrap_or_default();
    (looks, !now.is_same(&known))
}

#[test]
fn a_change_costs_the_same_in_a_cluster_of_ten_times_the_size() {
    for (namespace, is_read) in [(0, true), (1, false)] {
        let (small, was_read) = cost(4, namespace);
        let (large, is_read_there) = cost(40, namespace);
        assert_eq!((was_read, is_read_there), (is_read, is_read));
        // The index of labels is a tree.
        assert!(large <= small + 40, "{small} looks, with ten times the pods {large}");
    }
}
