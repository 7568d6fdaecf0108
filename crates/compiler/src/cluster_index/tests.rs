//! What it costs to find the pods of a peer.

use std::net::Ipv4Addr;

use policy::{Labels, Namespace, Phase};

use super::*;
use crate::work::looks;

/// Pods of each namespace.
const PODS: usize = 50;

/// This many namespaces, each in a team of its own. All pods have one label.
fn cluster(namespaces: usize) -> ClusterIndex {
    let labels = |key: &str, value: String| -> Labels { [(key.to_owned(), value)].into() };
    let names = (0..namespaces).map(|number| Namespace {
        name: format!("ns-{number}"),
        labels: labels("team", format!("team-{number}")),
        is_ending: false,
        switch: Default::default(),
    });
    let pods = (0..namespaces * PODS).map(|number| Pod {
        key: ObjectKey::new(format!("ns-{}", number % namespaces), format!("pod-{number}")),
        labels: labels("app", "web".to_owned()),
        node: None,
        addresses: vec![Ipv4Addr::from_bits(0x0a00_0000 + number as u32).into()],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    });
    let snapshot = Snapshot::new([], pods, names);
    let mut index = ClusterIndex::default();
    index.follow(&Changes::between(&Snapshot::default(), &snapshot));
    index
}

fn peer(team: &str) -> PodsPeer {
    let equals =
        |key: &str, value: &str| Selector::new([Requirement::equals(key, value.to_owned())]);
    PodsPeer { scope: Scope::Matching(equals("team", team)), pods: equals("app", "web") }
}

#[test]
fn a_peer_does_not_cost_the_pods_of_other_namespaces() {
    let cost = |namespaces| {
        let index = cluster(namespaces);
        looks(|| assert_eq!(index.selected(&peer("team-1")).len(), PODS))
    };
    let (small, large) = (cost(4), cost(40));
    assert!(large <= small + 40 + PODS, "{small} looks, with ten times the pods {large}");
}

/// Either way, whichever is asked first.
#[test]
fn a_peer_selects_the_pods_that_both_selectors_match() {
    let index = cluster(3);
    let everything = Selector::everything;
    let found = |scope: Selector, pods: Selector| {
        let peer = PodsPeer { scope: Scope::Matching(scope), pods };
        let selected = index.selected(&peer).len();
        let each = index.pods().filter(|pod| index.selects(&peer, pod)).count();
        assert_eq!(selected, each, "{peer}");
        selected
    };
    let web = || peer("").pods;
    let nobody = || Selector::new([Requirement::equals("app", "none".to_owned())]);
    assert_eq!(found(everything(), web()), 3 * PODS);
    assert_eq!(found(everything(), everything()), 3 * PODS);
    assert_eq!(found(everything(), nobody()), 0);
}
