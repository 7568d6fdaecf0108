//! What a node enforces for an address that several pods report, or none.

use std::sync::Arc;

use super::*;
use crate::{Kept, KeptFor, NodeNetwork, UnknownPods, pod_ranges};

/// What node `a` says.
fn said(snapshot: &Snapshot, packet: &str) -> String {
    let owners = owners(snapshot);
    shown(&decide_with(snapshot, &owners, Some("a"), &parse_packet(packet)))
}

/// Isolated in both directions. From pods with `app=web` and to them everything passes.
fn web_only() -> NetworkPolicy {
    policy("app=v").ingress([peers([own("app=web")])]).egress([peers([own("app=web")])])
}

fn v() -> Pod {
    pod("dev/v", "10.0.0.9", "app=v").on("a", "192.168.0.1")
}

fn cluster_of<const N: usize>(pods: [Pod; N]) -> Snapshot {
    cluster_with([web_only()], |all| all.extend(pods))
}

const IN: &str = "8.8.8.8 > 10.0.0.9 tcp/80";
const OUT: &str = "10.0.0.9 > 8.8.8.8 tcp/80";
const FROM_WEB: &str = "10.0.0.1 > 10.0.0.9 tcp/80";

#[test]
fn no_pod_of_another_node_lifts_the_isolation_of_a_local_one() {
    for thief in [
        pod("dev/zz", "10.0.0.9", "").on("b", "192.168.0.2"),
        pod("dev/zz", "10.0.0.9", ""),
        Pod { host_network: true, ..pod("dev/zz", "10.0.0.9", "").on("a", "192.168.0.1") },
        Pod { is_ending: true, ..pod("dev/zz", "10.0.0.9", "").on("a", "192.168.0.1") },
    ] {
        let cluster = cluster_of([v(), Pod { created: 9, ..thief }]);
        assert_eq!(said(&cluster, IN), "stops: free; denied dev/p");
        assert_eq!(said(&cluster, OUT), "stops: denied dev/p; free");
        assert_eq!(said(&cluster, FROM_WEB), "passes: free; allowed dev/p[0]");
    }
}

/// As a peer it is the newest pod's, wherever that is.
#[test]
fn whose_peer_an_address_is_does_not_follow_from_what_is_enforced_for_it() {
    let newer = pod("dev/new", "10.0.0.9", "app=web").on("b", "192.168.0.2");
    let cluster = cluster_with([policy("").ingress([peers([own("app=web")])])], |all| {
        all.extend([v(), Pod { created: 9, ..newer }]);
    });
    assert_eq!(said(&cluster, "10.0.0.9 > 10.0.0.1 tcp/80"), "passes: free; allowed dev/p[0]");
    assert_eq!(said(&cluster, IN), "stops: free; denied dev/p");
}

#[test]
fn of_two_local_pods_both_isolate() {
    let twin = |labels| pod("dev/twin", "10.0.0.9", labels).on("a", "192.168.0.1");
    let free = cluster_of([v(), Pod { created: 9, ..twin("") }]);
    assert_eq!(said(&free, IN), "stops: free; denied dev/p");
    assert_eq!(said(&free, FROM_WEB), "passes: free; allowed dev/p[0]");
    let alike = cluster_of([v(), twin("app=v")]);
    assert_eq!(said(&alike, FROM_WEB), "passes: free; allowed dev/p[0]");
    let other = policy("app=twin").named("dev/q").ingress([peers([])]);
    let differing = cluster_with([web_only(), other], |all| all.extend([v(), twin("app=twin")]));
    assert_eq!(said(&differing, FROM_WEB), "stops: free; shut dev/p dev/q");
    assert_eq!(said(&differing, "10.0.0.9 > 10.0.0.1 tcp/80"), "passes: allowed dev/p[0]; free");
    assert_eq!(said(&differing, "10.0.0.9 > 10.0.0.9 tcp/80"), "passes: exempt; exempt");
}

#[test]
fn of_two_local_pods_with_other_ports_nothing_is_allowed_in() {
    let twin = pod("dev/twin", "10.0.0.9", "app=v").on("a", "192.168.0.1");
    let cluster = cluster_of([v(), twin.serving("http", Protocol::Tcp, 80)]);
    assert_eq!(said(&cluster, FROM_WEB), "stops: free; shut dev/p");
    assert_eq!(said(&cluster, "10.0.0.9 > 10.0.0.1 tcp/80"), "passes: allowed dev/p[0]; free");
}

fn keep(snapshot: &mut Snapshot, kept: Kept) {
    snapshot.kept.insert(ip("10.0.0.9"), Arc::new(kept));
}

#[test]
fn what_is_kept_is_isolated_by_the_present_policies_and_nobodys_peer() {
    let mut cluster = cluster_of([]);
    assert_eq!(said(&cluster, IN), "passes: free; free");
    keep(&mut cluster, Kept { pod: Arc::new(v()), why: KeptFor::Running });
    assert_eq!(said(&cluster, IN), "stops: free; denied dev/p");
    assert_eq!(said(&cluster, OUT), "stops: denied dev/p; free");
    assert_eq!(said(&cluster, FROM_WEB), "passes: free; allowed dev/p[0]");
    assert_eq!(said(&cluster, "10.0.0.9 > 10.0.0.9 tcp/80"), "passes: exempt; exempt");
    assert_eq!(said(&cluster, "192.168.0.1 > 10.0.0.9 tcp/80"), "passes: free; exempt");
    let peers_of_v = policy("app=web").named("dev/q").ingress([peers([own("app=v")])]);
    cluster.policies.insert(peers_of_v.key.clone(), Arc::new(peers_of_v));
    assert_eq!(
        said(&cluster, "10.0.0.9 > 10.0.0.1 tcp/80"),
        "stops: allowed dev/p[0]; denied dev/q"
    );
    cluster.policies.clear();
    assert_eq!(said(&cluster, IN), "passes: free; free");
}

#[test]
fn what_is_kept_of_an_unknown_pod_is_allowed_nothing() {
    let mut cluster = cluster_of([]);
    keep(&mut cluster, Kept::of_restart(&[ip("10.0.0.9")]).unwrap());
    assert_eq!(said(&cluster, IN), "stops: free; shut");
    assert_eq!(said(&cluster, FROM_WEB), "stops: free; shut");
    assert_eq!(said(&cluster, OUT), "stops: shut; free");
    assert_eq!(said(&cluster, "10.0.0.9 > 10.0.0.9 udp/53"), "passes: exempt; exempt");
}

#[test]
fn what_is_kept_does_not_count_beside_a_local_pod() {
    let mut cluster = cluster_of([pod("dev/heir", "10.0.0.9", "").on("a", "192.168.0.1")]);
    keep(&mut cluster, Kept { pod: Arc::new(v()), why: KeptFor::Running });
    assert_eq!(said(&cluster, IN), "passes: free; free");
    let mut cluster = cluster_of([pod("dev/far", "10.0.0.9", "").on("b", "192.168.0.2")]);
    keep(&mut cluster, Kept { pod: Arc::new(v()), why: KeptFor::Running });
    assert_eq!(said(&cluster, IN), "stops: free; denied dev/p");
}

/// Who may write such an object ends the shutting of an address.
#[test]
fn a_pod_object_of_any_node_names_an_address_of_the_pods_ranges() {
    let network = NodeNetwork {
        unknown_pods: UnknownPods::Closed,
        pod_ranges: pod_ranges(["10.0.0.0/24".parse().unwrap()]),
        ..NodeNetwork::default()
    };
    let address = ip("10.0.0.77");
    assert!(is_unknown(&cluster_of([]), &network, address));
    let liar = pod("dev/liar", "10.0.0.77", "").on("b", "192.168.0.2");
    assert!(!is_unknown(&cluster_of([liar]), &network, address));
}
