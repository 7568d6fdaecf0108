//! Collects the diagnostics of one object while it is converted.
//!
//! In: field paths with messages, and the fields that could not be decoded.
//! Out: diagnostics.
//! Never: a second error about a field that decoding has reported.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use policy::{Diagnostic, ObjectKey, Severity};

use crate::Kind;
use crate::decode::Unreadable;

/// The diagnostics of one object.
pub(super) struct Report<'a> {
    kind: &'static str,
    object: ObjectKey,
    unreadable: &'a Unreadable,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    /// An empty report about the object with this metadata.
    pub(super) fn new(kind: Kind, metadata: &ObjectMeta, unreadable: &'a Unreadable) -> Self {
        let namespace = match kind {
            Kind::NetworkPolicy | Kind::Pod | Kind::MultiNetworkPolicy => {
                metadata.namespace.clone().unwrap_or_default()
            }
            Kind::Namespace => String::new(),
        };
        let object = ObjectKey::new(namespace, metadata.name.clone().unwrap_or_default());
        Self { kind: kind.name(), object, unreadable, diagnostics: Vec::new() }
    }

    /// Namespace and name.
    pub(super) fn object(&self) -> &ObjectKey {
        &self.object
    }

    /// Adds an error, unless decoding has already reported this field.
    pub(super) fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let field = field.into();
        if !self.unreadable.contains(&field) {
            self.push(Severity::Error, field, message.into());
        }
    }

    /// Adds a warning: the field is valid, but probably not meant like this.
    pub(super) fn warning(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.push(Severity::Warning, field.into(), message.into());
    }

    /// Whether this field, or a field inside it, was replaced by an empty value.
    pub(super) fn is_unreadable(&self, field: &str) -> bool {
        self.unreadable.touches(field)
    }

    /// Whether this very field was replaced by an empty value.
    pub(super) fn is_replaced(&self, field: &str) -> bool {
        self.unreadable.contains(field)
    }

    /// All diagnostics, in the order in which they were added.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    fn push(&mut self, severity: Severity, field: String, message: String) {
        let (kind, object) = (self.kind, self.object.clone());
        self.diagnostics.push(Diagnostic { severity, kind, object, field, message });
    }
}
