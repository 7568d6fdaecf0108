//! Policies of namespaces that end.
//!
//! In: the objects, what is kept of pods. Out: policies that are kept. Never: a policy
//! that somebody deleted while its namespace stays.
//!
//! The policies of a namespace that ends can be deleted before its pods (CVE-2024-7598).
//! They are kept, too:
//!
//! | a policy is kept from | until |
//! |---|---|
//! | it is deleted while its Namespace is asked to end, or gone, and a local pod of it is there | no local pod of it is there or kept, or the Namespace is there again and nothing of it is kept |
//! | its Namespace is asked to end, within [`REMEMBERED_FOR`] after the policy was deleted: two watches tell these | the same |
//! | the agent's start: the kernel's table isolates a pod of such a Namespace, and no policy selects it. Then all its pods are isolated and nothing is allowed | the same |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::Keeper;
use crate::{NetworkPolicy, ObjectKey, Snapshot, SnapshotDiff};

/// The name of the policy that stands for those that are not known after a restart. No
/// object can have it.
const UNKNOWN_POLICIES: &str = "policies that are gone";

impl Keeper {
    /// At start. Whether a policy is kept now.
    pub(super) fn begin_policies(&mut self, isolated: &BTreeSet<IpAddr>) -> bool {
        let reported = isolated.iter().filter_map(|address| self.reported.get(address));
        let unselected = reported.flat_map(BTreeMap::values).filter(|pod| {
            let namespace = &pod.key.namespace;
            let mut policies = self.objects.policies.values();
            self.has_ended_namespace(namespace)
                && !policies.any(|policy| self.objects.selects(policy, pod))
        });
        let namespaces: BTreeSet<String> =
            unselected.map(|pod| pod.key.namespace.clone()).collect();
        for namespace in namespaces {
            let policy = unknown_policies(&namespace);
            self.policies.insert(policy.key.clone(), Arc::new(policy));
        }
        !self.policies.is_empty()
    }

    /// Policies were deleted or came, or namespaces were.
    pub(super) fn follow_policies(&mut self, before: &Snapshot, differing: &SnapshotDiff) {
        for key in &differing.policies {
            self.policies.remove(key);
            self.deleted.remove(key);
            if self.objects.policies.contains_key(key) || !self.is_needed(&key.namespace) {
                continue;
            }
            if let Some(policy) = before.policies.get(key) {
                self.deleted.insert(key.clone(), (Arc::clone(policy), None));
            }
        }
        let of_ended = |key: &&ObjectKey| self.has_ended_namespace(&key.namespace);
        let ended: Vec<ObjectKey> = self.deleted.keys().filter(of_ended).cloned().collect();
        for key in ended {
            if let Some((policy, _)) = self.deleted.remove(&key) {
                self.policies.insert(key, policy);
            }
        }
        self.forget_policies();
    }

    /// Ends what is kept of policies for nobody.
    pub(super) fn forget_policies(&mut self) {
        let is_idle = |key: &&ObjectKey| !self.is_needed_now(&key.namespace);
        let idle: Vec<ObjectKey> = self.policies.keys().filter(is_idle).cloned().collect();
        for key in idle {
            self.policies.remove(&key);
        }
    }

    /// Whether a Namespace is asked to end, or gone.
    fn has_ended_namespace(&self, name: &str) -> bool {
        self.objects.namespaces.get(name).is_none_or(|namespace| namespace.is_ending)
    }

    /// Whether a local pod of a namespace is there, or kept.
    fn is_needed(&self, namespace: &str) -> bool {
        let pods = self.objects.pods.range(ObjectKey::new(namespace, "")..);
        let mut pods = pods.take_while(|(key, _)| key.namespace == namespace);
        pods.any(|(_, pod)| self.is_ours(pod)) || self.keeps_of(namespace)
    }

    /// Whether a policy of a namespace that is kept has still somebody to isolate.
    fn is_needed_now(&self, namespace: &str) -> bool {
        match self.has_ended_namespace(namespace) {
            true => self.is_needed(namespace),
            false => self.keeps_of(namespace),
        }
    }

    fn keeps_of(&self, namespace: &str) -> bool {
        self.kept.values().any(|kept| kept.pod.key.namespace == namespace)
    }
}

/// What stands for the policies of a namespace that are not known.
pub(super) fn unknown_policies(namespace: &str) -> NetworkPolicy {
    NetworkPolicy::shut(ObjectKey::new(namespace, UNKNOWN_POLICIES))
}
