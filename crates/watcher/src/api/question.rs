//! Questions to the API server that cost it next to nothing.
//!
//! In: a kind and the name of an object, or a kind and a node.
//! Out: the present version; whether there is such an object.
//! Never: an answer from a cache that lags.
//!
//! A list with the field selector `metadata.name` reads one key of etcd (k8s.io/apiserver
//! v0.36, pkg/registry/generic/registry: `ListPredicate`), and its version is that of the
//! whole history. The right to list is enough for it. No version is given, so the answer is
//! of the present state (Kubernetes API concepts, "Resource versions").

use std::time::Duration;

use kube::Client;
use kube::api::ListParams;
use kube::core::Request;
use policy::ObjectKey;
use serde::Deserialize;

use super::error::WatchError;
use super::kinds::{Identity, Watched};
use super::requests::{self, FrameMetadata};

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    metadata: FrameMetadata,
    #[serde(default)]
    items: Option<Vec<Asked>>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    metadata: AskedMetadata,
}

/// The object that was asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AskedMetadata {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    pub uid: String,
    #[serde(default)]
    pub resource_version: String,
}

impl Answer {
    /// The version of the whole history.
    pub(super) fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// The first object.
    pub(super) fn object(&self) -> Option<&AskedMetadata> {
        self.items.iter().flatten().map(|asked| &asked.metadata).next()
    }
}

impl AskedMetadata {
    /// Namespace and name.
    pub(super) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.name)
    }
}

/// The present version, and an object, if it is there.
///
/// # Errors
/// There is no answer.
pub(super) async fn version<T: Watched>(
    client: &Client,
    about: Option<&Identity>,
) -> Result<Answer, WatchError> {
    // Any name will do. One that is no name of an object comes from nobody.
    let about = about
        .map(|one| &one.key)
        .filter(|key| is_name(&key.name) && (is_name(&key.namespace) || key.namespace.is_empty()));
    let (namespace, name) =
        about.map_or(("kube-system", "kube-system"), |key| (&key.namespace, &key.name));
    let selector = format!("metadata.name={name}");
    ask::<T>(client, &T::path_in(namespace), selector, None).await
}

/// An object of the kind, and of this node if it is a pod.
///
/// # Errors
/// There is no answer.
pub(super) async fn any<T: Watched>(
    client: &Client,
    node: Option<&str>,
) -> Result<Answer, WatchError> {
    let node = node.map(|node| format!("spec.nodeName={node}"));
    let selectors: Vec<&str> = T::FIELDS.into_iter().chain(node.as_deref()).collect();
    ask::<T>(client, T::PATH, selectors.join(","), Some(1)).await
}

/// Names of objects and namespaces (RFC 1123 subdomains).
fn is_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !name.is_empty() && name.bytes().all(is_usual)
}

async fn ask<T: Watched>(
    client: &Client,
    path: &str,
    selector: String,
    limit: Option<u32>,
) -> Result<Answer, WatchError> {
    let field_selector = (!selector.is_empty()).then_some(selector);
    let parameters = ListParams { field_selector, limit, ..ListParams::default() };
    let request = Request::new(path).list(&parameters);
    let bytes = requests::whole::<T>(client, request, PATIENCE).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| WatchError::broken("list", T::KIND, format!("the answer: {error}")))
}
