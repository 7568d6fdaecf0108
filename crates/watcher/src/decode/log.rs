//! The faults that decoding finds.

use std::cell::RefCell;
use std::fmt;

use policy::Severity;

use super::field_path::FieldPath;
use super::node::Position;
use super::unreadable::Unreadable;

/// A fault found while decoding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Issue {
    pub at: Position,
    pub severity: Severity,
    pub field: String,
    pub message: String,
}

/// Collects faults.
#[derive(Default)]
pub(super) struct Log {
    pub(super) issues: RefCell<Vec<Issue>>,
    pub(super) unreadable: RefCell<Unreadable>,
}

impl Log {
    pub(super) fn report(
        &self,
        severity: Severity,
        at: Position,
        path: &FieldPath<'_>,
        message: String,
    ) {
        let field = path.to_string();
        self.issues.borrow_mut().push(Issue { at, severity, field, message });
    }
}

/// A visitor refused a value; only where no check of ours came first.
#[derive(Debug)]
pub(super) struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl serde::de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}
