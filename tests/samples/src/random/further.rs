//! A random cluster, moved to two networks beside the primary one.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::{AttachedNetwork, Mac, MultiNetworkPolicy, ObjectKey, Pod, PolicyFor, Snapshot};

/// The networks.
pub fn further_networks() -> [ObjectKey; 2] {
    ["a", "b"].map(|name| ObjectKey::new("nets", name))
}

/// The same objects, moved to two networks. A pod has its addresses on one of them, and on
/// the other those of another pod. `turn`: who is on which network, and which policy is for
/// which.
pub fn moved(snapshot: &Snapshot, turn: usize) -> Snapshot {
    let [a, b] = further_networks();
    let pods: Vec<&Arc<Pod>> = snapshot.pods.values().collect();
    let attached = |network: &ObjectKey, pod: &Pod| AttachedNetwork {
        network: network.to_string(),
        interface: network.name.clone(),
        mac: Mac::NONE,
        addresses: pod.addresses.clone(),
    };
    let all = pods.iter().enumerate().map(|(index, pod)| {
        let other = pods[(index + 1 + turn) % pods.len()];
        let networks = match (index + turn) % 4 {
            0 => vec![attached(&a, pod)],
            1 => vec![attached(&b, pod)],
            _ => vec![attached(&a, pod), attached(&b, other)],
        };
        let mut pod = Pod::clone(pod);
        pod.attachment.networks = networks.into();
        (pod.key.clone(), Arc::new(pod))
    });
    let policies = snapshot.policies.iter().enumerate().map(|(index, (key, policy))| {
        let networks: BTreeSet<ObjectKey> = match (index + turn) % 5 {
            0 | 1 => [a.clone()].into(),
            2 => [b.clone()].into(),
            3 => [a.clone(), b.clone()].into(),
            _ => [].into(),
        };
        let networks = PolicyFor::Networks(networks);
        let policy = MultiNetworkPolicy { networks, policy: (**policy).clone() };
        (key.clone(), Arc::new(policy))
    });
    Snapshot {
        pods: all.collect(),
        multi_policies: policies.collect(),
        namespaces: snapshot.namespaces.clone(),
        ..Snapshot::default()
    }
}
