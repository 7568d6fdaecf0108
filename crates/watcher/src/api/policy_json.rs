//! A NetworkPolicy of the API server, read as strictly as one in a file.
//!
//! In: a JSON value.
//! Out: the model's policy, always, and diagnostics. An unknown field makes the
//! part around it unusable, as in a file, because a newer API server may have a
//! field that allows less.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::networking::v1::NetworkPolicy as ApiNetworkPolicy;
use policy::{Diagnostic, MultiNetworkPolicy, NetworkPolicy, ObjectKey};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json, json};

use crate::Kind;
use crate::convert;
use crate::decode::node::{Entry, Node, Position, Value};
use crate::decode::{self, Decoded, Unreadable};

/// The fields of metadata that are kept, of annotations nftpol's. All others are dropped
/// before decoding.
const METADATA: [&str; 6] =
    ["name", "namespace", "uid", "labels", "annotations", "creationTimestamp"];
/// The field of metadata that the watch reads beside them.
const VERSION: &str = "resourceVersion";
/// JSON of the API server has no useful positions.
const NOWHERE: Position = Position { line: 1, column: 1 };

/// Reads JSON without the metadata that is not kept, however deep that is.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
    from.deserialize_any(Fields { keeps: |_| true, within: Some("metadata") })
}

/// Annotations; of metadata, whose fields are read without a further `within`.
#[derive(Deserialize)]
struct Annotations(
    #[serde(deserialize_with = "convert::own_annotations")] Option<BTreeMap<String, String>>,
);

/// Reads a map. `within`: of the map in this field, only some fields are kept.
struct Fields {
    keeps: fn(&str) -> bool,
    within: Option<&'static str>,
}

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Map::new();
        while let Some(field) = entries.next_key::<String>()? {
            let value = match self.within {
                Some(within) if within == field => {
                    let keeps = |field: &str| METADATA.contains(&field) || field == VERSION;
                    entries.next_value_seed(Fields { keeps, within: None })?
                }
                None if field == "annotations" => json!(entries.next_value::<Annotations>()?.0),
                _ if (self.keeps)(&field) => entries.next_value()?,
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            fields.insert(field, value);
        }
        Ok(Json::Object(fields))
    }
}

/// Reads a NetworkPolicy of the API server.
pub(super) fn network_policy(object: &Json) -> (NetworkPolicy, Vec<Diagnostic>) {
    let (object, unreadable, issues) = decoded(node(object));
    let (policy, diagnostics) = convert::network_policy_with(&object, &unreadable);
    let all = about(Kind::NetworkPolicy, &policy.key, issues).chain(diagnostics).collect();
    (policy, all)
}

/// Reads a MultiNetworkPolicy of the API server.
pub(super) fn multi_network_policy(object: &Json) -> (MultiNetworkPolicy, Vec<Diagnostic>) {
    let (object, unreadable, issues) = decoded(convert::without_type(&node(object)));
    let (policy, diagnostics) = convert::multi_network_policy_with(&object, &unreadable);
    let issues = about(Kind::MultiNetworkPolicy, &policy.policy.key, issues);
    let all = issues.chain(diagnostics).collect();
    (policy, all)
}

fn decoded(mut node: Node) -> (ApiNetworkPolicy, Unreadable, Vec<decode::Issue>) {
    if let Value::Mapping(fields) = &mut node.value {
        // Kubernetes 1.24 to 1.27 had a status, which does not affect the spec.
        fields.retain(|field| field.key != "status");
        let metadata = fields.iter_mut().find(|field| field.key == "metadata");
        if let Some(Value::Mapping(fields)) = metadata.map(|field| &mut field.value.value) {
            fields.retain(|field| METADATA.contains(&field.key.as_str()));
        }
    }
    let Decoded { object, issues, unreadable } = decode::decode::<ApiNetworkPolicy>(&node);
    (object, unreadable, issues)
}

fn about(
    kind: Kind,
    object: &ObjectKey,
    issues: Vec<decode::Issue>,
) -> impl Iterator<Item = Diagnostic> {
    let (kind, object) = (kind.name(), object.clone());
    issues.into_iter().map(move |issue| {
        let decode::Issue { severity, field, message, .. } = issue;
        Diagnostic { severity, kind, object: object.clone(), field, message }
    })
}

/// A JSON value as a node. Fields that are `null` are left out: to the API they
/// mean the same as absent ones.
fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool { value: *value, text: value.to_string() },
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int { value, text: number.to_string() },
            None => {
                let value = number.as_f64().unwrap_or(f64::NAN);
                Value::Float { value, text: number.to_string() }
            }
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Sequence(items.iter().map(node).collect()),
        Json::Object(fields) => Value::Mapping(entries(fields)),
    };
    Node { at: NOWHERE, value }
}

fn entries(fields: &Map<String, Json>) -> Vec<Entry> {
    let entry = |(key, value): (&String, &Json)| Entry {
        key: key.clone(),
        written: None,
        at: NOWHERE,
        value: node(value),
        merged: false,
    };
    fields.iter().filter(|(_, value)| !value.is_null()).map(entry).collect()
}
