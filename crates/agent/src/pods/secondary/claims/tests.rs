//! Who gets tables, and who is cut off.

use policy::{AttachedNetwork, Attachment, Labels, MOST_NETWORKS, Mac, Peers, Phase, Ports, Rule};

use super::*;

/// A pod of these networks, created at a second.
fn pod(namespace: &str, number: u128, networks: &[String], is_unread: bool) -> Pod {
    let network = |network: &String| AttachedNetwork {
        network: network.clone(),
        interface: "net1".to_owned(),
        mac: Mac::NONE,
        addresses: vec!["10.1.0.9".parse().unwrap()],
    };
    Pod {
        key: ObjectKey::new(namespace, format!("pod-{number}")),
        labels: Labels::new(),
        node: Some("n1".to_owned()),
        addresses: vec!["10.0.0.9".parse().unwrap()],
        host_addresses: vec![],
        host_network: false,
        phase: Phase::Running,
        created: i64::try_from(number).unwrap(),
        is_ending: false,
        grace_seconds: 0,
        ports: vec![],
        attachment: Attachment {
            uid: PodUid(number),
            networks: networks.iter().map(network).collect(),
            is_unread,
            ..Attachment::default()
        },
    }
}

/// Allows all that comes in on these networks.
fn policy(namespace: &str, networks: &[String]) -> MultiNetworkPolicy {
    let names = networks.iter().filter_map(|name| policy::network_name(name, namespace));
    let rule = Rule { peers: Peers::Anyone, ports: Ports::All };
    let key = ObjectKey::new(namespace, "p");
    let policy =
        NetworkPolicy { ingress: Some(vec![rule]), egress: None, ..NetworkPolicy::shut(key) };
    MultiNetworkPolicy { networks: PolicyFor::Networks(names.collect()), policy }
}

fn claims(pods: Vec<Pod>, policies: &[MultiNetworkPolicy]) -> Claims {
    let by_uid = pods.iter().map(|pod| (pod.attachment.uid, Arc::new(pod.clone()))).collect();
    let mut snapshot = Snapshot::new([], pods, []);
    for one in policies {
        snapshot.multi_policies.insert(one.policy.key.clone(), Arc::new(one.clone()));
    }
    Claims::of(&snapshot, &by_uid)
}

fn names(count: usize, prefix: &str) -> Vec<String> {
    (0..count).map(|number| format!("nets/{prefix}{number}")).collect()
}

#[test]
fn a_greedy_namespace_is_cut_off_where_it_asks_for_too_much_and_no_other_one() {
    let (many, few) = (names(MOST_NETWORKS, "n"), names(2, "f"));
    let greedy = (0..110).map(|number| pod("greedy", 1000 + number, &many, false));
    let modest = (0..20).map(|number| pod("modest", 5000 + number, &few, false));
    let pods = greedy.chain(modest).collect();
    let all = claims(pods, &[policy("greedy", &many), policy("modest", &few)]);
    assert_eq!(all.tables.values().filter(|pod| pod.key.namespace == "modest").count(), 40);
    assert_eq!(all.tables.len(), 40 + 512);
    // The older pods come first. The others are cut off, all networks alike.
    assert_eq!(all.count(PodUid(1000)), MOST_NETWORKS);
    assert_eq!(all.count(PodUid(1109)), 0);
    assert_eq!(all.shut.len(), 110 - 512 / MOST_NETWORKS);
    assert!(all.shut.values().all(|shut| shut.networks.len() == MOST_NETWORKS));
}

#[test]
fn a_pod_whose_status_cannot_be_read_is_cut_off_while_a_policy_selects_it() {
    let one = names(1, "n");
    let garbled = || pod("dev", 1, &[], true);
    let all = claims(vec![garbled()], &[policy("dev", &one)]);
    let shut = &all.shut[&PodUid(1)];
    assert!(all.tables.is_empty() && shut.networks.is_empty());
    let snapshot = shut.snapshot();
    let closed = &snapshot.policies[&ObjectKey::new("dev", "p")];
    assert_eq!((&closed.ingress, &closed.egress), (&Some(vec![]), &None), "as it isolates");
    for policies in [&[][..], &[policy("ops", &one)], &[policy("dev", &[])]] {
        let all = claims(vec![garbled()], policies);
        assert!(all.shut.is_empty() && all.tables.is_empty(), "{policies:?}");
    }
    let mut audited = policy("dev", &one);
    audited.policy.audit.mode = Mode::Audit;
    assert!(claims(vec![garbled()], &[audited]).shut.is_empty());
    // What can be read of it counts.
    let partly = pod("dev", 1, &one, true);
    let all = claims(vec![partly], &[policy("dev", &one)]);
    assert_eq!((all.tables.len(), all.shut.len()), (1, 1));
    // One that says nothing is on no network.
    assert!(claims(vec![pod("dev", 1, &[], false)], &[policy("dev", &one)]).shut.is_empty());
}
