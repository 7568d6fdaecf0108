//! JSON text to the events that the YAML parser gives for it.
//!
//! In: a text.
//! Out: the same events at the same positions, if the text is JSON (RFC 8259) and
//! YAML 1.2.2 means the same by it.
//! Never: a message about a mistake. [`NotJson`] sends the caller to the YAML
//! parser, which reads JSON, too. But it holds a whole `[...]` or `{...}` in memory
//! before it gives the first event (saphyr-parser 0.3.4 scanner.rs,
//! `stale_simple_keys`: a collection may turn out to be a key).

use std::borrow::Cow;

use saphyr_parser::{Event, ScalarStyle};

use super::events::Placed;
use crate::decode::node::Position;

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
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    List,
    Object,
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
        is_object.then(|| Self { rest: text, at, open: Vec::new(), next: Next::Document })
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
            Open::Object => ('}', Event::MappingEnd),
        };
        self.expect(close).ok()?;
        self.open.pop();
        self.after_value();
        Some(event)
    }

    /// An item of a list, or a key.
    fn item(&mut self) -> Result<Event<'a>, NotJson> {
        match self.open.last() {
            Some(Open::Object) => {
                let key = self.string()?;
                // YAML has its own rules for a key on a line of its own.
                self.skip_blanks();
                self.next = Next::Colon;
                if self.rest.starts_with(':') { Ok(key) } else { Err(NotJson) }
            }
            Some(Open::List) => self.value(),
            None => Err(NotJson),
        }
    }

    fn value(&mut self) -> Result<Event<'a>, NotJson> {
        let open = match self.rest.as_bytes().first().ok_or(NotJson)? {
            b'{' => Open::Object,
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
        Ok(match open {
            Open::Object => Event::MappingStart(0, None),
            Open::List => Event::SequenceStart(0, None),
        })
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

/// Whether a text is a number in JSON (RFC 8259, section 6).
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

/// Whether a character may be in a text of both languages and is no line end in
/// either (YAML 1.2.2, sections 5.1 and 5.4).
fn is_the_same_in_yaml(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The character of the escape that a text begins with, and the escape's length.
fn escaped(text: &str) -> Result<(char, usize), NotJson> {
    let character = match text.as_bytes().get(1).ok_or(NotJson)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let hex = text.get(2..6).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let code = u32::from_str_radix(hex.ok_or(NotJson)?, 16).map_err(|_| NotJson)?;
            return Ok((char::from_u32(code).ok_or(NotJson)?, 6));
        }
        _ => return Err(NotJson),
    };
    Ok((character, 2))
}
