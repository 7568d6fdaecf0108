//! The documents of a text, one object at a time.
//!
//! In: a text with one document or with several.
//! Out: to the [`Reader`], each object; the number of documents that are not
//! empty, and the first syntax error. A document with an error yields nothing.
//! Never: a whole `List` in memory, unless its own fields are written in a way
//! that only all of it explains (an anchor, a tag, `items` twice).
//!
//! ```text
//! events -> tokens of one object -> Reader::plain: read without a tree
//!             |                        | something may be wrong
//!             +------------------> Builder: a node with positions -> Reader::object
//! ```
//!
//! A `List` may name its kind after its items. They are then read on the
//! assumption that it is a `List`, and again if it is not.

use saphyr_parser::{Event, ScalarStyle};

use super::document::document_type::{self, DocumentType};
use super::document::{Mark, Origin, Reader};
use super::events::{End, Events, Progress};
use super::json::Json;
use super::scalar;
use super::yaml::{Builder, Outcome, SyntaxError};
use crate::Kind;
use crate::decode::node::{Node, Value};
use crate::decode::token::{Part, Scalar, Token};

/// The lists and objects around an item of a `List`.
const ITEM_DEPTH: usize = 2;

/// What a text holds beside objects.
pub(super) struct Streamed {
    /// The number of documents that are not empty, the skipped ones included.
    pub documents: usize,
    /// Documents that are no objects. They were not given to the reader.
    pub others: Vec<Node>,
    /// Why the text was not read to its end.
    pub error: Option<SyntaxError>,
}

/// How a document is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Attempt {
    /// Items of a list are of the kind that the fields before them tell.
    First,
    /// Items of a list are of this kind, or each names its own.
    Listed(Option<Kind>),
    /// The document is one tree.
    Tree,
}

/// What became of a document.
enum Ended {
    /// It has no value.
    Empty,
    /// It was read.
    Read,
    /// It is not an object.
    Other(Node),
    /// It has to be read again in another way.
    Again(Attempt),
}

/// Reads the documents of a text that follow the first ones.
pub(super) fn read(reader: &mut Reader, text: &str, place: Origin<'_>, skip: usize) -> Streamed {
    let nothing = || Streamed { documents: skip, others: Vec::new(), error: None };
    let start = reader.mark();
    let (mut streamed, mut attempt) = (nothing(), first(reader));
    let mut may_be_json = !reader.only_trees;
    loop {
        let json = Json::of(text).filter(|_| may_be_json);
        may_be_json = json.is_some();
        let builder = Builder::new(json.map_or_else(|| Events::of(text), Events::of_json));
        match (Documents { reader, builder, place }).read(attempt, &mut streamed) {
            Ok(None) => return streamed,
            Ok(Some(again)) => attempt = again,
            Err(_) if may_be_json => {
                // The YAML parser tells what is wrong, and where.
                reader.rollback(&start);
                (streamed, attempt, may_be_json) = (nothing(), first(reader), false);
            }
            Err(error) => {
                streamed.error = Some(error);
                return streamed;
            }
        }
    }
}

fn first(reader: &Reader) -> Attempt {
    if reader.only_trees { Attempt::Tree } else { Attempt::First }
}

/// The documents of a text.
struct Documents<'r, 'a> {
    reader: &'r mut Reader,
    builder: Builder<'a>,
    place: Origin<'r>,
}

impl Documents<'_, '_> {
    /// Reads documents until the end, or until one has to be read again. The
    /// attempt is for the first document that was not read before.
    fn read(&mut self, attempt: Attempt, streamed: &mut Streamed) -> Outcome<Option<Attempt>> {
        let (mut attempt, mut skipped) = (attempt, 0);
        loop {
            match self.builder.events.next()?.0 {
                Event::DocumentStart(_) => {}
                Event::StreamEnd => return Ok(None),
                _ => continue,
            }
            if skipped < streamed.documents {
                skipped += usize::from(self.skip()?);
                continue;
            }
            self.builder.begin();
            let mark = self.reader.mark();
            match self.document(attempt, &mark) {
                Ok(Ended::Empty) => continue,
                Ok(Ended::Read) => {}
                Ok(Ended::Other(node)) => streamed.others.push(node),
                Ok(Ended::Again(again)) => {
                    self.reader.rollback(&mark);
                    return Ok(Some(again));
                }
                Err(error) => {
                    self.reader.rollback(&mark);
                    return Err(error);
                }
            }
            streamed.documents += 1;
            skipped += 1;
            attempt = first(self.reader);
        }
    }

    /// Skips a document. Returns whether it has a value.
    fn skip(&mut self) -> Outcome<bool> {
        let (mut depth, mut is_empty) = (0, false);
        loop {
            match self.builder.events.next()?.0 {
                Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
                Event::SequenceEnd | Event::MappingEnd => depth -= 1,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if depth == 0 => {
                    is_empty = scalar::meaning(&text) == Scalar::Null;
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(!is_empty);
            }
        }
    }

    fn document(&mut self, attempt: Attempt, mark: &Mark) -> Outcome<Ended> {
        if attempt == Attempt::Tree {
            return self.tree();
        }
        let mut progress = Progress::document();
        match self.builder.events.record(&mut progress) {
            End::Value => {
                let tokens = self.builder.events.recorded();
                if !is_null(tokens) && !self.reader.plain(tokens, None, self.place) {
                    return self.tree();
                }
                let is_empty = is_null(tokens);
                self.builder.events.forget();
                Ok(if is_empty { Ended::Empty } else { Ended::Read })
            }
            End::Items => self.list(progress, attempt, mark),
            End::Odd | End::Sequence => self.tree(),
        }
    }

    /// Reads a document as one tree.
    fn tree(&mut self) -> Outcome<Ended> {
        let node = self.builder.value(0)?;
        match &node.value {
            Value::Null => Ok(Ended::Empty),
            Value::Mapping(_) => {
                self.reader.document(&node, self.place);
                Ok(Ended::Read)
            }
            _ => Ok(Ended::Other(node)),
        }
    }

    /// Reads a document whose `items` have begun.
    fn list(&mut self, mut progress: Progress, attempt: Attempt, mark: &Mark) -> Outcome<Ended> {
        let mut frame = self.builder.events.take_recorded();
        if progress.is_ambiguous() {
            return Ok(Ended::Again(Attempt::Tree));
        }
        // What is wrong before the items comes before what is wrong in them.
        let so_far = complete(&frame)?;
        let listed = match (attempt, document_type::of(&so_far, None).0) {
            (Attempt::Listed(kind), _) | (_, DocumentType::List(kind)) => kind,
            (_, DocumentType::Object(_) | DocumentType::Other) => None,
        };
        while self.item(listed)? {}
        frame.append(&mut self.builder.events.take_recorded());
        progress.end_items();
        let end = self.builder.events.record(&mut progress);
        frame.append(&mut self.builder.events.take_recorded());
        if end == End::Items || progress.is_ambiguous() {
            return Ok(Ended::Again(Attempt::Tree));
        }
        self.builder.events.put_back(frame);
        let frame = self.builder.value(0)?;
        match document_type::of(&frame, None).0 {
            _ if !has_items_once(&frame) => return Ok(Ended::Again(Attempt::Tree)),
            DocumentType::List(kind) if kind == listed => {}
            DocumentType::List(kind) => return Ok(Ended::Again(Attempt::Listed(kind))),
            DocumentType::Object(_) => return Ok(Ended::Again(Attempt::Tree)),
            // Its items mean nothing.
            DocumentType::Other => self.reader.rollback(mark),
        }
        self.reader.document(&frame, self.place);
        Ok(Ended::Read)
    }

    /// Reads an item. Returns whether there was one.
    fn item(&mut self, listed: Option<Kind>) -> Outcome<bool> {
        let end = self.builder.events.record(&mut Progress::item());
        let tokens = self.builder.events.recorded();
        match end {
            End::Sequence => return Ok(false),
            End::Value if self.reader.plain(tokens, listed, self.place) => {
                self.builder.events.forget();
            }
            End::Value | End::Items | End::Odd => {
                let item = self.builder.value(ITEM_DEPTH)?;
                self.reader.object(&item, listed, self.place);
            }
        }
        Ok(true)
    }
}

/// The object of which these are the tokens up to the beginning of its items.
fn complete(frame: &[Token<'_>]) -> Outcome<Node> {
    let mut tokens = frame.to_vec();
    if let Some(last) = tokens.last() {
        let at = last.at;
        tokens.extend([Part::SequenceEnd, Part::MappingEnd].map(|part| Token { at, part }));
    }
    Builder::new(Events::of_tokens(tokens)).value(0)
}

fn is_null(tokens: &[Token<'_>]) -> bool {
    let is = |part: &Part<'_>| matches!(part, Part::Scalar(text) if text.meaning == Scalar::Null);
    tokens.first().is_some_and(|first| is(&first.part))
}

/// Whether the only `items` of an object are those that were read before.
fn has_items_once(frame: &Node) -> bool {
    let Value::Mapping(entries) = &frame.value else { return false };
    let mut written = entries.iter().filter(|entry| entry.key == "items");
    written.next().is_some_and(|entry| !entry.merged) && written.next().is_none()
}
