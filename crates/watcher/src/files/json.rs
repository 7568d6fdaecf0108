//! JSON text to the events that the YAML parser gives for it.
//!
//! In: a text.
//! Out: the same events at the same positions, if the text is JSON (RFC 8259) and
//! YAML 1.2.2 means the same by it.
//! Never: a message about a mistake. [`NotJson`] sends the caller to the YAML
//! parser, which reads JSON, too. But it holds a whole `[...]` or `{...}` in memory
//! before it gives the first event (saphyr-parser 0.3.4 scanner.rs,
//! `stale_simple_keys`: a collection may turn out to be a key).
//!
//! `metadata.managedFields` is null here. Nobody reads it, and whoever writes an object
//! chooses how deep it is (`kubectl get -o json --show-managed-fields`).

mod words;

use std::borrow::Cow;

use saphyr_parser::{Event, ScalarStyle};

use super::events::Placed;
use super::yaml::DEPTH_MAX;
use crate::decode::node::Position;
use words::{escaped, is_number, is_the_same_in_yaml};

/// The text is something else, or YAML may mean something else by it.
#[derive(Debug)]
pub(super) struct NotJson;

/// The text after what was read.
pub(super) struct Json<'a> {
    rest: &'a str,
    at: Position,
    /// The open lists and objects.
    open: Vec<Open>,
    next: Next,
    /// The key before the value that comes next.
    key: Key,
    /// Nothing of what is read is told.
    skips: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    List,
    Object { is_metadata: bool },
}

/// What is known of a key.
#[derive(Clone, Copy, PartialEq)]
enum Key {
    Metadata,
    ManagedFields,
    Other,
}

impl Key {
    fn of(event: &Event<'_>) -> Self {
        match event {
            Event::Scalar(text, ..) if text == "metadata" => Self::Metadata,
            Event::Scalar(text, ..) if text == "managedFields" => Self::ManagedFields,
            _ => Self::Other,
        }
    }
}

/// What comes next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Document,
    Value,
    /// The first item or key of a list or an object, or its end.
    First,
    /// A comma, or the end of a list or an object.
    Comma,
    Colon,
    DocumentEnd,
    StreamEnd,
}

impl<'a> Json<'a> {
    /// The events of a text, if it looks like an object in JSON.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let is_object = text.trim_start_matches([' ', '\n']).starts_with('{');
        let at = Position { line: 1, column: 1 };
        let (open, next, key) = (Vec::new(), Next::Document, Key::Other);
        is_object.then_some(Self { rest: text, at, open, next, key, skips: false })
    }

    /// The next event.
    ///
    /// # Errors
    /// The text is not JSON. What was read before may mean something else.
    pub(super) fn event(&mut self) -> Result<Placed<'a>, NotJson> {
        self.skip_space();
        let at = self.at;
        let event = match self.next {
            Next::Document => {
                self.next = Next::Value;
                Event::DocumentStart(false)
            }
            Next::Value => self.value()?,
            Next::First => match self.end() {
                Some(event) => event,
                None => self.item()?,
            },
            Next::Comma => match self.end() {
                Some(event) => event,
                None => {
                    self.expect(',')?;
                    self.skip_space();
                    let at = self.at;
                    return Ok((self.item()?, at));
                }
            },
            Next::Colon => {
                self.expect(':')?;
                self.next = Next::Value;
                return self.event();
            }
            Next::DocumentEnd if self.rest.is_empty() => {
                self.next = Next::StreamEnd;
                Event::DocumentEnd
            }
            Next::DocumentEnd => return Err(NotJson),
            Next::StreamEnd => Event::StreamEnd,
        };
        Ok((event, at))
    }

    /// The end of the innermost list or object, if it is here.
    fn end(&mut self) -> Option<Event<'a>> {
        let (close, event) = match self.open.last()? {
            Open::List => (']', Event::SequenceEnd),
            Open::Object { .. } => ('}', Event::MappingEnd),
        };
        self.expect(close).ok()?;
        self.open.pop();
        self.after_value();
        Some(event)
    }

    /// An item of a list, or a key.
    fn item(&mut self) -> Result<Event<'a>, NotJson> {
        match self.open.last() {
            Some(Open::Object { .. }) => {
                let key = self.string()?;
                self.key = Key::of(&key);
                // YAML has its own rules for a key on a line of its own.
                self.skip_blanks();
                self.next = Next::Colon;
                if self.rest.starts_with(':') { Ok(key) } else { Err(NotJson) }
            }
            Some(Open::List) => {
                self.key = Key::Other;
                self.value()
            }
            None => Err(NotJson),
        }
    }

    fn value(&mut self) -> Result<Event<'a>, NotJson> {
        let in_metadata = self.open.last() == Some(&Open::Object { is_metadata: true });
        if in_metadata && self.key == Key::ManagedFields && !self.skips {
            return self.skip_value();
        }
        let open = match self.rest.as_bytes().first().ok_or(NotJson)? {
            b'{' => Open::Object { is_metadata: self.key == Key::Metadata },
            b'[' => Open::List,
            b'"' => {
                self.after_value();
                return self.string();
            }
            _ => {
                self.after_value();
                return self.word();
            }
        };
        self.advance(1);
        self.open.push(open);
        self.next = Next::First;
        if self.open.len() > DEPTH_MAX && !self.skips {
            return Err(NotJson);
        }
        Ok(match open {
            Open::Object { .. } => Event::MappingStart(0, None),
            Open::List => Event::SequenceStart(0, None),
        })
    }

    /// Reads a value, whatever it is, and tells null instead.
    fn skip_value(&mut self) -> Result<Event<'a>, NotJson> {
        let depth = self.open.len();
        self.skips = true;
        self.value()?;
        while self.open.len() > depth {
            self.event()?;
        }
        self.skips = false;
        Ok(Event::Scalar(Cow::Borrowed("null"), ScalarStyle::Plain, 0, None))
    }

    fn after_value(&mut self) {
        self.next = if self.open.is_empty() { Next::DocumentEnd } else { Next::Comma };
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<Event<'a>, NotJson> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let length = self.rest.bytes().take_while(|&byte| is_part(byte)).count();
        let text = &self.rest[..length];
        let ends = matches!(
            self.rest.as_bytes().get(length),
            Some(b',' | b'}' | b']' | b' ' | b'\r' | b'\n')
        );
        let is_word = matches!(text, "true" | "false" | "null") || is_number(text);
        if !ends || !is_word {
            return Err(NotJson);
        }
        self.advance(length);
        Ok(Event::Scalar(Cow::Borrowed(text), ScalarStyle::Plain, 0, None))
    }

    fn string(&mut self) -> Result<Event<'a>, NotJson> {
        self.expect('"')?;
        let mut owned: Option<String> = None;
        let text = loop {
            let length = self.rest.find(['"', '\\']).ok_or(NotJson)?;
            let piece = &self.rest[..length];
            let mut columns = 0;
            for character in piece.chars() {
                if !is_the_same_in_yaml(character) {
                    return Err(NotJson);
                }
                columns += 1;
            }
            self.rest = &self.rest[length..];
            self.at.column += columns;
            if self.expect('"').is_ok() {
                break match owned {
                    None => Cow::Borrowed(piece),
                    Some(before) => Cow::Owned(before + piece),
                };
            }
            let text = owned.get_or_insert_default();
            text.push_str(piece);
            let (character, length) = escaped(self.rest)?;
            text.push(character);
            self.advance(length);
        };
        Ok(Event::Scalar(text, ScalarStyle::DoubleQuoted, 0, None))
    }

    fn expect(&mut self, character: char) -> Result<(), NotJson> {
        if !self.rest.starts_with(character) {
            return Err(NotJson);
        }
        self.advance(1);
        Ok(())
    }

    /// Goes on by some ASCII characters of one line.
    fn advance(&mut self, length: usize) {
        self.rest = &self.rest[length..];
        self.at.column += length;
    }

    fn skip_blanks(&mut self) {
        let length = self.rest.bytes().take_while(|&byte| byte == b' ').count();
        self.advance(length);
    }

    /// Skips blanks and line ends. Tabs have rules of their own in YAML.
    fn skip_space(&mut self) {
        loop {
            self.skip_blanks();
            let line = self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n"));
            let Some(rest) = line else { return };
            self.rest = rest;
            self.at = Position { line: self.at.line + 1, column: 1 };
        }
    }
}
