use std::net::Ipv4Addr;

use compiler::{Engine, Options};
use policy::{
    Labels, Namespace, NetworkPolicy, NodeNetwork, ObjectKey, Peer, Peers, Phase, Pod, PodPeer,
    Ports, Requirement, Selector, Snapshot,
};

use super::*;

const NODE: &str = "here";

fn pod(name: &str, app: &str, node: &str, last: u8) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::from([("app".to_owned(), app.to_owned())]),
        node: Some(node.to_owned()),
        addresses: vec![address(last)],
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

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn app(app: &str) -> Selector {
    Selector::new([Requirement::equals("app", app)])
}

/// `web` on this node may be reached from `client`, elsewhere.
fn cluster() -> Snapshot {
    let peer = Peer::Pods(PodPeer { namespaces: None, pods: app("client") });
    let rule = policy::Rule { peers: Peers::Only(vec![peer]), ports: Ports::All };
    let policy = NetworkPolicy {
        key: ObjectKey::new("dev", "web"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: app("web"),
        ingress: Some(vec![rule]),
        egress: None,
    };
    let pods = [
        pod("web", "web", NODE, 1),
        pod("first", "client", "there", 2),
        pod("second", "client", "there", 3),
    ];
    Snapshot::new([policy], pods, [Namespace::synthesised("dev")])
}

/// The tables before and after a change.
fn tables(change: impl Fn(&mut Snapshot)) -> (Ruleset, Ruleset) {
    let mut engine = Engine::new(Options { node: Some(NODE.to_owned()), ..Options::default() });
    let mut snapshot = cluster();
    let network = NodeNetwork::default();
    let before = engine.update(&snapshot, &network).ruleset.clone();
    change(&mut snapshot);
    (before, engine.update(&snapshot, &network).ruleset.clone())
}

/// What is found without a look at the pods of this node.
fn found_by_elements(change: impl Fn(&mut Snapshot)) -> Option<Vec<IpAddr>> {
    let (before, after) = tables(change);
    of_few_elements(&before, &after).map(|found| found.addresses.into_iter().collect())
}

fn remove(snapshot: &mut Snapshot, name: &str) {
    snapshot.pods.remove(&ObjectKey::new("dev", name));
}

fn put(snapshot: &mut Snapshot, pod: Pod) {
    snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
}

#[test]
fn a_remote_pod_that_comes_or_goes_needs_no_look_at_local_pods() {
    assert_eq!(found_by_elements(|_| ()), Some(vec![]));
    let gone = found_by_elements(|snapshot| remove(snapshot, "first"));
    assert_eq!(gone, Some(vec![address(2)]));
    let relabelled = found_by_elements(|all| put(all, pod("second", "other", "there", 3)));
    assert_eq!(relabelled, Some(vec![address(3)]));
    let come = found_by_elements(|all| put(all, pod("third", "client", "there", 4)));
    assert_eq!(come, Some(vec![]));
}

#[test]
fn a_change_of_local_pods_or_of_chains_is_looked_at_in_full() {
    assert_eq!(found_by_elements(|snapshot| remove(snapshot, "web")), None);
    assert_eq!(found_by_elements(|all| put(all, pod("next", "web", NODE, 5))), None);
    let edited = found_by_elements(|snapshot| {
        let key = ObjectKey::new("dev", "web");
        let policy = snapshot.policies.get(&key).expect("the policy");
        let policy = NetworkPolicy { ingress: Some(Vec::new()), ..(**policy).clone() };
        snapshot.policies.insert(key, Arc::new(policy));
    });
    assert_eq!(edited, None);
}

#[test]
fn many_lost_addresses_are_compared_with_those_of_local_pods() {
    let (before, after) = {
        let mut engine = Engine::new(Options { node: Some(NODE.to_owned()), ..Options::default() });
        let mut snapshot = cluster();
        let network = NodeNetwork::default();
        for last in 10..40 {
            put(&mut snapshot, pod(&format!("client-{last}"), "client", "there", last));
        }
        let before = engine.update(&snapshot, &network).ruleset.clone();
        snapshot.namespaces.clear();
        let pods: Vec<ObjectKey> = snapshot.pods.keys().cloned().collect();
        pods.iter()
            .filter(|key| key.name != "web")
            .for_each(|key| remove(&mut snapshot, &key.name));
        (before, engine.update(&snapshot, &network).ruleset.clone())
    };
    assert_eq!(of_few_elements(&before, &after), None);
    let found = suspects(Some(&before), &after);
    assert_eq!(found.addresses.into_iter().collect::<Vec<_>>(), [address(1)], "the one user");
}
