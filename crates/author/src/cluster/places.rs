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
    policies: BTreeMap<ObjectKey, Fields>,
    multi_policies: BTreeMap<ObjectKey, Fields>,
    objects: BTreeMap<(String, ObjectKey), Location>,
    texts: BTreeMap<String, Text>,
}

/// Where each field of a policy was written, by path.
type Fields = BTreeMap<String, Place>;

/// The text of a file.
#[derive(Clone, Debug, Default)]
struct Text {
    text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

/// The bytes of a line that is worth showing. `kubectl get -o json | jq -c` writes a whole
/// cluster on one.
const LINE_MAX: usize = 4096;

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
        let policies = match &*kind {
            "NetworkPolicy" => Some(&mut self.policies),
            "MultiNetworkPolicy" => Some(&mut self.multi_policies),
            _ => None,
        };
        if let Some(policies) = policies {
            // Of two objects with one key the later one counts.
            let place = |Field { path, shown, value, key }| (path, Place { shown, value, key });
            policies.insert(key.clone(), fields.into_iter().map(place).collect());
        }
        self.objects.insert((kind, key), location);
    }

    /// The same, with the MultiNetworkPolicies as the policies.
    #[must_use]
    pub fn of_multi_policies(&self) -> Self {
        Self { policies: self.multi_policies.clone(), ..self.clone() }
    }

    /// Notes the text of a file.
    pub fn note_text(&mut self, file: String, text: String) {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        self.texts.insert(file, Text { text, lines });
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
        self.texts.get(file).map(|text| text.text.as_str())
    }

    /// A line of a file, counted from 1. `None` for one that is too long to be shown.
    pub fn line(&self, file: &str, line: usize) -> Option<&str> {
        let Text { text, lines } = self.texts.get(file)?;
        let rest = &text[*lines.get(line.checked_sub(1)?)?..];
        let end = lines.get(line).map_or(rest.len(), |next| next - (text.len() - rest.len()));
        // The last line break ends the text and begins no line.
        rest[..end].lines().next().filter(|line| line.len() <= LINE_MAX)
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
    fn lines_are_found_as_they_are_split() {
        for text in ["", "a", "a\n", "a\r\nb\n\nc", "\n\n", "a\n\u{e9}b"] {
            let mut places = Places::default();
            places.note_text("f".to_owned(), text.to_owned());
            for number in 0..6usize {
                let expected = number.checked_sub(1).and_then(|at| text.lines().nth(at));
                assert_eq!(places.line("f", number), expected, "{text:?}, {number}");
            }
        }
        let mut places = Places::default();
        places.note_text("f".to_owned(), "x".repeat(LINE_MAX + 1) + "\ny");
        assert_eq!((places.line("f", 1), places.line("f", 2)), (None, Some("y")));
    }

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
