//! The three kinds: where the API server has them, and how their JSON becomes
//! objects of the model.
//!
//! Pods and Namespaces are deserialized into small structs, so an object is
//! never in memory in its full size.

use std::marker::PhantomData;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace as ApiNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use policy::ObjectKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::event::Found;
use super::policy_json;
use crate::convert::{self, PodFields};
use crate::decode::Unreadable;
use crate::{Kind, Object};

/// A kind as it is listed and watched.
pub(super) trait Watched: DeserializeOwned + Send + 'static {
    const KIND: Kind;
    /// The path of all objects of the kind.
    const PATH: &'static str;
    /// The field selector.
    const FIELDS: Option<&'static str> = None;
    /// The version that a list asks for while none is known; `None` asks for
    /// the present state. `"0"` takes what a server has in its cache. One that
    /// lags behind its peers would then take back policies that are enforced.
    const ANY_VERSION: Option<&'static str> = None;
    /// The path of the objects of one namespace.
    fn path_in(namespace: &str) -> String {
        let (group, resource) = Self::PATH.rsplit_once('/').unwrap_or(("", Self::PATH));
        format!("{group}/namespaces/{namespace}/{resource}")
    }
    fn identity(&self) -> Identity;
    fn found(self) -> Found;
}

/// Which object, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub key: ObjectKey,
    pub version: String,
}

/// A whole NetworkPolicy, but for metadata that is not read: `managedFields` can be as
/// deep as whoever writes an object wants. Its unknown fields matter, and policies are few.
pub(super) struct PolicyJson(Json);

impl<'de> Deserialize<'de> for PolicyJson {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        policy_json::read(from).map(Self)
    }
}

/// A Namespace.
#[derive(Default, Deserialize)]
pub(super) struct NamespaceFields {
    #[serde(deserialize_with = "convert::metadata")]
    metadata: ObjectMeta,
}

impl Watched for PolicyJson {
    const KIND: Kind = Kind::NetworkPolicy;
    const PATH: &'static str = "/apis/networking.k8s.io/v1/networkpolicies";

    fn identity(&self) -> Identity {
        identity_of(&self.0)
    }

    fn found(self) -> Found {
        let (mut policy, diagnostics) = policy_json::network_policy(&self.0);
        policy.shrink();
        Found { object: Object::NetworkPolicy(Arc::new(policy)), diagnostics }
    }
}

/// A whole MultiNetworkPolicy, as [`PolicyJson`] is. The versions have the same fields, but
/// that `endPort` came with v1beta2 (types.go of both in
/// k8snetworkplumbingwg/multi-networkpolicy at 2023-03-02).
pub(super) struct MultiPolicyJson<V>(Json, PhantomData<fn() -> V>);

/// A version of MultiNetworkPolicy.
pub(super) trait MultiVersion: 'static {
    const PATH: &'static str;
}

/// `v1beta2`.
pub(super) struct V1Beta2;
/// `v1beta1`.
pub(super) struct V1Beta1;

impl MultiVersion for V1Beta2 {
    const PATH: &'static str = "/apis/k8s.cni.cncf.io/v1beta2/multi-networkpolicies";
}

impl MultiVersion for V1Beta1 {
    const PATH: &'static str = "/apis/k8s.cni.cncf.io/v1beta1/multi-networkpolicies";
}

impl<'de, V: MultiVersion> Deserialize<'de> for MultiPolicyJson<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        policy_json::read(from).map(|json| Self(json, PhantomData))
    }
}

impl<V: MultiVersion> Watched for MultiPolicyJson<V> {
    const KIND: Kind = Kind::MultiNetworkPolicy;
    const PATH: &'static str = V::PATH;

    fn identity(&self) -> Identity {
        identity_of(&self.0)
    }

    fn found(self) -> Found {
        let (mut policy, diagnostics) = policy_json::multi_network_policy(&self.0);
        policy.policy.shrink();
        Found { object: Object::MultiNetworkPolicy(Arc::new(policy)), diagnostics }
    }
}

impl Watched for PodFields {
    const KIND: Kind = Kind::Pod;
    const PATH: &'static str = "/api/v1/pods";
    // Pods that ended have no traffic, and jobs leave many of them.
    const FIELDS: Option<&'static str> = Some("status.phase!=Succeeded,status.phase!=Failed");
    // Pods are many, and all agents would ask the database for all of them. A
    // pod that is missing or outdated follows as soon as the server catches up.
    const ANY_VERSION: Option<&'static str> = Some("0");

    fn identity(&self) -> Identity {
        identity(&self.metadata)
    }

    fn found(self) -> Found {
        let (mut pod, diagnostics) = convert::pod_with_fields(&self, &Unreadable::default());
        pod.shrink();
        Found { object: Object::Pod(Arc::new(pod)), diagnostics }
    }
}

impl Watched for NamespaceFields {
    const KIND: Kind = Kind::Namespace;
    const PATH: &'static str = "/api/v1/namespaces";

    fn path_in(_namespace: &str) -> String {
        Self::PATH.to_owned()
    }

    fn identity(&self) -> Identity {
        identity(&self.metadata)
    }

    fn found(self) -> Found {
        let object = ApiNamespace { metadata: self.metadata, ..ApiNamespace::default() };
        let (namespace, diagnostics) = convert::namespace(&object);
        Found { object: Object::Namespace(Arc::new(namespace)), diagnostics }
    }
}

fn identity_of(object: &Json) -> Identity {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    Identity {
        key: ObjectKey::new(text("namespace"), text("name")),
        version: text("resourceVersion").to_owned(),
    }
}

fn identity(metadata: &ObjectMeta) -> Identity {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Identity {
        key: ObjectKey::new(text(&metadata.namespace), text(&metadata.name)),
        version: text(&metadata.resource_version),
    }
}
