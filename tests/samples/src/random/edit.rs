//! Random changes of a cluster, applied to snapshots. Each change works whether its
//! object exists or not.

use std::net::IpAddr;
use std::sync::Arc;

use policy::{Kept, KeptFor, Labels, Namespace, NetworkPolicy, Phase, Pod, Snapshot};
use proptest::prelude::*;
use proptest::sample::select;

use super::{NAMESPACES, labels, namespace, pod, pod_v4, pod_v6, policy};

/// A change of one object.
#[derive(Clone, Debug)]
pub enum Edit {
    /// A pod appears. If it exists, everything but its addresses is replaced.
    SetPod(Pod),
    /// The labels of one of the pods (by index) change.
    Relabel(usize, Labels),
    /// One of the pods (by index) disappears.
    DeletePod(usize),
    /// One of the pods (by index) disappears by force. It may still run, so its
    /// addresses are kept.
    ForceDeletePod(usize),
    /// One of the kept addresses (by index) is kept no longer.
    Forget(usize),
    /// A policy appears or is replaced.
    SetPolicy(NetworkPolicy),
    /// One of the policies (by index) disappears.
    DeletePolicy(usize),
    /// A namespace appears, or its labels change.
    SetNamespace(Namespace),
    /// One of the pods (by index) gets another address, perhaps one that another
    /// pod has. Its age changes, too.
    Readdress(usize, IpAddr, i64),
    /// One of the pods (by index) has ended. Its address is free.
    End(usize),
    /// One of the namespaces (by index) disappears. Its pods stay for a while.
    DeleteNamespace(usize),
}

/// A random change of an object's content.
pub fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        2 => pod().prop_map(Edit::SetPod),
        4 => (0usize..6, labels()).prop_map(|(index, labels)| Edit::Relabel(index, labels)),
        1 => (0usize..6).prop_map(Edit::DeletePod),
        1 => (0usize..6).prop_map(Edit::ForceDeletePod),
        1 => (0usize..2).prop_map(Edit::Forget),
        4 => policy().prop_map(Edit::SetPolicy),
        1 => (0usize..6).prop_map(Edit::DeletePolicy),
        1 => select(NAMESPACES.to_vec()).prop_flat_map(namespace).prop_map(Edit::SetNamespace),
    ]
}

/// The same changes, and also addresses that move between pods, pods that end, and
/// namespaces that disappear before their pods.
pub fn upheaval() -> impl Strategy<Value = Edit> {
    let address =
        (1u8..8, any::<bool>()).prop_map(|(last, v6)| if v6 { pod_v6(last) } else { pod_v4(last) });
    prop_oneof![
        12 => edit(),
        3 => pod().prop_map(Edit::SetPod),
        4 => (0usize..6, address, 0i64..3).prop_map(|(pod, address, created)| {
            Edit::Readdress(pod, address, created)
        }),
        1 => (0usize..6).prop_map(Edit::End),
        1 => (0usize..3).prop_map(Edit::DeleteNamespace),
    ]
}

impl Edit {
    /// Changes a snapshot. An index that finds no object changes nothing.
    pub fn apply(&self, snapshot: &mut Snapshot) {
        match self {
            Self::SetPod(pod) => {
                let mut pod = pod.clone();
                if let Some(before) = snapshot.pods.get(&pod.key) {
                    pod.addresses.clone_from(&before.addresses);
                }
                snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
            }
            Self::Relabel(index, labels) => {
                if let Some(pod) = nth_pod(snapshot, *index) {
                    pod.labels.clone_from(labels);
                }
            }
            Self::DeletePod(index) => {
                let key = snapshot.pods.keys().nth(*index).cloned();
                key.map(|key| snapshot.pods.remove(&key));
            }
            Self::ForceDeletePod(index) => {
                let key = snapshot.pods.keys().nth(*index).cloned();
                let Some(pod) = key.and_then(|key| snapshot.pods.remove(&key)) else { return };
                for address in pod.addresses.iter().filter(|_| pod.is_subject()) {
                    let kept = Kept { pod: Arc::clone(&pod), why: KeptFor::Running };
                    snapshot.kept.insert(*address, Arc::new(kept));
                }
            }
            Self::Forget(index) => {
                let address = snapshot.kept.keys().nth(*index).copied();
                address.map(|address| snapshot.kept.remove(&address));
            }
            Self::SetPolicy(policy) => {
                snapshot.policies.insert(policy.key.clone(), Arc::new(policy.clone()));
            }
            Self::SetNamespace(namespace) => {
                snapshot.namespaces.insert(namespace.name.clone(), Arc::new(namespace.clone()));
            }
            Self::DeletePolicy(index) => {
                let key = snapshot.policies.keys().nth(*index).cloned();
                key.map(|key| snapshot.policies.remove(&key));
            }
            Self::Readdress(index, address, created) => {
                if let Some(pod) = nth_pod(snapshot, *index) {
                    // An odd time: the pod reports two addresses of one family.
                    let keeps = |other: &IpAddr| created % 2 == 1 && other != address;
                    let of_other = |other: &IpAddr| other.is_ipv4() != address.is_ipv4();
                    pod.addresses.retain(|other| of_other(other) || keeps(other));
                    pod.addresses.push(*address);
                    pod.created = *created;
                }
            }
            Self::End(index) => {
                if let Some(pod) = nth_pod(snapshot, *index) {
                    pod.phase = Phase::Succeeded;
                }
            }
            Self::DeleteNamespace(index) => {
                let name = snapshot.namespaces.keys().nth(*index).cloned();
                name.map(|name| snapshot.namespaces.remove(&name));
            }
        }
    }
}

fn nth_pod(snapshot: &mut Snapshot, index: usize) -> Option<&mut Pod> {
    let key = snapshot.pods.keys().nth(index).cloned()?;
    snapshot.pods.get_mut(&key).map(Arc::make_mut)
}
