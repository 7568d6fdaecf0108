//! A YAML or JSON value as the flat row of its scalars, beginnings and ends.
//!
//! A source records one object as tokens. [`super::plain`] reads them if nothing
//! is wrong. Otherwise the source builds a `Node` from the same tokens.

use std::borrow::Cow;

use super::node::Position;

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token<'a> {
    pub at: Position,
    pub part: Part<'a>,
}

/// A part of a value. Anchors, aliases and tags are never recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part<'a> {
    Scalar(Text<'a>),
    SequenceStart,
    SequenceEnd,
    MappingStart,
    MappingEnd,
}

/// A scalar as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Text<'a> {
    pub text: Cow<'a, str>,
    /// Whether it is written without quotes.
    pub plain: bool,
    pub meaning: Scalar,
}

/// What a scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// The text itself.
    Text,
}

impl Part<'_> {
    /// Whether values are nested in it.
    pub(crate) fn opens(&self) -> bool {
        matches!(self, Self::SequenceStart | Self::MappingStart)
    }

    /// Whether it ends a list or an object.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::SequenceEnd | Self::MappingEnd)
    }
}

impl Text<'_> {
    /// The text, if the scalar is text and not a merge key.
    pub(crate) fn key(&self) -> Option<&str> {
        let merges = self.plain && self.text == "<<";
        (self.meaning == Scalar::Text && !merges).then_some(&*self.text)
    }
}

/// The value of a field of an object: its tokens, and those after it. `None` if
/// the first token does not begin an object, or the field does not exist.
pub(crate) fn field<'t, 'a>(object: &'t [Token<'a>], name: &str) -> Option<&'t [Token<'a>]> {
    let (Part::MappingStart, mut rest) =
        object.split_first().map(|(one, rest)| (&one.part, rest))?
    else {
        return None;
    };
    loop {
        let (key, value) = rest.split_first()?;
        match &key.part {
            Part::Scalar(text) if text.key() == Some(name) => return Some(value),
            Part::Scalar(_) => rest = after(value)?,
            Part::SequenceStart | Part::MappingStart => return None,
            Part::SequenceEnd | Part::MappingEnd => return None,
        }
    }
}

/// The tokens after the first value.
pub(super) fn after<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate() {
        if token.part.opens() {
            depth += 1;
        } else if token.part.closes() {
            depth = depth.checked_sub(1)?;
        }
        if depth == 0 {
            return tokens.get(index + 1..);
        }
    }
    None
}

/// The text that these tokens begin with.
pub(crate) fn text<'t>(tokens: &'t [Token<'_>]) -> Option<&'t str> {
    match &tokens.first()?.part {
        Part::Scalar(text) if text.meaning == Scalar::Text => Some(&text.text),
        Part::Scalar(_) => None,
        Part::SequenceStart | Part::SequenceEnd | Part::MappingStart | Part::MappingEnd => None,
    }
}
