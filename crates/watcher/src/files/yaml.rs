//! YAML and JSON text to positioned nodes.
//!
//! In: events of a text (JSON is YAML).
//! Out: a [`Node`], or the first syntax error.
//! Never: unlimited recursion or memory. Nesting and the expansion of aliases
//! have a limit.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, ScalarStyle, Tag};

use super::events::{Events, Placed};
use super::{scalar, unread};
use crate::decode::node::{Entry, Node, Position, Value};

/// The deepest nesting of lists and objects. The API's types need about 20.
pub(super) const DEPTH_MAX: usize = 100;
/// The number of nodes to which all anchors and aliases of a document may expand.
/// A text counts as one node for every 32 bytes.
const ALIASED_MAX: usize = 200_000;

/// The number of values in one object. API servers refuse requests of more than
/// 3 MB (k8s.io/apiserver v0.36 pkg/server/config.go, `MaxRequestBodyBytes`). A
/// value of an object that they accept takes more than three bytes.
pub(super) const VALUES_MAX: usize = 1_000_000;

/// Why a text could not be read to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SyntaxError {
    pub at: Position,
    pub message: String,
    /// Whether the text is valid YAML, but beyond a limit or not an API object.
    pub is_yaml: bool,
}

/// The size of a node.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// The number of nodes in it. A long text counts as several.
    size: usize,
    /// Levels below it.
    height: usize,
}

pub(super) type Outcome<T> = Result<T, SyntaxError>;

/// Builds nodes from events.
pub(super) struct Builder<'a> {
    pub events: Events<'a>,
    /// Finished nodes by anchor.
    anchors: HashMap<usize, (Node, Extent)>,
    /// The nodes to which anchors and aliases have expanded so far.
    aliased: usize,
    /// The values of the present object so far.
    values: usize,
}

impl<'a> Builder<'a> {
    pub(super) fn new(events: Events<'a>) -> Self {
        Self { events, anchors: HashMap::new(), aliased: 0, values: 0 }
    }

    /// Begins a document. It knows no anchor of the one before.
    pub(super) fn begin(&mut self) {
        self.anchors.clear();
        self.aliased = 0;
    }

    /// The next value, a document or an item inside of this many lists and objects.
    pub(super) fn value(&mut self, depth: usize) -> Outcome<Node> {
        self.values = 0;
        let first = self.events.next()?;
        self.node(first, depth).map(|(node, _)| node)
    }

    /// The node that begins with an event.
    pub(super) fn node(
        &mut self,
        (event, at): Placed<'a>,
        depth: usize,
    ) -> Outcome<(Node, Extent)> {
        check_depth(depth, at)?;
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(fault(at, format!("an object has more than {VALUES_MAX} values")));
        }
        let (value, extent, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let extent = Extent { size: 1 + text.len() / 32, height: 0 };
                (scalar_value(text, style, tag), extent, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let (items, extent) = self.sequence(depth)?;
                (Value::Sequence(items), extent, anchor)
            }
            Event::MappingStart(anchor, _) => {
                let (entries, extent) = self.mapping(depth)?;
                (Value::Mapping(entries), extent, anchor)
            }
            Event::Alias(anchor) => return self.alias(anchor, at, depth),
            // No value begins with any other event.
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(fault(at, "a value is missing".to_owned())),
        };
        let node = Node { at, value };
        if anchor > 0 {
            self.count(extent.size, at)?;
            self.anchors.insert(anchor, (node.clone(), extent));
        }
        Ok((node, extent))
    }

    fn sequence(&mut self, depth: usize) -> Outcome<(Vec<Node>, Extent)> {
        let mut items = Vec::new();
        let mut extent = Extent { size: 1, height: 1 };
        loop {
            let event = self.events.next()?;
            if event.0 == Event::SequenceEnd {
                return Ok((items, extent));
            }
            let (item, inner) = self.node(event, depth + 1)?;
            extent.add(inner);
            items.push(item);
        }
    }

    fn mapping(&mut self, depth: usize) -> Outcome<(Vec<Entry>, Extent)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut extent = Extent { size: 1, height: 1 };
        let mut has_merged = false;
        loop {
            let event = self.events.next()?;
            if event.0 == Event::MappingEnd {
                let entries = if has_merged { without_overridden(entries) } else { entries };
                return Ok((entries, extent));
            }
            let merges =
                matches!(&event.0, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let (key, key_extent) = self.node(event, depth + 1)?;
            let event = self.events.next()?;
            let (value, inner) = self.field(&key, event, depth + 1)?;
            extent.add(key_extent);
            extent.add(inner);
            if merges {
                has_merged = true;
                entries.append(&mut merged(value)?);
            } else {
                entries.push(entry(key, value)?);
            }
        }
    }

    /// The value of a field.
    fn field(&mut self, key: &Node, begins: Placed<'a>, depth: usize) -> Outcome<(Node, Extent)> {
        let Some(value) = unread::without_content(&key.value, &begins.0) else {
            return self.node(begins, depth);
        };
        let at = begins.1;
        check_depth(depth, at)?;
        self.pass_over()?;
        Ok((Node { at, value }, Extent { size: 1, height: 1 }))
    }

    fn alias(&mut self, anchor: usize, at: Position, depth: usize) -> Outcome<(Node, Extent)> {
        let Some((node, extent)) = self.anchors.get(&anchor) else {
            return Err(fault(at, "this alias is inside the value that it refers to".to_owned()));
        };
        let extent = *extent;
        check_depth(depth + extent.height, at)?;
        let node = node.clone();
        self.count(extent.size, at)?;
        Ok((node, extent))
    }

    fn count(&mut self, size: usize, at: Position) -> Outcome<()> {
        self.aliased += size;
        if self.aliased <= ALIASED_MAX {
            return Ok(());
        }
        let message = format!(
            "anchors and aliases of this document expand to more than {ALIASED_MAX} values"
        );
        Err(fault(at, message))
    }
}

fn scalar_value(text: Cow<'_, str>, style: ScalarStyle, tag: Option<Cow<'_, Tag>>) -> Value {
    let core = tag.as_ref().filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
    match (core, &tag) {
        (Some("str" | "binary"), _) => Value::String(text.into_owned()),
        (Some("int" | "float" | "bool" | "null"), _) => scalar::resolve(&text),
        // The library behind kubectl reads a value with a custom tag as text.
        (_, Some(_)) => Value::String(text.into_owned()),
        (_, None) if style == ScalarStyle::Plain => scalar::resolve(&text),
        (_, None) => Value::String(text.into_owned()),
    }
}

/// A field. Its key is converted to text as sigs.k8s.io/yaml does.
fn entry(key: Node, value: Node) -> Outcome<Entry> {
    let at = key.at;
    let (key, written) = match key.value {
        Value::String(text) => (text, None),
        Value::Bool { value, text } => (value.to_string(), Some(text)),
        Value::Int { value, text } => (value.to_string(), Some(text)),
        Value::Float { text, .. } => (text.clone(), Some(text)),
        Value::Null => return Err(fault(at, "a field has no name before its ':'".to_owned())),
        Value::Sequence(_) | Value::Mapping(_) => {
            let message = "a field's name must be text, not a list or an object";
            return Err(fault(at, message.to_owned()));
        }
    };
    let written = written.filter(|written| *written != key);
    Ok(Entry { key, written, at, value, merged: false })
}

/// The entries of `<<: *anchor` or `<<: [*one, *two]`. Of equal keys the first one
/// counts.
fn merged(value: Node) -> Outcome<Vec<Entry>> {
    let no_object = |at| fault(at, "'<<' merges objects, and this is not one".to_owned());
    let sources = match value.value {
        Value::Mapping(_) => vec![value],
        Value::Sequence(items) => items,
        _ => return Err(no_object(value.at)),
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen = HashSet::new();
    for source in sources {
        let Value::Mapping(more) = source.value else { return Err(no_object(source.at)) };
        // Of equal keys in one object the last one counts.
        let new = last_of_each(more).filter(|entry| seen.insert(entry.key.clone()));
        entries.extend(new.map(|entry| Entry { merged: true, ..entry }));
    }
    Ok(entries)
}

/// Without the merged entries of keys that come again: of equal keys the last one
/// counts, in the order in which keys and `<<` are written. So kubectl reads it
/// (go.yaml.in/yaml/v2 decode.go, `mapping`). A key that is written before `<<` and
/// loses against it stays, for the report.
fn without_overridden(entries: Vec<Entry>) -> Vec<Entry> {
    let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
    for (place, entry) in entries.iter().enumerate() {
        places.insert(entry.key.clone(), place);
    }
    let is_kept = |(place, entry): &(usize, Entry)| !entry.merged || places[&entry.key] == *place;
    entries.into_iter().enumerate().filter(is_kept).map(|(_, entry)| entry).collect()
}

/// The last entry of each key.
fn last_of_each(entries: Vec<Entry>) -> impl Iterator<Item = Entry> {
    let mut seen = HashSet::new();
    let mut kept: Vec<Entry> =
        entries.into_iter().rev().filter(|entry| seen.insert(entry.key.clone())).collect();
    kept.reverse();
    kept.into_iter()
}

impl Extent {
    /// Adds a node one level below.
    fn add(&mut self, inner: Self) {
        self.size += inner.size;
        self.height = self.height.max(inner.height + 1);
    }
}

fn check_depth(depth: usize, at: Position) -> Outcome<()> {
    if depth > DEPTH_MAX {
        return Err(fault(at, format!("values are nested more than {DEPTH_MAX} levels deep")));
    }
    Ok(())
}

pub(super) fn fault(at: Position, message: String) -> SyntaxError {
    SyntaxError { at, message, is_yaml: true }
}
