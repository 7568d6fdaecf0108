//! Field paths as the API server writes them.
//!
//! In: fields, keys and indices from the root down.
//! Out: text such as `spec.ingress[0].from`.
//! Never: an allocation, unless a path is shown.

use std::fmt;

/// A path from the object's root; each part refers to its parent.
#[derive(Clone, Copy)]
pub(super) enum FieldPath<'a> {
    Root,
    /// A field of a struct: `.name`.
    Field(&'a FieldPath<'a>, &'a str),
    /// A key of a map: `[key]`.
    Key(&'a FieldPath<'a>, &'a str),
    /// An item of a list: `[0]`.
    Index(&'a FieldPath<'a>, usize),
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Key(parent, key) => write!(f, "{parent}[{key}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
