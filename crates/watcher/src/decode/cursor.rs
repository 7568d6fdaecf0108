//! A node while serde reads it: the value, its position and field path, and the
//! log for mistakes.

use std::collections::{HashMap, HashSet};

use policy::Severity;

use super::field_path::FieldPath;
use super::hints;
use super::log::Log;
use super::node::{Entry, Node, Position, Value};

/// A node to deserialize from.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub node: &'a Node,
    /// The position for messages.
    pub at: Position,
    pub path: &'a FieldPath<'a>,
    pub log: &'a Log,
}

impl<'a> Cursor<'a> {
    /// Reports a value of the wrong type.
    pub(super) fn wrong(&self, message: String) {
        self.log.report(Severity::Error, self.at, self.path, message);
        self.log.unreadable.borrow_mut().insert(self.path.to_string());
    }

    pub(super) fn warn(&self, message: &str) {
        self.log.report(Severity::Warning, self.at, self.path, message.to_owned());
    }

    /// The entries of an object; `null` has none.
    pub(super) fn entries(&self) -> &'a [Entry] {
        match &self.node.value {
            Value::Mapping(entries) => entries,
            Value::Null => &[],
            other => {
                self.wrong(hints::not_an_object(self.path, other));
                &[]
            }
        }
    }

    /// The items of a list; `null` has none.
    pub(super) fn items(&self) -> &'a [Node] {
        match &self.node.value {
            Value::Sequence(items) => items,
            Value::Null => &[],
            other => {
                self.wrong(hints::not_a_list(other));
                &[]
            }
        }
    }

    /// The last entry of each key. Repeated keys are reported.
    pub(super) fn distinct(&self, child: impl Fn(&'a str) -> FieldPath<'a>) -> Vec<&'a Entry> {
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
                    let (severity, at, message) = match entry.merged {
                        false => {
                            let message = hints::repeated(&entry.key, first.at.line);
                            (Severity::Error, entry.at, message)
                        }
                        true => (Severity::Warning, first.at, hints::OVERRIDDEN.to_owned()),
                    };
                    self.log.report(severity, at, &child(&entry.key), message);
                    kept[place] = entry;
                }
            }
        }
        kept
    }

    /// The known fields of a struct. Unknown ones are reported. An unknown or
    /// repeated field of a policy may have been meant to allow less, so it makes
    /// the part around it unreadable.
    pub(super) fn known(&self, name: &str, fields: &[&str]) -> Vec<&'a Entry> {
        let path = self.path;
        let mut entries = self.distinct(|key| FieldPath::Field(path, key));
        let repeated = is_any_written_twice(self.entries());
        // The source has checked these two fields of the object.
        let is_root = matches!(path, FieldPath::Root);
        entries.retain(|entry| !(is_root && matches!(&*entry.key, "apiVersion" | "kind")));
        let present: HashSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        let missing: Vec<&str> =
            fields.iter().copied().filter(|field| !present.contains(field)).collect();
        entries.retain(|entry| {
            let known = fields.contains(&entry.key.as_str());
            if !known {
                let message = hints::unknown_field(name, fields, &missing, entry, self.node);
                let path = FieldPath::Field(self.path, &entry.key);
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

/// Whether a key is written twice. One that a merge key brings again is not.
fn is_any_written_twice(entries: &[Entry]) -> bool {
    let mut seen = HashSet::new();
    entries.iter().filter(|entry| !entry.merged).any(|entry| !seen.insert(entry.key.as_str()))
}
