//! Which kind of object a document is, by its `apiVersion` and `kind`.
//!
//! In: a node. Out: the kind, if it is clear, and issues.
//! Never: a look at other fields, except to correct a misspelt `metadata`.

use policy::Severity;

use crate::Kind;
use crate::decode::Issue;
use crate::decode::node::{Entry, Node, Position, Value, shorten};
use crate::spelling::suggest;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::files) enum DocumentType {
    /// An object of a kind that is used.
    Object(Kind),
    /// A list, of one kind if its own kind says so.
    List(Option<Kind>),
    /// Something that is not used.
    Other,
}

/// Other names of kinds, as kubectl accepts them on its command line.
const SHORT: [(&str, Kind); 8] = [
    ("networkpolicies", Kind::NetworkPolicy),
    ("netpol", Kind::NetworkPolicy),
    ("netpols", Kind::NetworkPolicy),
    ("pods", Kind::Pod),
    ("po", Kind::Pod),
    ("namespaces", Kind::Namespace),
    ("ns", Kind::Namespace),
    ("networkpolicie", Kind::NetworkPolicy),
];

/// Identifies a document. Items of a typed list may leave out their kind, which
/// is then `listed`.
pub(in crate::files) fn of(node: &Node, listed: Option<Kind>) -> (DocumentType, Vec<Issue>) {
    let whole = |message: String| vec![error(node.at, "", message)];
    match &node.value {
        Value::Mapping(_) => {}
        Value::Sequence(_) => {
            let message = "is a list; write objects one after another with \"---\" between them, \
                           or put them under items of kind: List";
            return (DocumentType::Other, whole(message.to_owned()));
        }
        other => {
            let found = other.describe();
            let message = format!("is {found}, not an object with apiVersion, kind and metadata");
            return (DocumentType::Other, whole(message));
        }
    }
    let Some(entry) = node.entry("kind").filter(|entry| entry.value.value != Value::Null) else {
        return match listed {
            Some(kind) => api_version(node, kind, true),
            None => (
                DocumentType::Other,
                vec![error(
                    node.at,
                    "kind",
                    missing(node, "kind", "NetworkPolicy, Pod or Namespace"),
                )],
            ),
        };
    };
    let Some(kind) = entry.value.text() else {
        let message = format!("must be text, not {}", entry.value.value.describe());
        return (DocumentType::Other, vec![error(entry.value.at, "kind", message)]);
    };
    if let Some(kind) = Kind::EVERY.into_iter().find(|known| known.name() == kind) {
        return api_version(node, kind, listed == Some(kind));
    }
    if kind == "List" {
        return (DocumentType::List(None), Vec::new());
    }
    if let Some(of) = kind.strip_suffix("List")
        && let Some(kind) = Kind::EVERY.into_iter().find(|known| known.name() == of)
    {
        let (document_type, issues) = api_version(node, kind, false);
        let is_foreign = document_type == DocumentType::Other;
        return (if is_foreign { document_type } else { DocumentType::List(Some(kind)) }, issues);
    }
    match meant(kind) {
        Some(known) if !is_foreign(node, known) => {
            let message = format!("unknown kind {:?}; did you mean {known}?", shorten(kind));
            let (document_type, mut issues) = api_version(node, known, false);
            issues.insert(0, error(entry.value.at, "kind", message));
            (document_type, issues)
        }
        _ => {
            let message = "is skipped; only NetworkPolicy, Pod and Namespace are used".to_owned();
            let severity = Severity::Warning;
            let issue = Issue { at: entry.value.at, severity, field: String::new(), message };
            (DocumentType::Other, vec![issue])
        }
    }
}

/// Whether a document is none of the API, such as values of a chart or a list of patches
/// in a folder of manifests.
pub(in crate::files) fn is_no_object(node: &Node) -> bool {
    match &node.value {
        Value::Mapping(entries) => {
            let is_of_objects =
                |key: &str| matches!(key, "kind" | "metadata" | "spec" | "metedata");
            // Helm's Chart.yaml and Grafana's files have an `apiVersion`, too.
            let is_of_kubernetes = || {
                let version = node.get("apiVersion").and_then(Node::text);
                version.is_some_and(|version| version.contains(".k8s.io/"))
            };
            !entries.iter().any(|entry| is_of_objects(&entry.key)) && !is_of_kubernetes()
        }
        Value::Sequence(_) => true,
        Value::Null
        | Value::Bool { .. }
        | Value::Int { .. }
        | Value::Float { .. }
        | Value::String(_) => false,
    }
}

/// Whether an object of an unused kind says nothing about what may pass: whoever asks what
/// policies mean does not miss it. Policies of other enforcers are missed.
pub(in crate::files) fn is_of_no_interest(node: &Node) -> bool {
    let Some(kind) = node.get("kind").and_then(Node::text) else { return false };
    !kind.contains("NetworkPolic")
}

/// The kind that was probably meant by a text.
fn meant(text: &str) -> Option<Kind> {
    let lower = text.to_lowercase();
    let short = SHORT.iter().find(|(name, _)| *name == lower).map(|&(_, kind)| kind);
    short.or_else(|| {
        let name = suggest(text, Kind::ALL.map(Kind::name))?;
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    })
}

/// Checks `apiVersion` of an object of a known kind.
fn api_version(node: &Node, kind: Kind, may_lack: bool) -> (DocumentType, Vec<Issue>) {
    let wanted = kind.api_version();
    let known = DocumentType::Object(kind);
    let Some(entry) = node.entry("apiVersion").filter(|one| one.value.value != Value::Null) else {
        let issue = || error(node.at, "apiVersion", missing(node, "apiVersion", wanted));
        return (known, if may_lack { Vec::new() } else { vec![issue()] });
    };
    let message = match entry.value.text() {
        Some(text) if text == wanted || is_older(kind, text) => return (known, Vec::new()),
        Some(text) if is_foreign(node, kind) => {
            let message = format!(
                "of {:?} is skipped; it is not the {kind} of Kubernetes itself",
                shorten(text)
            );
            let severity = Severity::Warning;
            let issue = Issue { at: entry.value.at, severity, field: String::new(), message };
            return (DocumentType::Other, vec![issue]);
        }
        Some(text) => format!("{:?} does not serve {kind}; write {wanted}", shorten(text)),
        None => format!("must be {wanted}, not {}", entry.value.value.describe()),
    };
    (known, vec![error(entry.value.at, "apiVersion", message)])
}

/// Whether this is an older version of the kind with the same fields.
fn is_older(kind: Kind, version: &str) -> bool {
    kind == Kind::MultiNetworkPolicy && version == "k8s.cni.cncf.io/v1beta1"
}

/// Whether the object's API group is not one of Kubernetes, such as
/// `projectcalico.org/v3`.
fn is_foreign(node: &Node, kind: Kind) -> bool {
    let Some(text) = node.get("apiVersion").and_then(Node::text) else { return false };
    let Some((group, _)) = text.split_once('/') else { return false };
    let own = kind.api_version().split_once('/').map_or("", |(group, _)| group);
    let is_kubernetes = !group.contains('.') || group.ends_with(".k8s.io");
    !is_kubernetes && group != own && suggest(group, ["networking.k8s.io"]).is_none()
}

fn missing(node: &Node, field: &str, wanted: &str) -> String {
    let Value::Mapping(entries) = &node.value else { return "is missing".to_owned() };
    match suggest(field, entries.iter().map(|entry| entry.key.as_str())) {
        Some(written) => {
            format!("is missing; did you write {written:?} instead? write {field}: {wanted}")
        }
        None => format!("is missing; write {field}: {wanted}"),
    }
}

fn error(at: Position, field: &str, message: String) -> Issue {
    Issue { at, severity: Severity::Error, field: field.to_owned(), message }
}

/// If `metadata` is misspelt, the node with the right spelling, so that mistakes
/// inside it are found too, and the issue about the spelling.
pub(super) fn with_metadata(node: &Node) -> Option<(Node, Issue)> {
    let Value::Mapping(entries) = &node.value else { return None };
    if node.get("metadata").is_some() {
        return None;
    }
    let key = suggest("metadata", entries.iter().map(|entry| entry.key.as_str()))?;
    let index = entries.iter().position(|entry| entry.key == key)?;
    let Value::Mapping(_) = entries[index].value.value else { return None };
    let message =
        format!("unknown field {key:?}; did you mean metadata? as written, the object has no name");
    let issue = error(entries[index].at, key, message);
    let mut entries = entries.clone();
    let renamed = Entry { key: "metadata".to_owned(), ..entries.swap_remove(index) };
    entries.push(renamed);
    Some((Node { at: node.at, value: Value::Mapping(entries) }, issue))
}
