//! The clusters are what their descriptions say.

use std::collections::BTreeSet;

use compiler::{Engine, Options};
use policy::NodeNetwork;

use super::*;

fn local_pods(cluster: &Snapshot) -> usize {
    cluster.pods.values().filter(|pod| pod.node.as_deref() == Some(NODE)).count()
}

#[test]
fn every_size_has_the_same_number_of_pods_on_the_node() {
    for namespaces in [10, 30, 100, 300] {
        let cluster = sized(namespaces).unwrap();
        assert_eq!(cluster.pods.len(), namespaces * 100);
        assert_eq!(cluster.policies.len(), namespaces * 10);
        assert_eq!(local_pods(&cluster), 250, "{namespaces} namespaces");
    }
    assert_eq!(local_pods(&first(20).unwrap()), 50);
}

#[test]
fn no_two_pods_share_an_address() {
    let cluster = sized(700).unwrap();
    let addresses: Vec<_> = cluster.pods.values().flat_map(|pod| &pod.addresses).collect();
    assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len());
    assert_eq!(addresses.len(), 140_000);
}

fn table(cluster: &Snapshot) -> ruleset::Ruleset {
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    Engine::new(options).update(cluster, &NodeNetwork::default()).ruleset.clone()
}

/// What costs more in a larger cluster does not cost more because sets are larger.
#[test]
fn further_groups_leave_the_table_of_the_node_as_it_is() {
    assert!(table(&sized(100).unwrap()) == table(&sized(200).unwrap()));
}

#[test]
fn the_changes_change_the_table_of_the_node() {
    let cluster = sized(10).unwrap();
    let before = table(&cluster);
    let local = cluster.pods.get(&local_pod()).unwrap();
    for pod in [relabelled(local), relabelled(&cluster.pods[&remote_pod()]), newcomer(local)] {
        let mut changed = cluster.clone();
        changed.pods.insert(pod.key.clone(), pod.clone().into());
        assert!(table(&changed) != before, "{pod:?}");
    }
    let mut changed = cluster.clone();
    let other = without_team(&cluster.namespaces["ns-0"]);
    changed.namespaces.insert(other.name.clone(), other.into());
    assert!(table(&changed) != before, "a namespace without a team");
    for policy in [edited(&cluster.policies[&local_policy()]), everyone()] {
        let mut changed = cluster.clone();
        changed.policies.insert(policy.key.clone(), policy.clone().into());
        assert!(table(&changed) != before, "{policy:?}");
    }
}
