//! What is wrong with an object, for the person who wrote it.

use std::fmt;

use crate::ObjectKey;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but is probably not what was meant, or has less effect than it
    /// seems.
    Warning,
    /// A part that cannot be used. It allows nothing.
    Error,
}

/// A finding about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// `NetworkPolicy`, `Pod`, `Namespace`.
    pub kind: &'static str,
    /// Which object; a cluster-scoped one has an empty namespace.
    pub object: ObjectKey,
    /// The field, as the API server names it: `spec.ingress[0].from[1]`.
    /// Empty when the whole object is meant.
    pub field: String,
    /// What is wrong and what to do, lower case, without a full stop.
    pub message: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// `error: NetworkPolicy dev/web: spec.ingress[0]: ...`
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, kind, object, field, message } = self;
        write!(f, "{severity}: {kind} ")?;
        if object.namespace.is_empty() {
            f.write_str(&object.name)?;
        } else {
            object.fmt(f)?;
        }
        if !field.is_empty() {
            write!(f, ": {field}")?;
        }
        write!(f, ": {message}")
    }
}
