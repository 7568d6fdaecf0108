//! What becomes of objects, and what the specification says of them.

use super::*;
use crate::spec::inside::{Crossing, crosses};
use crate::spec::secondary::passes;
use crate::spec::{Packet, ProtocolPort, owners};
use crate::{
    AttachedNetwork, Attachment, Direction, Inside, InterfaceIndex, Labels, Mac, Namespace, Phase,
    PodPeer, PodUid, Ports, Protocol,
};

fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectKey::new(namespace, name)
}

/// A pod with `network address` pairs.
fn pod(name: &str, app: &str, created: i64, networks: &[(&str, &str)]) -> Pod {
    let networks = networks.iter().map(|(network, address)| AttachedNetwork {
        network: (*network).to_owned(),
        interface: "net1".to_owned(),
        mac: Mac::NONE,
        addresses: vec![address.parse().unwrap()],
    });
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::from([("app".to_owned(), app.to_owned())]),
        node: Some("n1".to_owned()),
        addresses: vec!["10.244.0.9".parse().unwrap()],
        host_addresses: vec!["192.0.2.1".parse().unwrap()],
        host_network: false,
        phase: Phase::Running,
        created,
        is_ending: false,
        grace_seconds: 30,
        ports: vec![],
        attachment: Attachment {
            uid: PodUid(1),
            networks: networks.collect(),
            ..Attachment::default()
        },
    }
}

/// Lets pods of `app=client` in, on these networks.
fn policy(networks: &[&str]) -> MultiNetworkPolicy {
    let app = |app: &str| Selector::new([Requirement::equals("app", app)]);
    let client = Peer::Pods(PodPeer { namespaces: None, pods: app("client") });
    let rule = Rule { peers: Peers::Only(vec![client]), ports: Ports::All };
    let policy = NetworkPolicy {
        pod_selector: app("web"),
        ingress: Some(vec![rule]),
        egress: None,
        ..NetworkPolicy::shut(key("dev/p"))
    };
    let networks = PolicyFor::Networks(networks.iter().map(|name| key(name)).collect());
    MultiNetworkPolicy { networks, policy }
}

fn cluster(pods: Vec<Pod>, policies: &[MultiNetworkPolicy]) -> Snapshot {
    let mut cluster = Snapshot::new([], pods, [Namespace::synthesised("dev")]);
    for one in policies {
        cluster.multi_policies.insert(one.policy.key.clone(), Arc::new(one.clone()));
    }
    cluster
}

/// Whether a packet gets in to `dev/web` on a network. Both forms of the specification must
/// agree.
fn gets_in(cluster: &Snapshot, network: &str, from: &str, to: &str) -> bool {
    let (network, web) = (key(network), key("dev/web"));
    let packet = Packet {
        source: from.parse().unwrap(),
        destination: to.parse().unwrap(),
        transport: ProtocolPort::Port(Protocol::Tcp, 80),
    };
    let direct = passes(cluster, &network, &cluster.pods[&web], Direction::Ingress, &packet);
    let snapshot = on_network(cluster, &network);
    let (direction, interface) = (Direction::Ingress, InterfaceIndex(5));
    let crossing = Crossing { direction, interface, packet };
    let inside = Inside::of(web);
    let side = crosses(&snapshot, &owners(&snapshot), Some("n1"), &inside, &crossing);
    assert_eq!(direct, side.passes(), "{side:?}");
    direct
}

#[test]
fn a_peer_is_meant_by_its_addresses_on_the_policys_networks() {
    let pods = vec![
        pod("web", "web", 1, &[("dev/a", "10.1.0.1"), ("dev/b", "10.2.0.1")]),
        pod("here", "client", 1, &[("a", "10.1.0.2")]),
        pod("there", "client", 1, &[("dev/b", "10.2.0.2")]),
        pod("other", "other", 1, &[("dev/a", "10.1.0.3")]),
    ];
    let a = cluster(pods.clone(), &[policy(&["dev/a"])]);
    for (from, passes) in [
        ("10.1.0.2", true),
        ("10.2.0.2", false),
        ("10.1.0.3", false),
        // The primary network, and the node.
        ("10.244.0.9", false),
        ("192.0.2.1", false),
    ] {
        assert_eq!(gets_in(&a, "dev/a", from, "10.1.0.1"), passes, "{from}");
    }
    assert!(gets_in(&a, "dev/b", "10.1.0.3", "10.2.0.1"), "isolated on a alone");
    assert!(!gets_in(&a, "dev/a", "10.1.0.2", "10.1.0.77"), "an address it does not report");
    let both = cluster(pods, &[policy(&["dev/a", "dev/b"])]);
    assert!(gets_in(&both, "dev/a", "10.2.0.2", "10.1.0.1"), "by a router between them");
    assert!(!gets_in(&both, "dev/b", "10.1.0.3", "10.2.0.1"));
}

#[test]
fn networks_with_the_same_addresses_are_kept_apart() {
    let pods = vec![
        pod("web", "web", 1, &[("dev/a", "10.1.0.1"), ("dev/b", "10.1.0.1")]),
        pod("friend", "client", 1, &[("dev/a", "10.1.0.2")]),
        pod("stranger", "other", 0, &[("dev/b", "10.1.0.2")]),
    ];
    let both = cluster(pods, &[policy(&["dev/a", "dev/b"])]);
    assert!(gets_in(&both, "dev/a", "10.1.0.2", "10.1.0.1"));
    assert!(!gets_in(&both, "dev/b", "10.1.0.2", "10.1.0.1"));
}

/// An annotation can be written by whoever makes a pod.
#[test]
fn a_later_pod_does_not_take_an_address() {
    let later = pod("zz-later", "other", 9, &[("dev/a", "10.1.0.2")]);
    let pods = vec![
        pod("web", "web", 1, &[("dev/a", "10.1.0.1")]),
        pod("client", "client", 5, &[("dev/a", "10.1.0.2")]),
        later,
    ];
    let all = cluster(pods, &[policy(&["dev/a"])]);
    assert!(gets_in(&all, "dev/a", "10.1.0.2", "10.1.0.1"));
    // Nor does it become a client by an address that another one has.
    let pods = vec![
        pod("web", "web", 1, &[("dev/a", "10.1.0.1")]),
        pod("other", "other", 5, &[("dev/a", "10.1.0.2")]),
        pod("zz-later", "client", 9, &[("dev/a", "10.1.0.2")]),
    ];
    let all = cluster(pods, &[policy(&["dev/a"])]);
    assert!(!gets_in(&all, "dev/a", "10.1.0.2", "10.1.0.1"));
}

#[test]
fn a_policy_that_names_no_network_holds_nowhere_and_an_unreadable_one_everywhere() {
    let pods = vec![
        pod("web", "web", 1, &[("dev/a", "10.1.0.1")]),
        pod("client", "client", 5, &[("dev/a", "10.1.0.2")]),
    ];
    let nowhere = cluster(pods.clone(), &[policy(&[])]);
    assert!(gets_in(&nowhere, "dev/a", "10.1.0.9", "10.1.0.1"));
    let shut = cluster(pods, &[MultiNetworkPolicy::shut(key("dev/p"))]);
    assert!(!gets_in(&shut, "dev/a", "10.1.0.2", "10.1.0.1"));
}

#[test]
fn each_step_is_what_it_is_from_scratch() {
    let web = || pod("web", "web", 1, &[("dev/a", "10.1.0.1"), ("b", "10.1.0.1")]);
    let client = |networks: &[(&str, &str)]| pod("client", "client", 2, networks);
    let states = [
        cluster(vec![web()], &[]),
        cluster(vec![web(), client(&[("dev/a", "10.1.0.2")])], &[policy(&["dev/a"])]),
        cluster(vec![web(), client(&[("dev/b", "10.1.0.2")])], &[policy(&["dev/a"])]),
        cluster(vec![web(), client(&[])], &[policy(&["dev/a", "dev/b"])]),
        cluster(vec![client(&[("dev/b", "10.1.0.2")])], &[policy(&["dev/a", "dev/b"])]),
        cluster(vec![], &[]),
    ];
    let both: BTreeSet<ObjectKey> = ["dev/a", "dev/b"].map(key).into();
    let mut networks = Secondary::default();
    for state in states.iter().chain(states.iter().rev()) {
        networks.follow(state, &both);
        for network in &both {
            assert_eq!(networks.network(network), Some(&on_network(state, network)), "{network}");
        }
    }
    networks.follow(&states[1], &BTreeSet::new());
    assert_eq!(networks.network(&key("dev/a")), None);
}
