//! Which fields of an object could not be decoded.

use std::collections::BTreeSet;
use std::ops::Bound;

/// Paths of fields that could not be decoded and were replaced by an empty value.
/// Each has been reported, and makes the part around it unusable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unreadable(BTreeSet<String>);

impl Unreadable {
    /// Adds a field.
    pub(crate) fn insert(&mut self, field: String) {
        self.0.insert(field);
    }

    /// Whether this field, or a field inside it, was unreadable.
    pub(crate) fn touches(&self, field: &str) -> bool {
        self.0
            .range::<str, _>((Bound::Included(field), Bound::Unbounded))
            .take_while(|path| path.starts_with(field))
            .any(|path| matches!(path.as_bytes().get(field.len()), None | Some(b'.' | b'[')))
    }

    /// Whether this very field was unreadable.
    pub(crate) fn contains(&self, field: &str) -> bool {
        self.0.contains(field)
    }
}
