//! A parser's events, some of which are recorded before they are read.
//!
//! In: the text of one document or of several.
//! Out: events in their order, each once; the tokens of the next value.
//! Never: a recording of unlimited size or depth, or of an anchor, an alias or a
//! tag. The recording then ends early, and the events go on.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::json::{Json, NotJson};
use super::scalar;
use super::unread::Around;
use super::yaml::{DEPTH_MAX, Outcome, SyntaxError, VALUES_MAX};
use crate::decode::node::Position;
use crate::decode::token::{Part, Scalar, Text, Token};

/// An event and where it begins.
pub(super) type Placed<'a> = (Event<'a>, Position);

/// The events of a text.
pub(super) struct Events<'a> {
    source: Source<'a>,
    /// Tokens that come before the next events of the parser.
    pub(super) recorded: Vec<Token<'a>>,
    /// The number of recorded tokens that were read.
    read: usize,
    /// The event or error that ended a recording. It comes after the tokens.
    pub(super) next: Option<Outcome<Placed<'a>>>,
}

/// Where events come from.
enum Source<'a> {
    Yaml(Box<Parser<'a, StrInput<'a>>>),
    Json(Json<'a>),
    /// There are none beside the recorded ones.
    Nothing,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum End {
    /// The value is complete.
    Value,
    /// The list `items` of the object has begun.
    Items,
    /// There is no value: the list around it ends. The end is recorded.
    Sequence,
    /// Something cannot be recorded. Read the events instead.
    Odd,
}

/// How far a value is recorded.
#[derive(Debug)]
pub(super) struct Progress {
    /// The lists and objects around the value.
    base: usize,
    /// Those that were opened since.
    depth: usize,
    /// The object in which `items` is looked for.
    object: Option<Object>,
    around: Around,
}

/// The place in an object.
#[derive(Debug, Default)]
struct Object {
    /// Whether its next token is a value or a part of one.
    in_value: bool,
    /// Whether that is the value of `items`.
    in_items: bool,
    /// How often `items` was a key.
    keys: usize,
}

impl Progress {
    /// Nothing of a document.
    pub(super) fn document() -> Self {
        Self { base: 0, depth: 0, object: None, around: Around::default() }
    }

    /// Nothing of an item of the list `items`.
    pub(super) fn item() -> Self {
        Self { base: 2, depth: 0, object: None, around: Around::default() }
    }

    /// Closes the list `items`.
    pub(super) fn end_items(&mut self) {
        self.depth = 1;
        if let Some(object) = &mut self.object {
            object.in_value = false;
        }
    }

    /// Whether the object has more than one key `items`.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.object.as_ref().is_some_and(|object| object.keys > 1)
    }

    /// Takes a token in. Returns why the recording ends, if it does.
    fn take(&mut self, part: &Part<'_>) -> Option<End> {
        let outer = self.depth;
        if outer == 0 && self.base > 0 && part.closes() {
            return Some(End::Sequence);
        }
        self.depth =
            if part.opens() { outer + 1 } else { outer.saturating_sub(usize::from(part.closes())) };
        if outer == 0 && self.base == 0 && *part == Part::MappingStart {
            self.object = Some(Object::default());
        } else if outer == 1
            && let Some(object) = &mut self.object
            && let Some(end) = object.take(part)
        {
            return Some(end);
        }
        if self.depth == 0 {
            return Some(End::Value);
        }
        if self.depth == 1
            && let Some(object) = &mut self.object
        {
            // A list or an object that was the value of a key has ended.
            object.in_value &= !part.closes();
        }
        (self.base + self.depth > DEPTH_MAX).then_some(End::Odd)
    }
}

impl Object {
    /// Takes a key, or the first token of a value.
    fn take(&mut self, part: &Part<'_>) -> Option<End> {
        match part {
            Part::Scalar(_) if self.in_value => self.in_value = false,
            // A merge key, or a mistake.
            Part::Scalar(text) if text.key().is_none() => return Some(End::Odd),
            Part::Scalar(text) => {
                self.in_value = true;
                self.in_items = text.key() == Some("items");
                self.keys += usize::from(self.in_items);
            }
            Part::SequenceStart if self.in_value && self.in_items => return Some(End::Items),
            Part::SequenceStart | Part::MappingStart if !self.in_value => return Some(End::Odd),
            Part::SequenceStart | Part::MappingStart | Part::SequenceEnd | Part::MappingEnd => {}
        }
        None
    }
}

impl<'a> Events<'a> {
    /// The events of a text.
    pub(super) fn of(text: &'a str) -> Self {
        Self::from(Source::Yaml(Box::new(Parser::new_from_str(text))))
    }

    /// The events of a text in JSON. Its errors say nothing but that it is none.
    pub(super) fn of_json(json: Json<'a>) -> Self {
        Self::from(Source::Json(json))
    }

    /// The events of recorded tokens.
    pub(super) fn of_tokens(tokens: Vec<Token<'a>>) -> Self {
        Self { recorded: tokens, ..Self::from(Source::Nothing) }
    }

    fn from(source: Source<'a>) -> Self {
        Self { source, recorded: Vec::new(), read: 0, next: None }
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Outcome<Placed<'a>> {
        if let Some(token) = self.recorded.get_mut(self.read) {
            self.read += 1;
            return Ok(event(token));
        }
        self.forget();
        match self.next.take() {
            Some(next) => next,
            None => self.parsed(),
        }
    }

    /// Records tokens of the next value.
    pub(super) fn record(&mut self, progress: &mut Progress) -> End {
        self.forget();
        loop {
            let next = match self.next.take() {
                Some(next) => next,
                None => self.parsed(),
            };
            match next {
                Ok((event, at)) => match part(event) {
                    Ok(part) => {
                        let end = progress.take(&part);
                        let is_unread = progress.around.take(&part);
                        self.recorded.push(Token { at, part });
                        let stops = || (is_unread && !self.pass_over()).then_some(End::Odd);
                        if let Some(end) = end.or_else(stops) {
                            return end;
                        }
                    }
                    Err(event) => {
                        self.next = Some(Ok((event, at)));
                        return End::Odd;
                    }
                },
                Err(error) => {
                    self.next = Some(Err(error));
                    return End::Odd;
                }
            }
            if self.recorded.len() > VALUES_MAX {
                return End::Odd;
            }
        }
    }

    /// What was recorded and not read.
    pub(super) fn recorded(&self) -> &[Token<'a>] {
        &self.recorded[self.read..]
    }

    /// Takes what was recorded. It will not be read.
    pub(super) fn take_recorded(&mut self) -> Vec<Token<'a>> {
        self.read = 0;
        std::mem::take(&mut self.recorded)
    }

    /// Puts tokens before the events that follow.
    pub(super) fn put_back(&mut self, tokens: Vec<Token<'a>>) {
        (self.recorded, self.read) = (tokens, 0);
    }

    /// Drops what was recorded. It will not be read.
    pub(super) fn forget(&mut self) {
        self.recorded.clear();
        self.read = 0;
    }

    /// The next event of the text, which is neither recorded nor waits after a recording.
    pub(super) fn parsed(&mut self) -> Outcome<Placed<'a>> {
        let nowhere = position(&Span::default());
        let parser = match &mut self.source {
            Source::Yaml(parser) => parser,
            Source::Json(json) => {
                let error = |NotJson| SyntaxError {
                    at: nowhere,
                    message: "not JSON".to_owned(),
                    is_yaml: false,
                };
                return json.event().map_err(error);
            }
            Source::Nothing => return Ok((Event::StreamEnd, nowhere)),
        };
        match parser.next_event() {
            None => Ok((Event::StreamEnd, nowhere)),
            Some(Ok((event, span))) => Ok((event, position(&span))),
            Some(Err(error)) => {
                let at = position(&Span::empty(*error.marker()));
                Err(SyntaxError { at, message: error.info().to_owned(), is_yaml: false })
            }
        }
    }
}

/// An event as a recorded part, or the event, if it cannot be one.
fn part(event: Event<'_>) -> Result<Part<'_>, Event<'_>> {
    match event {
        Event::Scalar(text, style, 0, None) => {
            let plain = style == ScalarStyle::Plain;
            let meaning = if plain { scalar::meaning(&text) } else { Scalar::Text };
            Ok(Part::Scalar(Text { text, plain, meaning }))
        }
        Event::SequenceStart(0, None) => Ok(Part::SequenceStart),
        Event::SequenceEnd => Ok(Part::SequenceEnd),
        Event::MappingStart(0, None) => Ok(Part::MappingStart),
        Event::MappingEnd => Ok(Part::MappingEnd),
        other => Err(other),
    }
}

/// The event of a token, whose text is moved out of it.
fn event<'a>(token: &mut Token<'a>) -> Placed<'a> {
    let event = match &mut token.part {
        Part::Scalar(Text { text, plain, .. }) => {
            let style = if *plain { ScalarStyle::Plain } else { ScalarStyle::DoubleQuoted };
            Event::Scalar(std::mem::replace(text, Cow::Borrowed("")), style, 0, None)
        }
        Part::SequenceStart => Event::SequenceStart(0, None),
        Part::SequenceEnd => Event::SequenceEnd,
        Part::MappingStart => Event::MappingStart(0, None),
        Part::MappingEnd => Event::MappingEnd,
    };
    (event, token.at)
}

fn position(span: &Span) -> Position {
    Position { line: span.start.line(), column: span.start.col() + 1 }
}
