//! The second reader: converts text to the model with serde_yaml and k8s_openapi.
//!
//! It refuses a whole object where our reader reads the rest. k8s_openapi stops at
//! the first field with a wrong type.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::serde::Deserialize;
use k8s_openapi::serde::de::DeserializeOwned;
use policy::ObjectKey;
use serde_yaml::Value;
use watcher::{Kind, Object};

use crate::{Objects, model};

/// What the second reader reads from a file.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) objects: Objects,
    pub(crate) documents: usize,
    pub(crate) errors: Vec<String>,
}

/// Reads a file.
pub(crate) fn read(text: &str) -> Read {
    let mut read = Read::default();
    for document in serde_yaml::Deserializer::from_str(text) {
        match Value::deserialize(document) {
            Ok(value) => read.document(value),
            Err(error) => {
                // After an error it returns the same error for ever.
                read.errors.push(error.to_string());
                break;
            }
        }
    }
    let namespaced = read.objects.keys().filter(|(kind, _)| *kind != Kind::Namespace);
    let mut used: Vec<String> = namespaced.map(|(_, key)| key.namespace.clone()).collect();
    used.dedup();
    for name in used {
        // The API server has a Namespace for every namespace.
        let key = (Kind::Namespace, ObjectKey::new("", &name));
        let missing = || Object::Namespace(Arc::new(policy::Namespace::synthesised(name)));
        read.objects.entry(key).or_insert_with(missing);
    }
    read
}

impl Read {
    fn document(&mut self, mut value: Value) {
        if value.is_null() {
            return;
        }
        self.documents += 1;
        match value.apply_merge() {
            Ok(()) => self.object(value, ""),
            Err(error) => self.errors.push(error.to_string()),
        }
    }

    /// An object or a list. An item of a typed list need not name its kind.
    fn object(&mut self, value: Value, listed: &str) {
        let text = |field| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let kind = if kind.is_empty() { listed } else { &kind };
        let is_version = |one: &Kind| match one {
            Kind::MultiNetworkPolicy => version.starts_with("k8s.cni.cncf.io/"),
            _ => one.api_version() == version,
        };
        let known = |one: &Kind| one.name() == kind && (is_version(one) || !listed.is_empty());
        if let Some(of) = kind.strip_suffix("List") {
            let items = value.get("items").and_then(Value::as_sequence).cloned();
            for item in items.unwrap_or_default() {
                self.object(item, of);
            }
        } else if let Some(kind) = Kind::EVERY.iter().find(|one| known(one)) {
            self.typed(*kind, value);
        }
    }

    fn typed(&mut self, kind: Kind, mut value: Value) {
        // A MultiNetworkPolicy has the fields of a NetworkPolicy.
        let form = match kind {
            Kind::MultiNetworkPolicy => Kind::NetworkPolicy,
            other => other,
        };
        if let Value::Mapping(fields) = &mut value {
            fields.insert("apiVersion".into(), form.api_version().into());
            fields.insert("kind".into(), form.name().into());
        }
        let object = match kind {
            Kind::NetworkPolicy => decode::<NetworkPolicy>(value)
                .map(|one| Object::NetworkPolicy(Arc::new(model::network_policy(&one)))),
            Kind::Pod => decode::<Pod>(value).map(|one| Object::Pod(Arc::new(model::pod(&one)))),
            Kind::Namespace => decode::<Namespace>(value)
                .map(|one| Object::Namespace(Arc::new(model::namespace(&one)))),
            Kind::MultiNetworkPolicy => decode::<NetworkPolicy>(value)
                .map(|one| Object::MultiNetworkPolicy(Arc::new(model::multi_network_policy(&one)))),
        };
        match object {
            Ok(object) => {
                self.objects.insert((kind, object.key()), object);
            }
            Err(error) => self.errors.push(error),
        }
    }
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_yaml::from_value(value).map_err(|error| error.to_string())
}
