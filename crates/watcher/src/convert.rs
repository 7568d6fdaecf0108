//! Kubernetes objects to the model, one file a kind.
//!
//! In: k8s-openapi types, from the API server or from a file.
//! Out: the model's object, always, with a [`policy::Diagnostic`] for each
//! unusable part. An unusable part of a policy allows nothing, and the policy
//! still isolates the pods it selects.
//! Never: I/O, a look at other objects, a guess that allows more than what is
//! written.
//!
//! The checks are those of the API server (k8s.io/kubernetes v1.36
//! pkg/apis/networking/validation and pkg/apis/core/validation). So an object
//! from the API server has diagnostics only if it is older than the check.

mod audit;
mod fields;
mod multi_network_policy;
mod names;
mod namespace;
mod network_policy;
mod peer;
mod pod;
mod port;
mod report;
mod selector;

use k8s_openapi::api::core::v1::{Namespace as ApiNamespace, Pod as ApiPod};
use k8s_openapi::api::networking::v1::NetworkPolicy as ApiNetworkPolicy;
use policy::{Diagnostic, Namespace, NetworkPolicy, Pod};

use crate::decode::Unreadable;

pub(crate) use audit::own_annotations;
pub(crate) use fields::{ContainerFields, PodFields, SpecFields, metadata};
pub(crate) use multi_network_policy::{multi_network_policy_with, without_type};
pub(crate) use names::is_addressable;

/// A NetworkPolicy of the API server.
pub fn network_policy(object: &ApiNetworkPolicy) -> (NetworkPolicy, Vec<Diagnostic>) {
    network_policy_with(object, &Unreadable::default())
}

/// A Pod of the API server.
pub fn pod(object: &ApiPod) -> (Pod, Vec<Diagnostic>) {
    pod_with(object, &Unreadable::default())
}

/// A Namespace of the API server.
pub fn namespace(object: &ApiNamespace) -> (Namespace, Vec<Diagnostic>) {
    namespace_with(object, &Unreadable::default())
}

pub(crate) use namespace::convert as namespace_with;
pub(crate) use network_policy::convert as network_policy_with;
pub(crate) use peer::is_refused_when_new;
pub(crate) use pod::convert as pod_with_fields;

pub(crate) fn pod_with(object: &ApiPod, unreadable: &Unreadable) -> (Pod, Vec<Diagnostic>) {
    pod_with_fields(&object.into(), unreadable)
}

#[cfg(test)]
mod tests;
