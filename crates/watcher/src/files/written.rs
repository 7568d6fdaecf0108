//! Everything that manifests say, for those who ask what policies mean.
//!
//! In: the nodes of objects, while they are read.
//! Out: the related kinds, and where each field of a policy was written.
//! Never: a finding.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::ObjectKey;

use super::document::Origin;
use super::finding::Location;
use super::review::Pods;
use super::{Loaded, Source, Validation};
use crate::decode;
use crate::decode::node::{Node, Position, Value};
use crate::related::{self, Related};

/// All that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Everything {
    /// Policies, pods and namespaces, and the findings.
    pub loaded: Loaded,
    /// The related kinds, in the order in which they are written.
    pub related: Vec<Related>,
    /// Each object that was read, in the same order: also of related kinds.
    pub written: Vec<Written>,
    /// Documents that are no objects, such as the values of a chart. They are not read.
    pub skipped: Vec<Location>,
    /// The text of each file, by its name in [`Location::file`].
    pub texts: BTreeMap<String, String>,
}

/// Where an object was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The kind as the API names it.
    pub kind: String,
    /// Namespace and name; a cluster-scoped object has an empty namespace.
    pub key: ObjectKey,
    /// Where its name is.
    pub location: Location,
    /// The fields of a NetworkPolicy or MultiNetworkPolicy; none for other kinds.
    pub fields: Vec<Field>,
}

/// Where a field was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The path, such as `spec.ingress[0].from[1].podSelector.matchLabels[app]`.
    pub path: String,
    /// Where a message points to: a text or number, else the name of the field.
    pub shown: Location,
    /// Where its value begins; a list or object in block style begins with its first item.
    pub value: Location,
    /// Where its name is; items of lists have none.
    pub key: Option<Location>,
}

/// Reads sources with the related kinds. Objects without a namespace are in `namespace`.
///
/// # Errors
/// As [`super::read`].
pub fn read_everything(
    sources: &[Source],
    namespace: Option<&str>,
) -> Result<Everything, super::ReadError> {
    let mut reading = super::Reading::new(Validation::Strict);
    reading.reader.namespace = namespace.map(Arc::from);
    reading.reader.pods = Pods::MayLackAddresses;
    reading.reader.kept = Some(Kept::default());
    let mut texts = BTreeMap::new();
    super::source::texts(sources, |super::source::Text { name, bytes }| {
        reading.bytes(&name, &bytes);
        texts.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    })?;
    if reading.documents == 0 {
        let path = texts.into_keys().collect::<Vec<_>>().join(", ");
        return Err(super::ReadError::NoObjects { path });
    }
    let Kept { related, written, skipped } = reading.reader.kept.take().unwrap_or_default();
    Ok(Everything { loaded: reading.finish(), related, written, skipped, texts })
}

/// What is kept of nodes.
#[derive(Default)]
pub(super) struct Kept {
    related: Vec<Related>,
    written: Vec<Written>,
    skipped: Vec<Location>,
}

impl Kept {
    /// This moment.
    pub(super) fn mark(&self) -> (usize, usize, usize) {
        (self.related.len(), self.written.len(), self.skipped.len())
    }

    /// Forgets what was kept since.
    pub(super) fn rollback(&mut self, (related, written, skipped): (usize, usize, usize)) {
        self.skipped.truncate(skipped);
        self.related.truncate(related);
        self.written.truncate(written);
    }

    /// Notes that a document is not read.
    pub(super) fn skip(&mut self, node: &Node, place: Origin<'_>) {
        self.skipped.push(place.location(node.at));
    }

    /// Keeps a policy, pod or namespace.
    pub(super) fn object(&mut self, kind: &str, key: &ObjectKey, node: &Node, place: Origin<'_>) {
        let mut fields = Vec::new();
        if matches!(kind, "NetworkPolicy" | "MultiNetworkPolicy") {
            field(node, None, String::new(), place, &mut fields);
        }
        let location = place.location(node.locate("metadata.name"));
        self.written.push(Written { kind: kind.to_owned(), key: key.clone(), location, fields });
    }

    /// Keeps an object of a related kind. Returns whether it is one.
    pub(super) fn related(&mut self, node: &Node, namespace: &str, place: Origin<'_>) -> bool {
        let text = |name| node.get(name).and_then(Node::text);
        let (Some(kind), Some(version)) = (text("kind"), text("apiVersion")) else { return false };
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let known = |&&(name, own): &&(&str, &str)| name == kind && is_group(name, own, group);
        let Some((kind, _)) = related::NAMES.iter().find(known) else { return false };
        if is_patch(node, kind) {
            self.skip(node, place);
            return true;
        }
        let object = decode::decode(node).object;
        let Some(object) = related::convert(kind, object, namespace) else { return true };
        let is_pod = matches!(object, Related::Pod(_));
        if !is_pod {
            let key = object.key();
            let location = place.location(node.locate("metadata.name"));
            let kind = (*kind).to_owned();
            self.written.push(Written { kind, key, location, fields: Vec::new() });
        }
        self.related.push(object);
        true
    }
}

/// Whether a workload is only a part of one, such as a patch of kustomize: the API server
/// takes none of these kinds without `spec.selector` (API reference, DeploymentSpec), and a
/// selector needs labels.
fn is_patch(node: &Node, kind: &str) -> bool {
    let has = |path: &[&str]| {
        let found = path.iter().try_fold(node, |node, name| node.get(name));
        found.is_some_and(|one| one.value != Value::Null)
    };
    matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        && !has(&["spec", "selector"])
        && !has(&["spec", "template", "metadata", "labels"])
}

/// Whether a kind is served, or was, in a group. Old manifests of workloads and Ingresses
/// name `extensions` (removed in Kubernetes 1.16 and 1.22).
fn is_group(kind: &str, own: &str, group: &str) -> bool {
    let is_old = matches!(kind, "Deployment" | "DaemonSet" | "ReplicaSet" | "Ingress");
    group == own || (is_old && group == "extensions")
}

/// Notes a field and all fields in it.
fn field(
    node: &Node,
    key: Option<Position>,
    path: String,
    place: Origin<'_>,
    fields: &mut Vec<Field>,
) {
    match &node.value {
        Value::Mapping(entries) => {
            let has_any_key =
                [".labels", ".matchLabels", ".annotations"].iter().any(|end| path.ends_with(end));
            for entry in entries {
                let inner = match (path.is_empty(), has_any_key) {
                    (true, _) => entry.key.clone(),
                    (false, true) => format!("{path}[{}]", entry.key),
                    (false, false) => format!("{path}.{}", entry.key),
                };
                field(&entry.value, Some(entry.at), inner, place, fields);
            }
        }
        Value::Sequence(items) => {
            for (index, item) in items.iter().enumerate() {
                field(item, None, format!("{path}[{index}]"), place, fields);
            }
        }
        Value::Null
        | Value::Bool { .. }
        | Value::Int { .. }
        | Value::Float { .. }
        | Value::String(_) => {}
    }
    fields.push(Field {
        path,
        shown: place.location(node.shown_at(key.unwrap_or(node.at))),
        value: place.location(node.at),
        key: key.map(|at| place.location(at)),
    });
}
