//! The API server's JSON to found objects, straight into small structs.
//!
//! In: the bytes of an object, or of a line of a watch.
//! Out: the converted object, or which one it is that cannot be read.
//! Never: an object in its full size.

use k8s_openapi::api::core::v1::Namespace as ApiNamespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{Status, WatchEvent};
use policy::ObjectKey;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::sync::Arc;

use super::items::Items;
use super::{Found, WatchError};
use crate::convert::{self, PodFields};
use crate::{Kind, Object, files};

/// Marks the bookmark that ends the initial events (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A kind as it is listed and watched.
pub(super) trait Watched: DeserializeOwned + Send + 'static {
    const KIND: Kind;
    /// Where the API server has all objects of the kind.
    const PATH: &'static str;
    /// Which of them to ask for.
    const FIELDS: Option<&'static str> = None;
    fn identity(&self) -> Identity;
    fn found(self) -> Found;
}

/// Which object, and which version of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    pub key: ObjectKey,
    pub version: String,
}

/// An object, read or not.
#[derive(Debug)]
pub(super) struct Item {
    pub identity: Identity,
    pub found: Result<Found, WatchError>,
}

/// A line of a watch.
#[derive(Debug)]
pub(super) enum Line {
    Put(Item),
    Gone(Identity),
    Bookmark { version: String, ends_initial_events: bool },
    Error(Box<Status>),
}

/// A NetworkPolicy, whole: its unknown fields matter, and policies are few.
#[derive(Deserialize)]
pub(super) struct PolicyJson(Json);

/// A Namespace.
#[derive(Default, Deserialize)]
pub(super) struct NamespaceFields {
    #[serde(deserialize_with = "convert::metadata")]
    metadata: ObjectMeta,
}

/// An object of which nothing but its identity is read.
#[derive(Deserialize)]
struct Named {
    metadata: NamedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMetadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
}

impl Watched for PolicyJson {
    const KIND: Kind = Kind::NetworkPolicy;
    const PATH: &'static str = "/apis/networking.k8s.io/v1/networkpolicies";

    fn identity(&self) -> Identity {
        let text = |name: &str| self.0["metadata"][name].as_str().unwrap_or_default();
        Identity {
            key: ObjectKey::new(text("namespace"), text("name")),
            version: text("resourceVersion").to_owned(),
        }
    }

    fn found(self) -> Found {
        let (policy, diagnostics) = files::network_policy(&self.0);
        Found { object: Object::NetworkPolicy(Arc::new(policy)), diagnostics }
    }
}

impl Watched for PodFields {
    const KIND: Kind = Kind::Pod;
    const PATH: &'static str = "/api/v1/pods";
    // Pods that have ended count for nothing, and job pods are many.
    const FIELDS: Option<&'static str> = Some("status.phase!=Succeeded,status.phase!=Failed");

    fn identity(&self) -> Identity {
        identity(&self.metadata)
    }

    fn found(self) -> Found {
        let (pod, diagnostics) = convert::pod_with_fields(&self, &convert::Unreadable::default());
        Found { object: Object::Pod(Arc::new(pod)), diagnostics }
    }
}

impl Watched for NamespaceFields {
    const KIND: Kind = Kind::Namespace;
    const PATH: &'static str = "/api/v1/namespaces";

    fn identity(&self) -> Identity {
        identity(&self.metadata)
    }

    fn found(self) -> Found {
        let object = ApiNamespace { metadata: self.metadata, ..ApiNamespace::default() };
        let (namespace, diagnostics) = convert::namespace(&object);
        Found { object: Object::Namespace(Arc::new(namespace)), diagnostics }
    }
}

fn identity(metadata: &ObjectMeta) -> Identity {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    Identity {
        key: ObjectKey::new(text(&metadata.namespace), text(&metadata.name)),
        version: text(&metadata.resource_version),
    }
}

impl From<Named> for Identity {
    fn from(
        Named { metadata: NamedMetadata { name, namespace, resource_version } }: Named,
    ) -> Self {
        Self { key: ObjectKey::new(namespace, name), version: resource_version }
    }
}

/// Reads an item of a list.
///
/// # Errors
/// Not even its name can be read.
pub(super) fn item<T: Watched>(bytes: &[u8]) -> Result<Item, WatchError> {
    match serde_json::from_slice::<T>(bytes) {
        Ok(object) => put(object),
        Err(error) => {
            let identity = serde_json::from_slice::<Named>(bytes)
                .map_err(|_| WatchError::decode(T::KIND, None, &error))?;
            Ok(unreadable::<T>(identity.into(), &error))
        }
    }
}

/// Reads a line of a watch.
///
/// # Errors
/// It is no event, or one about an object whose name cannot be read.
pub(super) fn line<T: Watched>(bytes: &[u8]) -> Result<Line, WatchError> {
    let error = match serde_json::from_slice::<WatchEvent<T>>(bytes) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            return put(object).map(Line::Put);
        }
        Ok(WatchEvent::Deleted(object)) => return named::<T>(object.identity()).map(Line::Gone),
        Ok(WatchEvent::Bookmark(bookmark)) => {
            let ends_initial_events =
                bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END);
            let version = bookmark.metadata.resource_version;
            return Ok(Line::Bookmark { version, ends_initial_events });
        }
        Ok(WatchEvent::Error(status)) => return Ok(Line::Error(status)),
        Err(error) => error,
    };
    match serde_json::from_slice::<WatchEvent<Named>>(bytes) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
            Ok(Line::Put(unreadable::<T>(object.into(), &error)))
        }
        Ok(WatchEvent::Deleted(object)) => Ok(Line::Gone(object.into())),
        _ => Err(WatchError::decode(T::KIND, None, &error)),
    }
}

/// Reads bytes as a line of a watch, and as a list that comes in pieces of any
/// size, for fuzzing: every object has a name, and the pieces make no
/// difference.
pub(super) fn read_any<T: Watched>(bytes: &[u8]) {
    if let Ok(Line::Put(Item { identity, .. }) | Line::Gone(identity)) = line::<T>(bytes) {
        assert!(!identity.key.name.is_empty());
    }
    let list = |size: usize| {
        let (mut items, mut found) = (Items::default(), Vec::new());
        for piece in bytes.chunks(size) {
            items.push(piece, |one| found.push(one.to_vec()));
        }
        (found, items.frame().to_vec())
    };
    let whole = list(bytes.len().max(1));
    assert!(whole == list(1), "the pieces of a list make a difference");
    for one in whole.0 {
        if let Ok(item) = item::<T>(&one) {
            assert!(!item.identity.key.name.is_empty());
        }
    }
}

fn put<T: Watched>(object: T) -> Result<Item, WatchError> {
    let identity = named::<T>(object.identity())?;
    Ok(Item { identity, found: Ok(object.found()) })
}

fn named<T: Watched>(identity: Identity) -> Result<Identity, WatchError> {
    if identity.key.name.is_empty() {
        return Err(WatchError::decode(T::KIND, None, "an object has no name"));
    }
    Ok(identity)
}

fn unreadable<T: Watched>(identity: Identity, error: &serde_json::Error) -> Item {
    let found = Err(WatchError::decode(T::KIND, Some(&identity.key), error));
    Item { identity, found }
}
