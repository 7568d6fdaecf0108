//! What a node enforces for an address: the policies of which pods.
//!
//! In: a snapshot, a node. Out: the subjects of each address.
//! Never: whose peer an address is. That is another question, and
//! [`Owners`](crate::Owners) answers it.
//!
//! | pods of this node that report the address | subjects |
//! |---|---|
//! | some that are not asked to end | these |
//! | only such as are asked to end | these |
//! | none, and the address is [kept](crate::Kept) | what is kept |
//! | none | none |
//!
//! A pod of another node, or of none, is no subject. So no object of theirs lifts the
//! isolation of a pod of this node.
//!
//! An address is isolated in a direction if one of its subjects is. If all that are
//! isolated are so by the same policies, and have the same ports, then these policies
//! decide. Else nothing is allowed: it is not known which pod really has the address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{Direction, Mode, NetworkPolicy, ObjectKey, Pod, Snapshot};

/// One of the pods whose policies a node enforces for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Whether it is isolated in both directions and allowed nothing, whatever the
    /// policies say. See [`crate::Kept::is_shut`].
    pub is_shut: bool,
}

/// What isolates an address in a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation<'a> {
    /// Nothing.
    None,
    /// These policies, in order, and for ingress the named ports of this pod.
    By(&'a Pod, Vec<&'a NetworkPolicy>),
    /// Nothing is allowed. The policies that isolate a subject, each once and in order.
    Shut(Vec<&'a NetworkPolicy>),
}

impl Pod {
    /// Whether a pod is on a node. With `None`, each is.
    pub fn is_on(&self, node: Option<&str>) -> bool {
        node.is_none() || self.node.as_deref() == node
    }
}

/// The subjects of an address on a node. With `None`, all pods are the node's.
pub fn subjects<'a>(
    snapshot: &'a Snapshot,
    node: Option<&str>,
    address: IpAddr,
) -> Vec<Subject<'a>> {
    let pods = snapshot.pods.values().map(|pod| &**pod);
    let here = pods.filter(|pod| pod.is_subject() && pod.is_on(node));
    let reporting = here.filter(|pod| pod.addresses.contains(&address)).collect();
    those_that_count(snapshot, node, address, reporting)
}

/// The pod whose policies count in its own network namespace, for all that comes in and
/// goes out there. `None` if it is no pod of the node, or its policies do not count.
pub fn subject_of<'a>(
    snapshot: &'a Snapshot,
    node: Option<&str>,
    pod: &ObjectKey,
) -> Option<Subject<'a>> {
    let pod = snapshot.pods.get(pod).map(|pod| &**pod);
    let pod = pod.filter(|pod| pod.is_subject() && pod.is_on(node));
    pod.map(|pod| Subject { pod, is_shut: false })
}

/// The subjects of all addresses on a node that have any.
pub fn all_subjects<'a>(
    snapshot: &'a Snapshot,
    node: Option<&str>,
) -> BTreeMap<IpAddr, Vec<Subject<'a>>> {
    let mut reported: BTreeMap<IpAddr, Vec<&'a Pod>> =
        snapshot.kept.keys().map(|address| (*address, Vec::new())).collect();
    let pods = snapshot.pods.values().map(|pod| &**pod);
    for pod in pods.filter(|pod| pod.is_subject() && pod.is_on(node)) {
        for address in &pod.addresses {
            let pods = reported.entry(*address).or_default();
            if pods.last().is_none_or(|last| last.key != pod.key) {
                pods.push(pod);
            }
        }
    }
    let all = reported.into_iter();
    all.map(|(address, pods)| (address, those_that_count(snapshot, node, address, pods)))
        .filter(|(_, subjects)| !subjects.is_empty())
        .collect()
}

fn those_that_count<'a>(
    snapshot: &'a Snapshot,
    node: Option<&str>,
    address: IpAddr,
    mut pods: Vec<&'a Pod>,
) -> Vec<Subject<'a>> {
    if pods.iter().any(|pod| !pod.is_ending) {
        pods.retain(|pod| !pod.is_ending);
    }
    if pods.is_empty() {
        let kept = snapshot.kept.get(&address).filter(|kept| kept.is_on(node));
        return kept
            .map(|kept| Subject { pod: &kept.pod, is_shut: kept.is_shut() })
            .into_iter()
            .collect();
    }
    pods.into_iter().map(|pod| Subject { pod, is_shut: false }).collect()
}

/// What isolates an address with these subjects in a direction: enforced policies alone.
pub fn isolation<'a>(
    snapshot: &'a Snapshot,
    subjects: &[Subject<'a>],
    direction: Direction,
) -> Isolation<'a> {
    by_policies(snapshot, subjects, direction, Mode::Enforce)
}

/// What would isolate an address that is not isolated in this direction, if policies in audit
/// were enforced.
pub fn audited<'a>(
    snapshot: &'a Snapshot,
    subjects: &[Subject<'a>],
    direction: Direction,
) -> Isolation<'a> {
    match isolation(snapshot, subjects, direction) {
        Isolation::None => by_policies(snapshot, subjects, direction, Mode::Audit),
        Isolation::By(..) | Isolation::Shut(_) => Isolation::None,
    }
}

fn by_policies<'a>(
    snapshot: &'a Snapshot,
    subjects: &[Subject<'a>],
    direction: Direction,
    mode: Mode,
) -> Isolation<'a> {
    let mut isolated = subjects
        .iter()
        .map(|one| (one, isolating(snapshot, one.pod, direction, mode)))
        .filter(|(one, policies)| one.is_shut || !policies.is_empty());
    let Some((first, policies)) = isolated.next() else { return Isolation::None };
    let mut is_shut = first.is_shut;
    let mut all = policies.clone();
    for (other, theirs) in isolated {
        let same_ports = direction == Direction::Egress || other.pod.ports == first.pod.ports;
        is_shut |= other.is_shut || theirs != policies || !same_ports;
        all.extend(theirs);
    }
    if !is_shut {
        return Isolation::By(first.pod, policies);
    }
    all.sort_by(|one, other| one.key.cmp(&other.key));
    all.dedup_by(|one, other| one.key == other.key);
    Isolation::Shut(all)
}

/// The policies of a mode that isolate a pod in a direction, in order.
fn isolating<'a>(
    snapshot: &'a Snapshot,
    pod: &Pod,
    direction: Direction,
    mode: Mode,
) -> Vec<&'a NetworkPolicy> {
    // A policy selects pods of its own namespace, whose keys are adjacent.
    let policies = snapshot.policies.range(ObjectKey::new(pod.key.namespace.as_str(), "")..);
    policies
        .map(|(_, policy)| &**policy)
        .take_while(|policy| policy.key.namespace == pod.key.namespace)
        .filter(|policy| policy.audit.mode == mode)
        .filter(|policy| snapshot.selects(policy, pod) && policy.rules(direction).is_some())
        .collect()
}
