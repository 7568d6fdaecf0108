//! The fields of a Pod and of its metadata that policy needs.
//!
//! In: a k8s-openapi Pod (from a file), or the API server's JSON.
//! Out: the same small struct for both, so that there is one conversion.
//! Never: the rest of an object, such as `managedFields` and annotations that nobody
//! reads, which is most of it. serde skips it without keeping a byte.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HostIP, Pod, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer};

use super::own_annotations;

/// A Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodFields {
    /// Only the fields of [`Metadata`] are set.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    pub spec: Option<SpecFields>,
    pub status: Option<StatusFields>,
}

/// A PodSpec.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SpecFields {
    pub node_name: Option<String>,
    pub host_network: Option<bool>,
    pub termination_grace_period_seconds: Option<i64>,
    pub init_containers: Option<Vec<ContainerFields>>,
    pub containers: Option<Vec<ContainerFields>>,
}

/// A Container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ContainerFields {
    pub restart_policy: Option<String>,
    pub ports: Option<Vec<ContainerPort>>,
}

/// A PodStatus.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct StatusFields {
    pub phase: Option<String>,
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub pod_ips: Option<Vec<PodIP>>,
    #[serde(rename = "hostIP")]
    pub host_ip: Option<String>,
    #[serde(rename = "hostIPs")]
    pub host_ips: Option<Vec<HostIP>>,
}

/// An object's metadata.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    /// Those that are read.
    #[serde(default, deserialize_with = "own_annotations")]
    annotations: Option<BTreeMap<String, String>>,
    uid: Option<String>,
}

/// Deserializes the metadata that policy needs; the other fields stay empty.
///
/// # Errors
/// One of these fields has the wrong type.
pub(crate) fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    let Metadata {
        name,
        namespace,
        resource_version,
        creation_timestamp,
        deletion_timestamp,
        labels,
        uid,
        annotations,
    } = Metadata::deserialize(from)?;
    Ok(ObjectMeta {
        name,
        namespace,
        resource_version,
        creation_timestamp,
        deletion_timestamp,
        labels,
        uid,
        annotations,
        ..ObjectMeta::default()
    })
}

impl From<&Pod> for PodFields {
    fn from(pod: &Pod) -> Self {
        Self {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                generate_name: pod.metadata.generate_name.clone(),
                namespace: pod.metadata.namespace.clone(),
                creation_timestamp: pod.metadata.creation_timestamp.clone(),
                deletion_timestamp: pod.metadata.deletion_timestamp.clone(),
                labels: pod.metadata.labels.clone(),
                uid: pod.metadata.uid.clone(),
                annotations: pod.metadata.annotations.clone(),
                ..ObjectMeta::default()
            },
            spec: pod.spec.as_ref().map(SpecFields::from),
            status: pod.status.as_ref().map(StatusFields::from),
        }
    }
}

impl From<&PodSpec> for SpecFields {
    fn from(spec: &PodSpec) -> Self {
        let fields = |containers: &[Container]| containers.iter().map(Into::into).collect();
        Self {
            node_name: spec.node_name.clone(),
            host_network: spec.host_network,
            termination_grace_period_seconds: spec.termination_grace_period_seconds,
            init_containers: spec.init_containers.as_deref().map(fields),
            containers: Some(fields(&spec.containers)),
        }
    }
}

impl From<&Container> for ContainerFields {
    fn from(container: &Container) -> Self {
        Self { restart_policy: container.restart_policy.clone(), ports: container.ports.clone() }
    }
}

impl From<&PodStatus> for StatusFields {
    fn from(status: &PodStatus) -> Self {
        Self {
            phase: status.phase.clone(),
            pod_ip: status.pod_ip.clone(),
            pod_ips: status.pod_ips.clone(),
            host_ip: status.host_ip.clone(),
            host_ips: status.host_ips.clone(),
        }
    }
}
