//! A change of the node's network costs what changed.

use policy::{
    BoundBridge, BoundPort, InterfaceIndex, Mac, NetworkPolicy, NodeNetwork, ObjectKey, Phase, Pod,
    Selector, Snapshot, Tunnel, TunnelSources,
};
use ruleset::plan::plan;
use ruleset::{Element, Key, Op, Ruleset, Set};

use super::*;
use crate::{Engine, Options};

const BRIDGE: InterfaceIndex = InterfaceIndex(1);

fn pod(number: u8) -> Pod {
    Pod {
        key: ObjectKey::new("dev", number.to_string()),
        labels: policy::Labels::new(),
        node: None,
        addresses: addresses(number)[..2].to_vec(),
        host_addresses: vec![format!("192.0.2.{number}").parse().unwrap()],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

fn addresses(number: u8) -> [IpAddr; 3] {
    [format!("10.0.0.{number}"), format!("fd00::{number:x}"), format!("fe80::{number:x}")]
        .map(|text| text.parse().unwrap())
}

/// Even ones are bridged.
fn port(number: u8) -> (InterfaceIndex, BoundPort) {
    let port = BoundPort {
        pod: pod(number).key,
        bridge: number.is_multiple_of(2).then_some(BRIDGE),
        mac: Mac([2, 0, 0, 0, 0, number]),
        addresses: addresses(number).into(),
    };
    (InterfaceIndex(u32::from(number)), port)
}

fn network(numbers: impl IntoIterator<Item = u8>) -> NodeNetwork {
    let bridge = BoundBridge {
        mac: Mac([2, 0, 0, 0, 1, 0]),
        addresses: ["10.0.0.1".parse().unwrap()].into(),
        only_pods: true,
    };
    NodeNetwork {
        ports: numbers.into_iter().map(port).collect(),
        bridges: [(BRIDGE, bridge)].into_iter().collect(),
        tunnels: [(Tunnel::Udp(8472), TunnelSources::Nodes)].into_iter().collect(),
        ..NodeNetwork::default()
    }
}

fn snapshot(numbers: impl IntoIterator<Item = u8>, policies: &[NetworkPolicy]) -> Snapshot {
    Snapshot::new(policies.to_vec(), numbers.into_iter().map(pod), [])
}

fn deny_all() -> NetworkPolicy {
    NetworkPolicy {
        key: ObjectKey::new("dev", "deny"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(Vec::new()),
        egress: None,
    }
}

/// The element changes from one state to the next, and whether rules changed.
fn changes(before: &Compiled, after: &Compiled) -> (usize, bool) {
    let none = Ruleset::bridge(scaffold::table());
    let bridge = |compiled: &Compiled| compiled.bridge.clone().unwrap_or_else(|| none.clone());
    let batches = [
        plan(Some(&before.ruleset), &after.ruleset).unwrap(),
        plan(Some(&bridge(before)), &bridge(after)).unwrap(),
    ];
    let operations = batches.iter().flatten().flat_map(|batch| &batch.ops);
    let (mut elements, mut rules) = (0, false);
    for operation in operations {
        match operation {
            Op::AddElements(_, _, some) | Op::DeleteElements(_, _, some) => elements += some.len(),
            Op::AddEntries(..) | Op::DeleteEntries(..) => {}
            _ => rules = true,
        }
    }
    (elements, rules)
}

#[test]
fn a_pod_that_comes_or_goes_costs_a_handful_of_elements() {
    let policies = [deny_all()];
    let mut engine = Engine::new(Options::default());
    let all = 2..250;
    let before = engine.update(&snapshot(all.clone(), &policies), &network(all.clone())).clone();
    // 4 of the policy, 1 of its node. Then own, owned, openers (the node has a tunnel),
    // ends, its link-local address, and what holds its port; on the bridge also targets.
    let (routed, bridged) =
        (5 + 3 + 2 + 2 + 2 + 1 + 3, 5 + 2 + 2 + 2 + 2 + 1 + 2 + 3 + 2 + 3 + 2 + 4);
    for (number, expected) in [(251, routed), (252, bridged)] {
        let with = || all.clone().chain([number]);
        let after = engine.update(&snapshot(with(), &policies), &network(with())).clone();
        assert_eq!(changes(&before, &after), (expected, false), "pod {number}");
        let gone = engine.update(&snapshot(all.clone(), &policies), &network(all.clone())).clone();
        assert_eq!(changes(&after, &gone), (expected, false), "pod {number} goes");
        assert_eq!(gone, before);
    }
}

#[test]
fn isolation_guards_the_ports_and_nothing_else_of_the_binding() {
    let mut engine = Engine::new(Options::default());
    let all = [3, 4];
    let network = network(all);
    let before = engine.update(&snapshot(all, &[]), &network).clone();
    let after = engine.update(&snapshot(all, &[deny_all()]), &network).clone();
    let guarded = scaffold::binding::guarded_set();
    let port = |number| Element::Key(Key { interface: Some(number), mac: None, address: None });
    let bridge = |compiled: &Compiled| compiled.bridge.clone().unwrap();
    let elements =
        |table: &Ruleset| table.sets[&guarded].elements.iter().copied().collect::<Vec<_>>();
    let expected: [Vec<Element>; 2] = [vec![port(3)], vec![port(4)]];
    assert_eq!([elements(&after.ruleset), elements(&bridge(&after))], expected);
    let without = |table: Ruleset| table.sets.without(&guarded);
    assert_eq!(without(bridge(&before)), without(bridge(&after)));
    // The network may be ahead of the pods, or behind.
    let unknown = engine.update(&snapshot([4], &[deny_all()]), &network).clone();
    assert_eq!(elements(&unknown.ruleset), Vec::<Element>::new());
    assert!(unknown.ruleset.sets[&scaffold::binding::ports_set()].elements.contains(&port(3)));
}

#[test]
fn nodes_are_known_by_all_pods_and_only_where_there_are_tunnels() {
    let nodes = scaffold::tunnels::nodes_set(Family::V4);
    let mut engine = Engine::new(Options { node: Some("n1".to_owned()), ..Options::default() });
    let twin = Pod { key: ObjectKey::new("dev", "twin"), ..pod(3) };
    let host = Pod { host_network: true, phase: Phase::Succeeded, ..pod(4) };
    let all = Snapshot::new([], [pod(2), pod(3), twin, host], []);
    let mut network = network([2]);
    let peers = [2, 77].map(|last| IpAddr::from([192, 0, 2, last]));
    network.tunnel_peers = peers.into_iter().collect();
    let of = |compiled: &Compiled| {
        let set: Option<&Set> = compiled.ruleset.sets.get(&nodes);
        set.map(|set| set.elements.iter().flat_map(Element::addresses).collect::<Vec<_>>())
    };
    let ips = |lasts: &[u8]| {
        Some(lasts.iter().map(|last| IpAddr::from([192, 0, 2, *last])).collect::<Vec<_>>())
    };
    assert_eq!(of(engine.update(&all, &network)), ips(&[2, 3, 4, 77]));
    let fewer = Snapshot::new([], [pod(3)], []);
    assert_eq!(of(engine.update(&fewer, &network)), ips(&[2, 3, 77]));
    network.tunnel_peers.clear();
    assert_eq!(of(engine.update(&fewer, &network)), ips(&[3]));
    network.tunnels.clear();
    assert_eq!(of(engine.update(&fewer, &network)), None);
}

/// A MAC or a link-local address can be that of two ports of two bridges.
#[test]
fn what_two_ports_have_stays_when_one_goes() {
    let mut both = network([4, 6]);
    let other = InterfaceIndex(9);
    let twin = both.ports.get_mut(&InterfaceIndex(6)).unwrap();
    twin.bridge = Some(other);
    twin.mac = Mac([2, 0, 0, 0, 0, 4]);
    twin.addresses.remove(&addresses(6)[2]);
    twin.addresses.insert(addresses(4)[2]);
    both.bridges.insert(other, both.bridges[&BRIDGE].clone());
    let mut engine = Engine::new(Options::default());
    engine.update(&Snapshot::default(), &both);
    let mut one = both.clone();
    one.ports.remove(&InterfaceIndex(6));
    one.bridges.remove(&other);
    let kept = engine.update(&Snapshot::default(), &one).clone();
    assert_eq!(kept, *Engine::new(Options::default()).update(&Snapshot::default(), &one));
}
