//! The content of `fieldsV1` in `managedFields`, which nothing here needs.
//!
//! In: the events of an object, up to the list or object that is the value of such a field.
//! Out: the same field with nothing in it.
//! Never: a check of that content. The API server takes it as it is (`FieldsV1` in
//! k8s.io/apimachinery v0.36 pkg/apis/meta/v1/types.go keeps the bytes), so it may be as
//! deep and as large as JSON may be. The fields beside it are checked like all others.

use saphyr_parser::Event;

use super::events::Events;
use super::yaml::{Builder, Outcome, fault};
use crate::decode::node::{Position, Value};
use crate::decode::token::{Part, Text, Token};

/// The deepest nesting in that content. JSON of API servers has no more (Go 1.26
/// encoding/json/scanner.go, `maxNestingDepth`).
pub(super) const DEPTH_MAX: usize = 10_000;

const START: Position = Position { line: 1, column: 1 };

/// Whether the content of this field is not read.
fn is_unread(key: &str) -> bool {
    key == "fieldsV1"
}

/// The lists and objects around a token.
#[derive(Debug, Default)]
pub(super) struct Around(Vec<Level>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Level {
    List,
    /// An object whose next token is a key.
    Key,
    /// An object whose next token is a value.
    Value {
        is_unread: bool,
    },
}

impl Around {
    /// Takes a token in. Returns whether it begins a list or an object that is not read.
    pub(super) fn take(&mut self, part: &Part<'_>) -> bool {
        match part {
            Part::Scalar(text) => self.scalar(text),
            Part::MappingStart => return self.open(Level::Key),
            Part::SequenceStart => return self.open(Level::List),
            Part::SequenceEnd | Part::MappingEnd => drop(self.0.pop()),
        }
        false
    }

    fn scalar(&mut self, text: &Text<'_>) {
        let Some(level) = self.0.last_mut() else { return };
        *level = match *level {
            Level::List => Level::List,
            Level::Key => Level::Value { is_unread: text.key().is_some_and(is_unread) },
            Level::Value { .. } => Level::Key,
        };
    }

    fn open(&mut self, level: Level) -> bool {
        let mut is_unread = false;
        if let Some(outer) = self.0.last_mut() {
            is_unread = *outer == Level::Value { is_unread: true };
            if let Level::Value { .. } = outer {
                *outer = Level::Key;
            }
        }
        self.0.push(level);
        is_unread
    }
}

/// The value of a field without its content, if that is not read. One with an anchor is
/// read, because an alias may ask for it.
pub(super) fn without_content(key: &Value, begins: &Event<'_>) -> Option<Value> {
    let Value::String(key) = key else { return None };
    match begins {
        Event::SequenceStart(0, _) if is_unread(key) => Some(Value::Sequence(Vec::new())),
        Event::MappingStart(0, _) if is_unread(key) => Some(Value::Mapping(Vec::new())),
        _ => None,
    }
}

impl Events<'_> {
    /// Passes over the content of the list or object whose beginning was recorded last. Its
    /// end comes next. Returns `false` where only a [`Builder`] can pass over: the lists and
    /// objects that are open there are recorded without their content.
    pub(super) fn pass_over(&mut self) -> bool {
        let mut open = 0usize;
        loop {
            let next = self.parsed();
            let step = next.as_ref().ok().and_then(|(event, _)| step(event));
            match step {
                Some(Step::Over) => {}
                Some(Step::In) if open + 2 <= DEPTH_MAX => open += 1,
                Some(Step::Out) if open > 0 => open -= 1,
                Some(Step::Out) => {
                    self.next = Some(next);
                    return true;
                }
                Some(Step::In) | None => {
                    self.next = Some(next);
                    let at = self.recorded.last().map_or(START, |token| token.at);
                    let begins = || Token { at, part: Part::SequenceStart };
                    self.recorded.extend((0..open).map(|_| begins()));
                    return false;
                }
            }
        }
    }
}

/// What an event does to the nesting.
#[derive(Clone, Copy)]
enum Step {
    In,
    Out,
    Over,
}

/// `None` for what cannot be passed over without a [`Builder`].
fn step(event: &Event<'_>) -> Option<Step> {
    match event {
        Event::SequenceStart(0, _) | Event::MappingStart(0, _) => Some(Step::In),
        Event::SequenceEnd | Event::MappingEnd => Some(Step::Out),
        Event::Scalar(_, _, 0, _) => Some(Step::Over),
        _ => None,
    }
}

impl Builder<'_> {
    /// Passes over all up to the end of the list or object that has begun.
    pub(super) fn pass_over(&mut self) -> Outcome<()> {
        let mut depth = 1;
        while depth > 0 {
            let (event, at) = self.events.next()?;
            match &event {
                // An alias elsewhere may refer to it.
                Event::Scalar(_, _, anchor, _)
                | Event::SequenceStart(anchor, _)
                | Event::MappingStart(anchor, _)
                    if *anchor > 0 =>
                {
                    self.node((event, at), 0)?;
                }
                Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
                Event::SequenceEnd | Event::MappingEnd => depth -= 1,
                Event::Scalar(..) | Event::Alias(_) => {}
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd => return Err(fault(at, "a value is missing".to_owned())),
            }
            if depth > DEPTH_MAX {
                let message = format!("values are nested more than {DEPTH_MAX} levels deep");
                return Err(fault(at, message));
            }
        }
        Ok(())
    }
}
