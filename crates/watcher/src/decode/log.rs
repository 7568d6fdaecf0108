//! Collects the mistakes that decoding finds.

use std::cell::RefCell;
use std::fmt;

use policy::Severity;

use super::field_path::FieldPath;
use super::node::Position;
use super::unreadable::Unreadable;

/// A mistake in an object, and its position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Issue {
    pub at: Position,
    pub severity: Severity,
    pub field: String,
    pub message: String,
}

/// The mistakes found so far.
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

/// A visitor refused a value that none of our own checks found wrong.
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
