//! Mistakes between objects, or in an object as a whole.
//!
//! In: all objects of all sources, with their locations.
//! Out: the objects to use, one of each key, with a Namespace for each namespace
//! that has none; findings.
//! Never: a change to an object.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::secondary::networks_of;
use policy::{
    Namespace, NetworkPolicy, ObjectKey, POLICY_FOR, Peers, Pod, PolicyFor, Ports, Rule, Severity,
    takes_precedence,
};

use super::document::{Place, ReadObject};
use super::finding::Finding;
use super::findings::Findings;
use crate::{Kind, Object};

/// What a pod without an address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pods {
    /// A pod to which no rule applies.
    #[default]
    NeedAddresses,
    /// A pod like any other.
    MayLackAddresses,
}

/// Reviews all objects.
pub(super) fn review(found: Vec<ReadObject>, pods: Pods, findings: &mut Findings) -> Vec<Object> {
    let broken = findings.broken();
    for one in &found {
        review_one(one, &broken, pods, findings);
    }
    duplicates(&found, findings);
    let mut objects: Vec<&ReadObject> = Vec::new();
    let mut places: HashMap<Name<'_>, usize> = HashMap::new();
    for one in found.iter().filter(|one| one.usable) {
        match places.entry(name(&one.object)) {
            // The later one counts, as for `kubectl apply`.
            Entry::Occupied(place) => objects[*place.get()] = one,
            Entry::Vacant(place) => {
                place.insert(objects.len());
                objects.push(one);
            }
        }
    }
    drop(places);
    shared_addresses(&objects, findings);
    // More files can have more networks.
    if pods == Pods::NeedAddresses {
        unknown_networks(&objects, findings);
    }
    let mut objects: Vec<Object> = objects.iter().map(|one| one.object.clone()).collect();
    objects.extend(missing_namespaces(&objects));
    objects
}

/// Kind, namespace and name.
type Name<'a> = (Kind, &'a str, &'a str);

fn name(object: &Object) -> Name<'_> {
    let (namespace, name) = match object {
        Object::NetworkPolicy(policy) => (&*policy.key.namespace, &*policy.key.name),
        Object::Pod(pod) => (&*pod.key.namespace, &*pod.key.name),
        Object::Namespace(namespace) => ("", &*namespace.name),
        Object::MultiNetworkPolicy(one) => (&*one.policy.key.namespace, &*one.policy.key.name),
    };
    (object.kind(), namespace, name)
}

fn finding(one: &ReadObject, severity: Severity, field: &str, message: String) -> Finding {
    Finding {
        location: one.place.location(),
        severity,
        kind: one.object.kind().name().to_owned(),
        object: Some(one.object.key()),
        field: field.to_owned(),
        message,
    }
}

fn duplicates(found: &[ReadObject], findings: &mut Findings) {
    let mut first: HashMap<Name<'_>, &ReadObject> = HashMap::new();
    for one in found {
        let earlier = *first.entry(name(&one.object)).or_insert(one);
        if earlier.place != one.place && !is_the_same_namespace(earlier, one) {
            let Place { file, line, .. } = &earlier.place;
            let message = format!("the same object is also defined in {file}:{line}");
            findings.push(finding(one, Severity::Error, "metadata.name", message));
        }
    }
}

/// Manifests that belong together often bring their Namespace each.
fn is_the_same_namespace(one: &ReadObject, other: &ReadObject) -> bool {
    let is_usable = one.usable && other.usable;
    match (&one.object, &other.object) {
        (Object::Namespace(one), Object::Namespace(other)) => is_usable && one == other,
        (
            Object::NetworkPolicy(_)
            | Object::Pod(_)
            | Object::Namespace(_)
            | Object::MultiNetworkPolicy(_),
            _,
        ) => false,
    }
}

fn missing_namespaces(objects: &[Object]) -> Vec<Object> {
    let mut missing = BTreeSet::new();
    for (kind, namespace, _) in objects.iter().map(name) {
        if kind != Kind::Namespace {
            missing.insert(namespace);
        }
    }
    for (kind, _, name) in objects.iter().map(name) {
        if kind == Kind::Namespace {
            missing.remove(name);
        }
    }
    let make = |name| Object::Namespace(Arc::new(Namespace::synthesised(name)));
    missing.into_iter().map(make).collect()
}

/// Pods that report the same address.
fn shared_addresses(objects: &[&ReadObject], findings: &mut Findings) {
    let mut by_address: BTreeMap<IpAddr, Vec<(&ReadObject, &Pod)>> = BTreeMap::new();
    for one in objects {
        if let Object::Pod(pod) = &one.object
            && pod.is_subject()
        {
            for &address in &pod.addresses {
                by_address.entry(address).or_default().push((one, pod));
            }
        }
    }
    for (address, pods) in by_address {
        let newer = |owner, other| {
            if takes_precedence(one_of(other), one_of(owner)) { other } else { owner }
        };
        let Some(owner) = pods.iter().reduce(newer) else { continue };
        for (one, pod) in pods.iter().filter(|(_, pod)| pod.key != owner.1.key) {
            let why = if pod.created == owner.1.created { "later by name" } else { "newer" };
            let Place { file, line, .. } = &owner.0.place;
            let message = format!(
                "{address} is also the address of Pod {} in {file}:{line}, which is {why}: \
                 policies that allow a peer mean that one, and if either is isolated on a node \
                 that has both, so is the address",
                owner.1.key
            );
            findings.push(finding(one, Severity::Warning, "status.podIPs", message));
        }
    }
}

/// MultiNetworkPolicies for networks on which no pod is, where pods report any.
fn unknown_networks(objects: &[&ReadObject], findings: &mut Findings) {
    let pods = objects.iter().filter_map(|one| match &one.object {
        Object::Pod(pod) => Some(networks_of(pod)),
        Object::NetworkPolicy(_) | Object::Namespace(_) | Object::MultiNetworkPolicy(_) => None,
    });
    let known: BTreeSet<ObjectKey> = pods.flatten().collect();
    for one in objects.iter().filter(|_| !known.is_empty()) {
        let Object::MultiNetworkPolicy(policy) = &one.object else { continue };
        let PolicyFor::Networks(networks) = &policy.networks else { continue };
        for network in networks.difference(&known) {
            let names = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = format!(
                "no Pod here is on network {network}; those that the Pods report are {names}"
            );
            let field = format!("metadata.annotations[{POLICY_FOR}]");
            findings.push(finding(one, Severity::Warning, &field, message));
        }
    }
}

fn one_of<'a>(one: &(&'a ReadObject, &'a Pod)) -> &'a Pod {
    one.1
}

/// Findings about one object as a whole.
pub(super) fn review_one(
    one: &ReadObject,
    broken: &HashSet<ObjectKey>,
    pods: Pods,
    findings: &mut Findings,
) {
    let (field, message) = match &one.object {
        Object::Pod(pod)
            if pods == Pods::NeedAddresses && pod.is_subject() && pod.addresses.is_empty() =>
        {
            (
                "status.podIPs",
                Some("is empty; no rule applies to a pod without an address".to_owned()),
            )
        }
        Object::NetworkPolicy(policy) => {
            ("metadata.name", opposite(policy, broken.contains(&policy.key)))
        }
        Object::MultiNetworkPolicy(one) => {
            ("metadata.name", opposite(&one.policy, broken.contains(&one.policy.key)))
        }
        Object::Pod(_) | Object::Namespace(_) => return,
    };
    if let Some(message) = message {
        findings.push(finding(one, Severity::Warning, field, message));
    }
}

/// A policy whose name says deny but that allows everything, or the reverse. A
/// broken policy allows less than was meant, so for it the reverse is not checked.
fn opposite(policy: &NetworkPolicy, broken: bool) -> Option<String> {
    let name = policy.key.name.to_lowercase();
    let words: Vec<&str> = name.split(['-', '.', '_']).collect();
    let has = |word: &str| words.contains(&word);
    let denies = ["deny", "denies", "block", "drop", "forbid"].iter().any(|word| has(word));
    let allows = ["allow", "allows", "permit"].iter().any(|word| has(word));
    let named = |word: &str| !(has("ingress") || has("egress")) || has(word);
    for (direction, rules) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
        let Some(rules) = rules.as_deref().filter(|_| named(direction)) else { continue };
        if denies && !allows && rules.iter().any(allows_all) {
            return Some(format!(
                "the name says the opposite of what the policy does: it allows all {direction}"
            ));
        }
        if allows && !denies && has(direction) && rules.is_empty() && !broken {
            return Some(format!(
                "the name says the opposite of what the policy does: it allows no {direction}"
            ));
        }
    }
    None
}

fn allows_all(rule: &Rule) -> bool {
    rule.peers == Peers::Anyone && rule.ports == Ports::All
}
