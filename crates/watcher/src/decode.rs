//! Positioned nodes to typed objects, by serde, with every fault reported.
//!
//! In: a [`Node`] and any type that k8s-openapi can deserialize.
//! Out: the object; an [`Issue`] for each unknown, repeated or mistyped field
//! with its place; the paths of values that were of the wrong type.
//! Never: an end at the first fault. A value of the wrong type is reported and
//! replaced by an empty one of the right type, and whoever converts the object
//! asks `Unreadable` before trusting it.
//!
//! k8s-openapi tells the deserializer of each struct its name and its field
//! names (`deserialize_struct`), so unknown fields are found for all kinds by
//! this one mechanism.

mod access;
mod cursor;
mod deserializer;
mod field_path;
pub(crate) mod hints;
mod log;
pub(crate) mod node;
mod unreadable;

use k8s_openapi::serde::de::Deserialize;
use policy::Severity;

use cursor::Cursor;
use field_path::FieldPath;
pub(crate) use log::Issue;
use log::Log;
use node::Node;
pub(crate) use unreadable::Unreadable;

/// What decoding gave.
pub(crate) struct Decoded<T> {
    pub object: T,
    pub issues: Vec<Issue>,
    pub unreadable: Unreadable,
}

/// Decodes an object. Of one that cannot be had at all, the default stands in
/// and an issue says so.
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
