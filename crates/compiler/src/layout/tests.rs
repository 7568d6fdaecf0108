//! The layout of a compiled table matches the policies.

use policy::{
    Labels, NetworkPolicy, NodeNetwork, ObjectKey, Phase, Pod, Requirement, Selector, Snapshot,
    Tunnel, TunnelSources,
};

use super::*;
use crate::scaffold::tests::attacks;
use crate::{Compiled, Engine, Options};

fn pod(name: &str, address: &str) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::from([("name".to_owned(), name.to_owned())]),
        node: None,
        addresses: vec![address.parse().unwrap()],
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

fn policy(name: &str, direction: Direction) -> NetworkPolicy {
    let rules = |of| (of == direction).then(Vec::new);
    NetworkPolicy {
        key: ObjectKey::new("dev", name),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::new([Requirement::equals("name", name)]),
        ingress: rules(Direction::Ingress),
        egress: rules(Direction::Egress),
    }
}

fn compiled(policies: &[NetworkPolicy]) -> Compiled {
    let pods = [pod("a", "10.0.0.1"), pod("b", "10.0.0.2"), pod("c", "fd00::3")];
    let mut engine = Engine::new(Options::default());
    engine.update(&Snapshot::new(policies.to_vec(), pods, []), &NodeNetwork::default()).clone()
}

#[test]
fn each_isolated_address_has_its_directions_and_chains() {
    let policies = [policy("a", Direction::Ingress), policy("c", Direction::Egress)];
    let compiled = compiled(&policies);
    let layout = compiled.layout();
    let [a, b, c] = ["10.0.0.1", "10.0.0.2", "fd00::3"].map(|one| one.parse::<IpAddr>().unwrap());
    let isolated: Vec<Vec<IpAddr>> = Layout::sides()
        .map(|(direction, family)| layout.isolated(direction, family).collect())
        .collect();
    assert_eq!(isolated, [vec![], vec![c], vec![a], vec![]], "e4, e6, i4, i6");
    for (address, ingress, egress) in [(a, true, false), (b, false, false), (c, false, true)] {
        for (direction, expected) in [(Direction::Ingress, ingress), (Direction::Egress, egress)] {
            assert_eq!(layout.isolates(address, direction), expected, "{address} {direction}");
            let chain = layout.judged_by(address, direction);
            assert_eq!(chain.is_some(), expected, "{address} {direction}");
            let signature = chain.and_then(|chain| compiled.signatures.get(chain));
            assert_eq!(signature.map(|one| one.direction), expected.then_some(direction));
        }
    }
    assert!(compiled.isolates(&policies[0].key));
    assert!(!compiled.isolates(&ObjectKey::new("dev", "b")));
    assert!(layout.shuts_edges());
}

#[test]
fn a_frame_stays_while_pods_come_and_go() {
    let nobody = compiled(&[]);
    let one = compiled(&[policy("a", Direction::Ingress)]);
    let two = compiled(&[policy("a", Direction::Ingress), policy("b", Direction::Egress)]);
    let layouts = [&nobody, &one, &two].map(Compiled::layout);
    assert!(!layouts[0].shuts_edges());
    for (index, layout) in layouts.into_iter().enumerate() {
        for (other_index, other) in layouts.into_iter().enumerate() {
            let pair = format!("{index} and {other_index}");
            assert!(layout.same_frame(other), "{pair}");
            assert_eq!(layout.same_edges(other), (index == 0) == (other_index == 0), "{pair}");
            assert_eq!(layout.same_pods(other), index == other_index, "{pair}");
        }
    }
    let bare = Ruleset::new(scaffold::table());
    assert!(!layouts[0].same_frame(Layout::of(&bare)));
    assert_eq!(Layout::of(&bare).judged_by("10.0.0.1".parse().unwrap(), Direction::Egress), None);
}

#[test]
fn the_tables_tell_what_was_bound() {
    let network = attacks::network(&[6, 7, 8, 9]);
    let compiled = Engine::new(Options::default()).update(&attacks::snapshot(), &network).clone();
    let claims = Layout::claims([&compiled.ruleset].into_iter().chain(&compiled.bridge));
    for (index, expected) in network.claims().0 {
        let mut found = claims.0.get(&index).cloned().unwrap_or_default();
        if network.ports[&index].bridge.is_none() {
            assert_eq!(found.mac, None, "a routed pod's MAC is in no set");
            found.mac = expected.mac;
        }
        assert_eq!(found, expected, "{index:?}");
    }
    let bare = Ruleset::new(scaffold::table());
    assert_eq!(Layout::claims([&bare]), Claims::default());
}

/// While the interfaces cannot be listed, nothing of it may change.
#[test]
fn the_tables_tell_a_network_that_compiles_to_them() {
    let snapshot = attacks::snapshot();
    let pod_of = |address: IpAddr| {
        let mut pods = snapshot.pods.values();
        pods.find(|pod| pod.addresses.contains(&address)).map(|pod| pod.key.clone())
    };
    let compile =
        |network: &NodeNetwork| Engine::new(Options::default()).update(&snapshot, network).clone();
    for sources in [TunnelSources::Nodes, TunnelSources::Any] {
        let tunnels = [(Tunnel::Udp(8472), sources), (Tunnel::Protocol(4), TunnelSources::Nodes)];
        for ports in [[6, 7, 8, 9].as_slice(), &[6], &[]] {
            let network = NodeNetwork {
                tunnels: tunnels.into_iter().collect(),
                tunnel_peers: [IpAddr::from([192, 0, 2, 7])].into_iter().collect(),
                ..attacks::network(ports)
            };
            let compiled = compile(&network);
            let told = Layout::network(&compiled.ruleset, compiled.bridge.as_ref(), pod_of);
            assert_eq!(told.ports.len(), network.ports.len());
            let again = compile(&told);
            assert_eq!(again.ruleset, compiled.ruleset, "{sources:?} {ports:?}");
            assert_eq!(again.bridge, compiled.bridge, "{sources:?} {ports:?}");
        }
    }
    let bare = Ruleset::new(scaffold::table());
    assert_eq!(Layout::network(&bare, None, pod_of), NodeNetwork::default());
}

#[test]
fn a_frame_stays_while_ports_come_and_go() {
    let compiled = |ports: &[u32]| {
        let network = attacks::network(ports);
        Engine::new(Options::default()).update(&attacks::snapshot(), &network).clone()
    };
    let (few, many, none) = (compiled(&[6]), compiled(&[6, 7, 8]), compiled(&[]));
    assert!(many.layout().same_frame(few.layout()) && few.layout().same_frame(many.layout()));
    assert!(!few.layout().same_frame(none.layout()), "the forward hook asks for strays");
}

#[test]
fn the_frame_is_all_chains_but_those_of_pods() {
    let before = compiled(&[policy("a", Direction::Ingress), policy("c", Direction::Egress)]);
    let layout = before.layout();
    let of_pods: BTreeSet<&Name> =
        before.ruleset.maps.values().flat_map(|map| map.entries.values()).collect();
    assert_eq!(of_pods.len(), 2);
    let rest = before.ruleset.chains.keys().filter(|name| !of_pods.contains(name));
    assert!(layout.frame().into_keys().eq(rest), "{:?}", layout.frame().keys());
    let own = scaffold::isolated_set(Direction::Egress, Family::V4);
    assert_eq!(layout.of_pods_alone([&own].into_iter()), None, "looked into before any pod's");
    let bound: Vec<Name> = scaffold::binding_sets().collect();
    assert_eq!(layout.of_pods_alone(bound.iter()), Some(vec![]), "no matter of policies");
}
