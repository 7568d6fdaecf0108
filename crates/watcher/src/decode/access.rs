//! Gives serde the entries of a mapping and the items of a sequence, one by one.

use policy::Severity;
use serde::de::{DeserializeSeed, IntoDeserializer};

use super::cursor::Cursor;
use super::field_path::FieldPath;
use super::hints;
use super::log::Refused;
use super::node::{Entry, Node, Value};

/// The entries of a mapping: fields of a struct, or keys of a map.
pub(super) struct MappingAccess<'a> {
    entries: std::vec::IntoIter<&'a Entry>,
    current: Option<&'a Entry>,
    parent: Cursor<'a>,
    /// Whether the keys are field names of a struct.
    is_struct: bool,
}

impl<'a> MappingAccess<'a> {
    pub(super) fn new(parent: Cursor<'a>, entries: Vec<&'a Entry>, is_struct: bool) -> Self {
        Self { entries: entries.into_iter(), current: None, parent, is_struct }
    }
}

impl<'de> serde::de::MapAccess<'de> for MappingAccess<'_> {
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
            FieldPath::Field(self.parent.path, &entry.key)
        } else {
            FieldPath::Key(self.parent.path, &entry.key)
        };
        let at = Cursor {
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
pub(super) struct SequenceAccess<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
    parent: Cursor<'a>,
}

impl<'a> SequenceAccess<'a> {
    pub(super) fn new(parent: Cursor<'a>, items: &'a [Node]) -> Self {
        Self { items: items.iter().enumerate(), parent }
    }
}

impl<'de> serde::de::SeqAccess<'de> for SequenceAccess<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        let path = FieldPath::Index(self.parent.path, index);
        let at = Cursor { node, at: node.at, path: &path, log: self.parent.log };
        if node.value == Value::Null {
            at.warn("is an empty item, which counts as {}");
        }
        seed.deserialize(at).map(Some)
    }
}
