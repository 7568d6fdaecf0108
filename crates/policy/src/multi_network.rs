//! A MultiNetworkPolicy: a NetworkPolicy for networks that are not the pods' primary one.
//!
//! In: nothing. Out: plain values that the watcher made from `k8s.cni.cncf.io` objects.
//! Never: what such a policy means. [`crate::spec::secondary`] says that.

use std::collections::BTreeSet;

use crate::{AttachedNetwork, NetworkPolicy, ObjectKey};

/// The annotation that names a policy's networks (README of
/// k8snetworkplumbingwg/multi-networkpolicy, "'policy-for' annotation").
pub const POLICY_FOR: &str = "k8s.v1.cni.cncf.io/policy-for";

/// "MultiNetworkPolicy is identical to Kubernetes NetworkPolicy" (description in its
/// CustomResourceDefinition), but for the networks on which it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiNetworkPolicy {
    /// Where it holds.
    pub networks: PolicyFor,
    /// All that a NetworkPolicy says.
    pub policy: NetworkPolicy,
}

/// The networks of a policy, each by the name of its NetworkAttachmentDefinition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyFor {
    /// On these. Without any it holds nowhere.
    Networks(BTreeSet<ObjectKey>),
    /// On all but the primary one: which ones it names is not known.
    Unreadable,
}

impl PolicyFor {
    /// Whether a policy holds on a network.
    pub fn holds_on(&self, network: &ObjectKey) -> bool {
        match self {
            Self::Networks(networks) => networks.contains(network),
            Self::Unreadable => true,
        }
    }
}

impl MultiNetworkPolicy {
    /// A policy that isolates all pods of its namespace on all their further networks, in
    /// both directions, and allows nothing. It stands for one that is not known.
    pub fn shut(key: ObjectKey) -> Self {
        Self { networks: PolicyFor::Unreadable, policy: NetworkPolicy::shut(key) }
    }
}

/// The network with this name: `namespace/name`, or `name` in this namespace. `None` if it
/// can be no name.
pub fn network_name(written: &str, namespace: &str) -> Option<ObjectKey> {
    let (namespace, name) = written.split_once('/').unwrap_or((namespace, written));
    let is_name = |text: &str| {
        let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
        !text.is_empty() && text.len() <= LONGEST_NAME && text.bytes().all(is_usual)
    };
    (is_name(namespace) && is_name(name)).then(|| ObjectKey::new(namespace, name))
}

/// The longest name of an object (RFC 1123 subdomain, Kubernetes "Object Names and IDs").
const LONGEST_NAME: usize = 253;

impl AttachedNetwork {
    /// The NetworkAttachmentDefinition of this interface, of a pod in this namespace. The
    /// standard writes `namespace/name`, and older versions of Multus wrote a name alone for
    /// the pod's own namespace.
    pub fn definition(&self, namespace: &str) -> Option<ObjectKey> {
        network_name(&self.network, namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_namespace_is_of_the_own_one() {
        for (written, expected) in [
            ("net1", Some(("dev", "net1"))),
            ("other/net-1.x", Some(("other", "net-1.x"))),
            ("", None),
            ("/net1", None),
            ("other/", None),
            ("a/b/c", None),
            ("a b", None),
            ("net@eth1", None),
        ] {
            let expected = expected.map(|(namespace, name)| ObjectKey::new(namespace, name));
            assert_eq!(network_name(written, "dev"), expected, "{written}");
        }
        assert_eq!(network_name(&"x".repeat(254), "dev"), None);
    }
}
