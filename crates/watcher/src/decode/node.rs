//! A YAML or JSON value with the position of each of its parts.
//!
//! The sources build it; `decode` turns it into typed objects. A field path gives
//! the position of a field for a message.

/// A place in a text. Both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub line: usize,
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub at: Position,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool { value: bool, text: String },
    Int { value: i64, text: String },
    Float { value: f64, text: String },
    String(String),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A key with its value. If a key occurs twice, the later one counts, as for the
/// API server, and decoding reports it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: String,
    /// How the key is written, if YAML does not read it as text (`n:` is the key
    /// `false`).
    pub written: Option<String>,
    pub at: Position,
    pub value: Node,
    /// Whether it came from a merge key (`<<`).
    pub merged: bool,
}

impl Value {
    /// The kind of value, for messages.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool { text, .. } => format!("the boolean {text}"),
            Self::Int { text, .. } | Self::Float { text, .. } => format!("the number {text}"),
            Self::String(text) => format!("the text {:?}", shorten(text)),
            Self::Sequence(_) => "a list".to_owned(),
            Self::Mapping(_) => "an object".to_owned(),
        }
    }
}

/// The first characters of a text, for messages.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 64;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl Node {
    /// The position for messages about a value: a scalar's own, else that of its
    /// key.
    pub(crate) fn shown_at(&self, key_at: Position) -> Position {
        match self.value {
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => key_at,
            _ => self.at,
        }
    }

    /// The value of a mapping's key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The last entry of a mapping's key, which is the one that counts.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        let Value::Mapping(entries) = &self.value else { return None };
        entries.iter().rev().find(|entry| entry.key == key)
    }

    /// The text, if the value is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The position of a field path such as `spec.ingress[0].from` or
    /// `metadata.labels[a.b/c]`: of a scalar's value, else of its key. If the path
    /// does not exist, its nearest parent.
    pub(crate) fn locate(&self, path: &str) -> Position {
        let mut node = self;
        let mut at = self.at;
        let mut rest = path;
        while !rest.is_empty() {
            let (segment, after) = next_segment(rest);
            let found = match &node.value {
                Value::Mapping(_) => node.entry(segment).map(|entry| (entry.at, &entry.value)),
                Value::Sequence(items) => segment
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get(index))
                    .map(|item| (item.at, item)),
                _ => None,
            };
            let Some((key_at, value)) = found else { return at };
            at = value.shown_at(key_at);
            node = value;
            rest = after;
        }
        at
    }
}

/// The first key or index of a path, and the rest. Keys in brackets may contain
/// dots; no valid key contains a bracket.
fn next_segment(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('.').unwrap_or(path);
    if let Some(inner) = path.strip_prefix('[') {
        let (key, rest) = inner.split_once(']').unwrap_or((inner, ""));
        return (key, rest);
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    (&path[..end], &path[end..])
}
