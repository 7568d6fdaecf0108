//! Where objects and their fields were written.
//!
//! In: positions. Out: the position of a field, or of what is around it; a line's text.
//! Never: a file that is read again.

use std::collections::BTreeMap;

use policy::ObjectKey;
use watcher::files::{Field, Location, Written};

/// Where objects and their fields were written.
#[derive(Clone, Debug, Default)]
pub struct Places {
    policies: BTreeMap<ObjectKey, BTreeMap<String, Place>>,
    objects: BTreeMap<(String, ObjectKey), Location>,
    texts: BTreeMap<String, String>,
}

/// Where a field was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where a message points to: a text or number, else the name of the field.
    pub shown: Location,
    /// Where its value begins; a list or object in block style begins with its first item.
    pub value: Location,
    /// Where its name is; items of lists have none.
    pub key: Option<Location>,
}

impl Places {
    /// Notes where a field of a policy was written.
    pub fn note(&mut self, policy: &ObjectKey, field: impl Into<String>, at: Location) {
        let place = Place { shown: at.clone(), value: at, key: None };
        self.policies.entry(policy.clone()).or_default().insert(field.into(), place);
    }

    /// Notes where an object was written, with its fields.
    pub fn note_object(&mut self, written: Written) {
        let Written { kind, key, location, fields } = written;
        if kind == "NetworkPolicy" {
            // Of two objects with one key the later one counts.
            let place = |Field { path, shown, value, key }| (path, Place { shown, value, key });
            self.policies.insert(key.clone(), fields.into_iter().map(place).collect());
        }
        self.objects.insert((kind, key), location);
    }

    /// Notes the text of a file.
    pub fn note_text(&mut self, file: String, text: String) {
        self.texts.insert(file, text);
    }

    /// Where a field of a policy was written, such as `spec.ingress[0].from[1]`, or what
    /// is around it. The empty field is the object.
    pub fn of(&self, policy: &ObjectKey, field: &str) -> Option<&Location> {
        let fields = self.policies.get(policy)?;
        let mut field = field;
        loop {
            if let Some(place) = fields.get(field) {
                return Some(&place.shown);
            }
            if field.is_empty() {
                return None;
            }
            field = &field[..field.rfind(['.', '[']).unwrap_or(0)];
        }
    }

    /// Where this very field of a policy was written.
    pub fn field(&self, policy: &ObjectKey, field: &str) -> Option<&Place> {
        self.policies.get(policy)?.get(field)
    }

    /// The fields of a policy that were written, by path.
    pub fn fields(&self, policy: &ObjectKey) -> impl Iterator<Item = (&str, &Place)> {
        let fields = self.policies.get(policy).into_iter().flatten();
        fields.map(|(path, place)| (path.as_str(), place))
    }

    /// Where an object's name was written.
    pub fn object(&self, kind: &str, key: &ObjectKey) -> Option<&Location> {
        self.objects.get(&(kind.to_owned(), key.clone()))
    }

    /// The text of a file.
    pub fn text(&self, file: &str) -> Option<&str> {
        self.texts.get(file).map(String::as_str)
    }

    /// A line of a file, counted from 1.
    pub fn line(&self, file: &str, line: usize) -> Option<&str> {
        self.text(file)?.lines().nth(line.checked_sub(1)?)
    }

    /// The files that were read.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_was_not_noted_is_where_its_parent_is() {
        let key = ObjectKey::new("dev", "p");
        let at = |line| Location { file: "p.yaml".to_owned(), line, column: 1 };
        let mut places = Places::default();
        places.note(&key, "", at(1));
        places.note(&key, "spec.ingress[0]", at(7));
        assert_eq!(places.of(&key, "spec.ingress[0].from[1].podSelector"), Some(&at(7)));
        assert_eq!(places.of(&key, "spec.egress[0]"), Some(&at(1)));
        assert_eq!(places.of(&ObjectKey::new("dev", "q"), ""), None);
    }
}
