//! Positioned nodes to typed objects, with every mistake reported.
//!
//! In: a [`Node`] and any type that k8s-openapi can deserialize.
//! Out: the object; an [`Issue`] with a position for each field that is unknown,
//! repeated or of the wrong type; the [`Unreadable`] fields.
//! Never: a stop at the first mistake. A value of the wrong type is reported and
//! replaced by an empty one of the right type, so `convert` checks
//! [`Unreadable`] before it trusts a value.
//!
//! For each struct, k8s-openapi gives the deserializer its name and the names of
//! its fields (`deserialize_struct`). This finds unknown fields in all kinds.
//!
//! ```text
//! Node -> cursor: a node with its field path, and where to report
//!           |
//!           +-- deserializer: serde's methods, one for each shape of value
//!           +-- access: the entries and items inside
//!           +-- hints: messages about mistakes        --> log: issues, unreadable fields
//!
//! token -> plain: the same object without a tree, if nothing is wrong with it
//! ```

mod access;
mod any;
mod cursor;
mod deserializer;
mod field_path;
pub(crate) mod hints;
mod log;
pub(crate) mod node;
mod plain;
pub(crate) mod token;
mod unreadable;

use k8s_openapi::serde::de::Deserialize;
use policy::Severity;

use cursor::Cursor;
use field_path::FieldPath;
pub(crate) use log::Issue;
use log::Log;
use node::Node;
pub(crate) use plain::plain;
pub(crate) use unreadable::Unreadable;

/// The result of decoding.
pub(crate) struct Decoded<T> {
    pub object: T,
    pub issues: Vec<Issue>,
    pub unreadable: Unreadable,
}

/// Decodes an object. If this is impossible, the result is the default with an
/// issue.
pub(crate) fn decode<T: for<'de> Deserialize<'de> + Default>(node: &Node) -> Decoded<T> {
    let log = Log::default();
    let object = T::deserialize(Cursor { node, at: node.at, path: &FieldPath::Root, log: &log });
    let object = object.unwrap_or_else(|error| {
        log.report(Severity::Error, node.at, &FieldPath::Root, format!("cannot be read: {error}"));
        T::default()
    });
    let Log { issues, unreadable } = log;
    Decoded { object, issues: issues.into_inner(), unreadable: unreadable.into_inner() }
}
