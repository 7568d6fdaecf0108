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

mod value;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt;

use k8s_openapi::serde;
use policy::Severity;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IntoDeserializer};

use super::hints;
use super::node::{Entry, Node, Position, Value};
use super::path::Path;
use crate::convert::Unreadable;

/// A fault found while decoding.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Issue {
    pub at: Position,
    pub severity: Severity,
    pub field: String,
    pub message: String,
}

/// What decoding gave.
pub(super) struct Decoded<T> {
    pub object: T,
    pub issues: Vec<Issue>,
    pub unreadable: Unreadable,
}

/// Decodes an object. Of one that cannot be had at all, the default stands in
/// and an issue says so.
pub(super) fn decode<T: for<'de> Deserialize<'de> + Default>(node: &Node) -> Decoded<T> {
    let log = Log::default();
    let object = T::deserialize(At { node, at: node.at, path: &Path::Root, log: &log });
    let object = object.unwrap_or_else(|error| {
        log.report(Severity::Error, node.at, &Path::Root, format!("cannot be read: {error}"));
        T::default()
    });
    let Log { issues, unreadable } = log;
    Decoded { object, issues: issues.into_inner(), unreadable: unreadable.into_inner() }
}

/// Collects faults.
#[derive(Default)]
struct Log {
    issues: RefCell<Vec<Issue>>,
    unreadable: RefCell<Unreadable>,
}

impl Log {
    fn report(&self, severity: Severity, at: Position, path: &Path<'_>, message: String) {
        let field = path.to_string();
        self.issues.borrow_mut().push(Issue { at, severity, field, message });
    }
}

/// A visitor refused a value; only where no check of ours came first.
#[derive(Debug)]
struct Refused(String);

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

/// A node to deserialize from, and where it stands.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    /// Where to point.
    at: Position,
    path: &'a Path<'a>,
    log: &'a Log,
}

impl<'a> At<'a> {
    /// Reports a value of the wrong type.
    fn wrong(&self, message: String) {
        self.log.report(Severity::Error, self.at, self.path, message);
        self.log.unreadable.borrow_mut().insert(self.path.to_string());
    }

    fn warn(&self, message: &str) {
        self.log.report(Severity::Warning, self.at, self.path, message.to_owned());
    }

    /// The entries of an object, `null` counting as none.
    fn entries(&self) -> &'a [Entry] {
        match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            other => {
                self.wrong(hints::not_an_object(self.path, other));
                &[]
            }
        }
    }

    /// The items of a list, `null` counting as none.
    fn items(&self) -> &'a [Node] {
        match &self.node.value {
            Value::Sequence(items) => items,
            Value::Null => &[],
            other => {
                self.wrong(hints::not_a_list(other));
                &[]
            }
        }
    }

    /// The entries that count, repeated ones reported: the last of a key.
    fn distinct(&self, child: impl Fn(&'a str) -> Path<'a>) -> Vec<&'a Entry> {
        let entries = self.entries();
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(entries.len());
        let mut kept: Vec<&Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(written) = &entry.written {
                let message = hints::key_is_not_text(written, &entry.key);
                self.log.report(Severity::Warning, entry.at, &child(&entry.key), message);
            }
            match places.get(entry.key.as_str()) {
                None => {
                    places.insert(&entry.key, kept.len());
                    kept.push(entry);
                }
                Some(&place) => {
                    let first = kept[place];
                    if !first.merged {
                        let message = hints::repeated(&entry.key, first.at.line);
                        self.log.report(Severity::Error, entry.at, &child(&entry.key), message);
                    }
                    kept[place] = entry;
                }
            }
        }
        kept
    }
}

/// The fields of a struct.
struct Fields<'a> {
    entries: std::vec::IntoIter<&'a Entry>,
    current: Option<&'a Entry>,
    parent: At<'a>,
    /// Whether keys are field names, and not keys of a map.
    is_struct: bool,
}

impl<'a> Fields<'a> {
    fn new(parent: At<'a>, entries: Vec<&'a Entry>, is_struct: bool) -> Self {
        Self { entries: entries.into_iter(), current: None, parent, is_struct }
    }
}

impl<'de> serde::de::MapAccess<'de> for Fields<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        self.current = self.entries.next();
        let Some(entry) = self.current else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let Some(entry) = self.current else {
            return Err(Refused("a value was asked for before its key".to_owned()));
        };
        let path = if self.is_struct {
            Path::Field(self.parent.path, &entry.key)
        } else {
            Path::Key(self.parent.path, &entry.key)
        };
        let at = At {
            node: &entry.value,
            at: entry.value.shown_at(entry.at),
            path: &path,
            log: self.parent.log,
        };
        if entry.value.value == Value::Null
            && let Some(message) =
                hints::without_value(&entry.key, self.is_struct, self.parent.path)
        {
            self.parent.log.report(Severity::Warning, entry.at, &path, message);
        }
        seed.deserialize(at)
    }
}

/// The items of a list.
struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    parent: At<'a>,
}

impl<'de> serde::de::SeqAccess<'de> for Items<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = Path::Index(self.parent.path, index);
        let at = At { node, at: node.at, path: &path, log: self.parent.log };
        if node.value == Value::Null {
            at.warn("is an empty item, which counts as {}");
        }
        seed.deserialize(at).map(Some)
    }
}

impl<'a> At<'a> {
    /// The known fields of a struct, the unknown ones reported. What stands in
    /// an unknown or repeated field of a policy may have been meant to narrow
    /// it, so the part around it is then not to be trusted either.
    fn known(&self, name: &str, fields: &[&str]) -> Vec<&'a Entry> {
        let path = self.path;
        let mut entries = self.distinct(|key| Path::Field(path, key));
        let repeated = entries.len() < self.entries().len();
        // What the object is, `document` has looked at.
        let is_root = matches!(path, Path::Root);
        entries.retain(|entry| !(is_root && matches!(&*entry.key, "apiVersion" | "kind")));
        let present: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let missing: Vec<&str> =
            fields.iter().copied().filter(|field| !present.contains(field)).collect();
        entries.retain(|entry| {
            let known = fields.contains(&entry.key.as_str());
            if !known {
                let message = hints::unknown_field(name, fields, &missing, entry, self.node);
                let path = Path::Field(self.path, &entry.key);
                self.log.report(Severity::Error, entry.at, &path, message);
            }
            known
        });
        let unknown = entries.len() < present.len();
        if (repeated || unknown) && !is_root && hints::is_part_of_a_policy(name) {
            self.log.unreadable.borrow_mut().insert(self.path.to_string());
        }
        entries
    }
}
