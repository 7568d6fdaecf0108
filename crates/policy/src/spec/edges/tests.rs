//! For whom the edges are shut, and what passes there.

use std::sync::Arc;

use super::*;
use crate::{Kept, KeptFor, Labels, Mac, NetworkPolicy, ObjectKey, Phase, Pod, Selector};

const BRIDGE: InterfaceIndex = InterfaceIndex(2);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address literal")
}

fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::from([("app".to_owned(), name.to_owned())]),
        node: None,
        addresses: addresses.iter().map(|one| ip(one)).collect(),
        host_addresses: vec![],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: crate::Attachment::default(),
        ports: vec![],
    }
}

/// Isolates the pods with one of these labels.
fn isolating(names: &[&str]) -> Vec<NetworkPolicy> {
    let policy = |name: &&str| NetworkPolicy {
        key: ObjectKey::new("dev", *name),
        uid: String::new(),
        audit: crate::Audit::default(),
        pod_selector: Selector::new([crate::Requirement {
            key: "app".to_owned(),
            operator: crate::Operator::In([(*name).to_owned()].into()),
        }]),
        ingress: Some(vec![]),
        egress: None,
    };
    names.iter().map(policy).collect()
}

fn port(name: &str, bridge: Option<InterfaceIndex>, addresses: &[&str]) -> BoundPort {
    BoundPort {
        pod: ObjectKey::new("dev", name),
        bridge,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        addresses: addresses.iter().map(|one| ip(one)).collect(),
    }
}

fn network(ports: &[(u32, BoundPort)]) -> NodeNetwork {
    let ports = ports.iter().map(|(index, port)| (InterfaceIndex(*index), port.clone()));
    NodeNetwork { ports: ports.collect(), ..NodeNetwork::default() }
}

const V: [&str; 2] = ["10.0.0.4", "fd00::4"];

#[test]
fn they_are_shut_for_all_unless_each_isolated_address_is_behind_a_guard() {
    let v = |bridge| port("v", bridge, &["10.0.0.4", "fd00::4", "fe80::4"]);
    let other = port("a", Some(BRIDGE), &["10.0.0.3"]);
    let pending = |network| NodeNetwork { guards_pending: true, ..network };
    let bridged = network(&[(4, v(Some(BRIDGE))), (3, other.clone())]);
    let cases = [
        ("nothing is bound", network(&[]), Edges::Shut),
        ("on a bridge", bridged.clone(), Edges::Guarded),
        ("on a bridge, the guard is to come", pending(bridged), Edges::Shut),
        ("routed", network(&[(4, v(None))]), Edges::Guarded),
        ("routed, a guard is to come", pending(network(&[(4, v(None))])), Edges::Guarded),
        ("another pod is bound", network(&[(3, other)]), Edges::Shut),
        ("one family", network(&[(4, port("v", None, &["10.0.0.4"]))]), Edges::Shut),
        ("the port is another's", network(&[(4, port("a", None, &V))]), Edges::Shut),
        ("nobody may use it", network(&[(0, v(None))]), Edges::Shut),
    ];
    let pods = [pod("v", &V), pod("a", &["10.0.0.3"])];
    let isolated = Snapshot::new(isolating(&["v"]), pods.clone(), []);
    let open = Snapshot::new([], pods, []);
    for (case, network, expected) in cases {
        assert_eq!(AtEdges::of(&isolated, &network, None).edges, expected, "{case}");
        assert_eq!(
            AtEdges::of(&open, &network, None),
            AtEdges::default(),
            "{case}, nobody isolated"
        );
    }
}

#[test]
fn one_isolated_pod_without_a_port_shuts_them_for_all() {
    let bound = network(&[(4, port("v", None, &V))]);
    let pods = [pod("v", &V), pod("w", &["10.0.0.5"])];
    let both = Snapshot::new(isolating(&["v", "w"]), pods.clone(), []);
    assert_eq!(AtEdges::of(&both, &bound, None).edges, Edges::Shut);
    let mut kept = Snapshot::new(isolating(&["v"]), pods[..1].to_vec(), []);
    assert_eq!(AtEdges::of(&kept, &bound, None).edges, Edges::Guarded);
    let gone = Kept { pod: Arc::new(pods[1].clone()), why: KeptFor::Unreadable };
    kept.kept.insert(ip("10.0.0.5"), Arc::new(gone));
    assert_eq!(AtEdges::of(&kept, &bound, None).edges, Edges::Shut, "a kept address");
    let waiting = Snapshot::new(isolating(&["v", "w"]), [pods[0].clone(), pod("w", &[])], []);
    assert_eq!(AtEdges::of(&waiting, &bound, None).edges, Edges::Guarded, "no address yet");
}

#[test]
fn isolated_pods_have_no_part_in_groups_and_nobody_in_link_local_addresses() {
    let all = network(&[(4, port("v", Some(BRIDGE), &["10.0.0.4", "fd00::4", "fe80::4"]))]);
    let snapshot = Snapshot::new(isolating(&["v"]), [pod("v", &V)], []);
    let guarded = AtEdges::of(&snapshot, &all, None);
    let shut = AtEdges { edges: Edges::Shut, ..guarded.clone() };
    let udp = |from, to| (from, to, Body::Udp(5353), true);
    let icmpv6 = |from, to, number| (from, to, Body::Icmpv6(number, [0; 16].into()), true);
    let in_frame = |from, to| (from, to, Body::Udp(80), false);
    let (yes, no) = (Some(true), Some(false));
    let cases: [(_, [Option<bool>; 2]); 14] = [
        (udp("10.0.0.3", "239.1.2.3"), [None, no]),
        (udp("10.0.0.3", "255.255.255.255"), [None, no]),
        (udp("10.0.0.4", "239.1.2.3"), [no, no]),
        (udp("10.0.0.3", "10.0.0.4"), [None, None]),
        (in_frame("10.0.0.3", "10.0.0.255"), [None, no]),
        (in_frame("10.0.0.4", "10.0.0.255"), [no, no]),
        (udp("fe80::3", "ff02::fb"), [None, no]),
        (udp("fe80::4", "ff02::fb"), [no, no]),
        (udp("fd00::4", "ff02::fb"), [no, no]),
        (udp("fe80::3", "fe80::5"), [no, no]),
        (udp("fd00::3", "fe80::5"), [no, no]),
        (udp("fe80::3", "fd00::3"), [no, no]),
        (icmpv6("fe80::4", "ff02::16", 143), [yes, yes]),
        (icmpv6("fe80::4", "fe80::3", 135), [no, no]),
    ];
    for ((source, destination, body, to_host), expected) in cases {
        let packet = IpPacket {
            source: ip(source),
            destination: ip(destination),
            source_port: None,
            hop_limit: 64,
            body,
            translated: false,
        };
        let found = [&guarded, &shut].map(|one| one.judge(&packet, to_host));
        assert_eq!(found, expected, "{source} to {destination}, {body:?}");
        assert_eq!(AtEdges::default().judge(&packet, to_host), None);
    }
    let neighbour = IpPacket {
        source: ip("fe80::4"),
        destination: ip("fe80::3"),
        source_port: None,
        hop_limit: 255,
        body: Body::Icmpv6(135, [0; 16].into()),
        translated: false,
    };
    assert_eq!(guarded.judge(&neighbour, true), Some(true));
}
