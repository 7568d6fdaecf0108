//! Everything known about a cluster at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Labels, Namespace, NetworkPolicy, ObjectKey, Pod, PodPeer};

/// The objects that NetworkPolicy depends on. Cheap to clone: the objects are
/// shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All policies.
    pub policies: BTreeMap<ObjectKey, Arc<NetworkPolicy>>,
    /// All pods, ended and hostNetwork ones included.
    pub pods: BTreeMap<ObjectKey, Arc<Pod>>,
    /// All namespaces by name.
    pub namespaces: BTreeMap<String, Arc<Namespace>>,
}

impl Snapshot {
    /// A snapshot of these objects; of two with one key the later one stays.
    pub fn new(
        policies: impl IntoIterator<Item = NetworkPolicy>,
        pods: impl IntoIterator<Item = Pod>,
        namespaces: impl IntoIterator<Item = Namespace>,
    ) -> Self {
        Self {
            policies: policies.into_iter().map(|one| (one.key.clone(), Arc::new(one))).collect(),
            pods: pods.into_iter().map(|one| (one.key.clone(), Arc::new(one))).collect(),
            namespaces: namespaces
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
        }
    }

    /// The labels of a namespace; `None` for one that is not known (yet), and
    /// then no `namespaceSelector` matches it, not even `{}`.
    pub fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name).map(|namespace| &namespace.labels)
    }

    /// Whether a policy selects a pod.
    pub fn selects(&self, policy: &NetworkPolicy, pod: &Pod) -> bool {
        pod.is_subject()
            && pod.key.namespace == policy.key.namespace
            && policy.pod_selector.matches(&pod.labels)
    }

    /// Whether a peer of a policy in `policy_namespace` selects a pod.
    pub fn peer_selects(&self, peer: &PodPeer, policy_namespace: &str, pod: &Pod) -> bool {
        let namespace_matches = match &peer.namespaces {
            None => pod.key.namespace == policy_namespace,
            Some(selector) => self
                .namespace_labels(&pod.key.namespace)
                .is_some_and(|labels| selector.matches(labels)),
        };
        pod.is_subject() && namespace_matches && peer.pods.matches(&pod.labels)
    }
}
