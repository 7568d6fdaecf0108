//! One document to objects: find its kind, decode, convert.
//!
//! In: a positioned node, or the tokens of an object in which nothing is wrong.
//! Out: converted objects with the locations of their names, and findings.
//! Never: a comparison of two objects. `review` does that.

pub(super) mod document_type;
mod plain;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::serde::de::Deserialize;
use k8s_openapi::{Metadata, Resource};
use policy::{Diagnostic, ObjectKey, Severity};

use super::finding::{Finding, Location};
use super::findings::{self, Findings};
use super::review::Pods;
use super::validation::Validation;
use super::written::Kept;
use crate::convert;
use crate::decode::node::{Entry, Node, Position, Value, shorten};
use crate::decode::{self, Decoded, Issue, Unreadable, hints};
use crate::{Kind, Object};
use document_type::DocumentType;

/// The namespace of an object without one, as for `kubectl apply`.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// Maps positions in a parsed text to lines of its file.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub file: &'a Arc<str>,
    /// Lines of the file before the parsed text.
    pub lines_before: usize,
    /// Characters before it in its first line.
    pub columns_before: usize,
    /// A line of that text that is not in the file.
    pub inserted: Option<usize>,
    /// The last line of the file. The parser reports its end one line later.
    pub last_line: usize,
}

/// An object that was read.
pub(super) struct ReadObject {
    pub object: Object,
    pub place: Place,
    /// Whether it can be used. If not, it still counts as a duplicate.
    pub usable: bool,
}

/// A place in a file, for each object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

/// Reads documents and collects objects and findings.
#[derive(Default)]
pub(super) struct Reader {
    pub validation: Validation,
    /// Whether every document is read as a tree. Only tests ask for that.
    pub only_trees: bool,
    /// The namespace of objects that name none.
    pub namespace: Option<Arc<str>>,
    /// Whether a pod without an address is a mistake.
    pub pods: Pods,
    /// What is kept of trees for policies' authors; nothing for those who enforce.
    pub kept: Option<Kept>,
    pub found: Vec<ReadObject>,
    pub findings: Findings,
    pub counts: Counts,
}

/// How objects were read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Without a tree.
    pub plain: usize,
    /// From a tree, those of a list one by one.
    pub trees: usize,
}

/// What a reader had collected at a moment.
pub(super) struct Mark {
    found: usize,
    findings: findings::Mark,
    kept: (usize, usize, usize),
}

impl Place {
    pub(super) fn location(&self) -> Location {
        let Self { file, line, column } = self;
        Location { file: file.to_string(), line: *line, column: *column }
    }
}

impl Origin<'_> {
    pub(super) fn location(&self, at: Position) -> Location {
        self.place(at).location()
    }

    fn place(&self, at: Position) -> Place {
        let shift = usize::from(self.inserted.is_some_and(|inserted| at.line > inserted));
        let line = (self.lines_before + at.line - shift).min(self.last_line);
        let before = if at.line == 1 { self.columns_before } else { 0 };
        Place { file: Arc::clone(self.file), line, column: before + at.column }
    }
}

/// Which object a finding is about.
#[derive(Clone, Default)]
struct Subject {
    kind: String,
    object: Option<ObjectKey>,
}

impl Reader {
    /// This moment.
    pub(super) fn mark(&self) -> Mark {
        let kept = self.kept.as_ref().map(Kept::mark).unwrap_or_default();
        Mark { found: self.found.len(), findings: self.findings.mark(), kept }
    }

    /// Forgets what was collected since.
    pub(super) fn rollback(&mut self, mark: &Mark) {
        self.found.truncate(mark.found);
        self.findings.rollback(&mark.findings);
        if let Some(kept) = &mut self.kept {
            kept.rollback(mark.kept);
        }
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// Reads a document: an object, or a list of objects.
    pub(super) fn document(&mut self, node: &Node, place: Origin<'_>) {
        self.object(node, None, place);
    }

    /// Reads an object. An item of a typed list may leave out its kind.
    pub(super) fn object(&mut self, node: &Node, listed: Option<Kind>, place: Origin<'_>) {
        self.counts.trees += 1;
        let (document_type, mut issues) = document_type::of(node, listed);
        let namespace = self.namespace.clone();
        let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        if let Some(kept) = &mut self.kept
            && !matches!(document_type, DocumentType::List(_))
        {
            let is_known = kept.related(node, namespace, place);
            if document_type::is_no_object(node) {
                return kept.skip(node, place);
            }
            let is_missed = !is_known && !document_type::is_of_no_interest(node);
            if document_type == DocumentType::Other {
                issues.retain(|issue| issue.severity == Severity::Error || is_missed);
                for issue in issues.iter_mut().filter(|one| one.severity == Severity::Warning) {
                    issue.message =
                        "is not read: answers are about NetworkPolicies alone".to_owned();
                }
            }
        }
        let subject = subject(node, &document_type, namespace);
        for issue in issues {
            let Issue { at, severity, field, message } = issue;
            self.report(place, at, &subject, severity, field, message);
        }
        match document_type {
            DocumentType::Object(Kind::NetworkPolicy) => {
                self.typed(node, place, convert::network_policy_with, |policy| {
                    Object::NetworkPolicy(Arc::new(policy))
                });
            }
            DocumentType::Object(Kind::Pod) => {
                self.typed(node, place, convert::pod_with, |pod| Object::Pod(Arc::new(pod)));
            }
            DocumentType::Object(Kind::Namespace) => {
                self.typed(node, place, convert::namespace_with, |namespace| {
                    Object::Namespace(Arc::new(namespace.with_metadata_name()))
                });
            }
            DocumentType::Object(Kind::MultiNetworkPolicy) => {
                let node = convert::without_type(node);
                self.typed_as(
                    (Kind::MultiNetworkPolicy, &node),
                    place,
                    convert::multi_network_policy_with,
                    |policy| Object::MultiNetworkPolicy(Arc::new(policy)),
                );
            }
            DocumentType::List(listed) => self.list(node, listed, place, &subject),
            DocumentType::Other => {}
        }
    }

    fn list(&mut self, node: &Node, listed: Option<Kind>, place: Origin<'_>, subject: &Subject) {
        const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "items"];
        let Value::Mapping(entries) = &node.value else { return };
        for entry in entries.iter().filter(|entry| !FIELDS.contains(&entry.key.as_str())) {
            let message = hints::unknown_field("List", &FIELDS, &FIELDS, entry, node);
            self.report(place, entry.at, subject, Severity::Error, entry.key.clone(), message);
        }
        match node.entry("items") {
            None => {
                let message = "is missing".to_owned();
                self.report(place, node.at, subject, Severity::Error, "items".to_owned(), message);
            }
            Some(Entry { value: Node { value: Value::Sequence(items), .. }, .. }) => {
                for item in items {
                    self.object(item, listed, place);
                }
            }
            Some(Entry { value: Node { value: Value::Null, .. }, .. }) => {}
            Some(entry) => {
                let message = hints::not_a_list(&entry.value.value);
                self.report(place, entry.at, subject, Severity::Error, "items".to_owned(), message);
            }
        }
    }

    /// Decodes and converts an object of a known kind.
    fn typed<T, M>(
        &mut self,
        node: &Node,
        place: Origin<'_>,
        convert: impl Fn(&T, &Unreadable) -> (M, Vec<Diagnostic>),
        wrap: impl Fn(M) -> Object,
    ) where
        T: for<'de> Deserialize<'de> + Default + Resource + Metadata<Ty = ObjectMeta>,
    {
        if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == T::KIND) {
            self.typed_as((kind, node), place, convert, wrap);
        }
    }

    fn typed_as<T, M>(
        &mut self,
        (kind, node): (Kind, &Node),
        place: Origin<'_>,
        convert: impl Fn(&T, &Unreadable) -> (M, Vec<Diagnostic>),
        wrap: impl Fn(M) -> Object,
    ) where
        T: for<'de> Deserialize<'de> + Default + Resource + Metadata<Ty = ObjectMeta>,
    {
        let renamed = document_type::with_metadata(node);
        let (node, misspelt) = match &renamed {
            Some((renamed, issue)) => (renamed, Some(issue)),
            None => (node, None),
        };
        let Decoded { mut object, issues, unreadable } = decode::decode::<T>(node);
        let is_namespace = place_in(&mut object, self.namespace());
        let (converted, diagnostics) = convert(&object, &unreadable);
        let object = wrap(converted);
        let key = object.key();
        let subject = Subject { kind: kind.name().to_owned(), object: Some(key.clone()) };
        if let Some(issue) = misspelt {
            let (field, message) = (issue.field.clone(), issue.message.clone());
            self.report(place, issue.at, &subject, Severity::Error, field, message);
        }
        for issue in issues {
            let Issue { at, severity, field, message } = issue;
            self.report(place, at, &subject, severity, field, message);
        }
        for diagnostic in diagnostics {
            let diagnostic = self.judged(diagnostic);
            let Diagnostic { severity, field, message, .. } = diagnostic;
            self.report(place, node.locate(&field), &subject, severity, field, message);
        }
        let is_known = ["metadata", "metadata.name", "metadata.namespace"]
            .iter()
            .all(|field| !unreadable.contains(field))
            && convert::is_addressable(&key.name)
            && (is_namespace || convert::is_addressable(&key.namespace));
        let usable = misspelt.is_none() && is_known;
        let at = node.locate("metadata.name");
        if !usable && self.validation == Validation::Warn {
            let message = "is left out: it has no usable name".to_owned();
            self.report(place, at, &subject, Severity::Error, String::new(), message);
        }
        if let Some(kept) = self.kept.as_mut().filter(|_| usable) {
            kept.object(kind.name(), &key, node, place);
        }
        if convert::is_addressable(&key.name) {
            self.found.push(ReadObject { object, place: place.place(at), usable });
        }
    }

    /// What a warning is where the API server refuses new objects for it.
    fn judged(&self, diagnostic: Diagnostic) -> Diagnostic {
        if self.validation != Validation::Strict || !convert::is_refused_when_new(&diagnostic) {
            return diagnostic;
        }
        let message =
            diagnostic.message + " (API servers refuse new ones like it from Kubernetes 1.36 on)";
        Diagnostic { severity: Severity::Error, message, ..diagnostic }
    }

    fn report(
        &mut self,
        place: Origin<'_>,
        at: Position,
        subject: &Subject,
        severity: Severity,
        field: String,
        message: String,
    ) {
        let location = place.location(at);
        let Subject { kind, object } = subject.clone();
        self.findings.push(Finding { location, severity, kind, object, field, message });
    }
}

/// Gives an object without a namespace this one. Returns whether it is a Namespace,
/// which is in none.
fn place_in<T: Resource + Metadata<Ty = ObjectMeta>>(object: &mut T, namespace: &str) -> bool {
    let is_namespace = T::KIND == Kind::Namespace.name();
    let metadata = object.metadata_mut();
    let unnamed = metadata.namespace.as_deref().is_none_or(str::is_empty);
    if unnamed && !is_namespace {
        metadata.namespace = Some(namespace.to_owned());
    }
    is_namespace
}

/// The object of a document, for findings before it is decoded.
fn subject(node: &Node, document_type: &DocumentType, default: &str) -> Subject {
    let text = |node: Option<&Node>| node.and_then(Node::text).map(shorten);
    let metadata = node.get("metadata");
    let name = text(metadata.and_then(|metadata| metadata.get("name")));
    let namespace = text(metadata.and_then(|metadata| metadata.get("namespace")));
    let kind = match document_type {
        DocumentType::Object(kind) => kind.name().to_owned(),
        DocumentType::List(_) | DocumentType::Other => text(node.get("kind")).unwrap_or_default(),
    };
    let namespace = match document_type {
        DocumentType::Object(Kind::NetworkPolicy | Kind::Pod | Kind::MultiNetworkPolicy) => {
            namespace.unwrap_or_else(|| default.to_owned())
        }
        DocumentType::Object(Kind::Namespace) => String::new(),
        DocumentType::List(_) | DocumentType::Other => namespace.unwrap_or_default(),
    };
    Subject { kind, object: name.map(|name| ObjectKey::new(namespace, name)) }
}
