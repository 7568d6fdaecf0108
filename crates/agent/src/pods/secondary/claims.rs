//! What this node's pods are judged by on their further networks.
//!
//! In: a snapshot, the pods of this node. Out: the tables that they need, and the pods that
//! are cut off instead. Never: I/O; an earlier answer; a pod that policies isolate and that is
//! neither.
//!
//! | a pod that MultiNetworkPolicies select | gets |
//! |---|---|
//! | is on networks where they isolate it, and there is [room](super::room) | a table for each of these networks |
//! | is on more of them than there is room for | one table that cuts off its interfaces there |
//! | has a status that cannot be read | one table that cuts off the interfaces that nothing readable names |
//! | is on no such network | nothing |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::secondary::networks_of;
use policy::{
    Direction, Mode, MultiNetworkPolicy, NetworkPolicy, ObjectKey, Pod, PodUid, PolicyFor,
    Selector, Snapshot,
};

use super::room::{Demand, rooms};

/// A network of a pod.
pub(super) type OfPod = (PodUid, ObjectKey);

/// What is wanted.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// A table each.
    pub tables: BTreeMap<OfPod, Arc<Pod>>,
    /// Pods with a table that lets nothing pass.
    pub shut: BTreeMap<PodUid, Shut>,
}

/// A pod that is cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shut {
    pub pod: Arc<Pod>,
    /// It is cut off on these, since there is no room for their tables.
    pub networks: BTreeSet<ObjectKey>,
    /// A policy for each direction in which it is.
    policies: BTreeMap<ObjectKey, Arc<MultiNetworkPolicy>>,
}

/// What one pod asks for.
#[derive(Debug)]
struct Claim<'a> {
    uid: PodUid,
    pod: &'a Arc<Pod>,
    /// The policies that select it and drop.
    policies: Vec<&'a Arc<MultiNetworkPolicy>>,
    /// The networks on which one of them isolates it.
    networks: BTreeSet<ObjectKey>,
}

impl Claims {
    /// What these pods of this node need.
    pub fn of(snapshot: &Snapshot, pods: &BTreeMap<PodUid, Arc<Pod>>) -> Self {
        let mut claims: BTreeMap<&str, Vec<Claim<'_>>> = BTreeMap::new();
        for (uid, pod) in pods {
            if let Some(claim) = claim(snapshot, *uid, pod) {
                claims.entry(&pod.key.namespace).or_default().push(claim);
            }
        }
        let demand = |claims: &Vec<Claim<'_>>| Demand {
            tables: claims.iter().map(|one| one.networks.len() as u64).sum(),
            networks: claims.iter().flat_map(|one| &one.networks).cloned().collect(),
        };
        let demands: BTreeMap<&str, Demand> =
            claims.iter().map(|(namespace, claims)| (*namespace, demand(claims))).collect();
        let mut wanted = Self::default();
        for (namespace, mut room) in rooms(&demands) {
            let mut claims = claims.remove(namespace).unwrap_or_default();
            // Pods that come later find no room.
            claims.sort_by_key(|one| (one.pod.created, one.pod.key.clone()));
            for claim in claims {
                wanted.add(claim, |networks| room.take(networks));
            }
        }
        wanted
    }

    fn add(&mut self, claim: Claim<'_>, mut has_room: impl FnMut(&BTreeSet<ObjectKey>) -> bool) {
        let Claim { uid, pod, policies, networks } = claim;
        let is_crowded = !has_room(&networks);
        let networks = match is_crowded {
            true => networks,
            false => {
                let tables = networks.into_iter().map(|network| ((uid, network), Arc::clone(pod)));
                self.tables.extend(tables);
                BTreeSet::new()
            }
        };
        if networks.is_empty() && !pod.attachment.is_unread {
            return;
        }
        let counts = |one: &&Arc<MultiNetworkPolicy>| {
            let is_anywhere = one.networks != PolicyFor::Networks(BTreeSet::new());
            let is_there = networks.iter().any(|network| one.networks.holds_on(network));
            is_there || (pod.attachment.is_unread && is_anywhere)
        };
        let counting: Vec<&Arc<MultiNetworkPolicy>> = policies.into_iter().filter(counts).collect();
        let of = |direction| counting.iter().find(|one| one.policy.rules(direction).is_some());
        let policies = Direction::BOTH.into_iter().filter_map(of);
        let policies: BTreeMap<ObjectKey, Arc<MultiNetworkPolicy>> =
            policies.map(|one| (one.policy.key.clone(), Arc::clone(one))).collect();
        let shut = Shut { pod: Arc::clone(pod), networks, policies };
        // One that names no network holds nowhere.
        if !shut.policies.is_empty() {
            self.shut.insert(uid, shut);
        }
    }

    /// How many tables a pod has, but for the one that cuts off.
    pub fn count(&self, uid: PodUid) -> usize {
        self.networks(uid).count()
    }

    /// The networks of which a pod has tables.
    pub fn networks(&self, uid: PodUid) -> impl Iterator<Item = &ObjectKey> {
        let all = self.tables.range((uid, ObjectKey::new("", ""))..);
        all.take_while(move |((one, _), _)| *one == uid).map(|((_, network), _)| network)
    }
}

impl Shut {
    /// A cluster of this pod alone, in which nothing may reach it, or be reached by it.
    pub fn snapshot(&self) -> Snapshot {
        let closed = |one: &Arc<MultiNetworkPolicy>| {
            let own = &one.policy;
            let nothing = |rules: &Option<Vec<_>>| rules.as_ref().map(|_| Vec::new());
            NetworkPolicy {
                pod_selector: Selector::everything(),
                ingress: nothing(&own.ingress),
                egress: nothing(&own.egress),
                ..own.clone()
            }
        };
        let pod = Pod { addresses: Vec::new(), host_addresses: Vec::new(), ..(*self.pod).clone() };
        Snapshot::new(self.policies.values().map(closed), [pod], [])
    }

    /// Why it is cut off.
    pub fn why(&self) -> String {
        let mut why = Vec::new();
        if self.pod.attachment.is_unread {
            why.push(format!(
                "its annotation {STATUS} cannot be read, or names more than {} networks",
                policy::MOST_NETWORKS
            ));
        }
        if !self.networks.is_empty() {
            why.push(format!(
                "its namespace's pods on this node are on more networks with policies than there \
                 is room for ({} of this pod)",
                self.networks.len()
            ));
        }
        format!("cut off on further networks: {}", why.join("; "))
    }
}

/// Where Multus says on which networks a pod is.
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

fn claim<'a>(snapshot: &'a Snapshot, uid: PodUid, pod: &'a Arc<Pod>) -> Option<Claim<'a>> {
    let of_namespace = snapshot.multi_policies.range(ObjectKey::new(&pod.key.namespace, "")..);
    let of_namespace = of_namespace.take_while(|(key, _)| key.namespace == pod.key.namespace);
    let selecting = of_namespace
        .map(|(_, policy)| policy)
        .filter(|one| one.policy.audit.mode == Mode::Enforce && snapshot.selects(&one.policy, pod));
    let policies: Vec<&Arc<MultiNetworkPolicy>> = selecting.collect();
    let holds = |network: &ObjectKey| policies.iter().any(|one| one.networks.holds_on(network));
    let networks = networks_of(pod).into_iter().filter(holds).collect();
    (!policies.is_empty()).then_some(Claim { uid, pod, policies, networks })
}

#[cfg(test)]
mod tests;
