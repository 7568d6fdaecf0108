//! Manifests in files, read so that their author learns of every mistake.
//!
//! In: YAML or JSON, several documents, `List`s, folders, standard input.
//! Out: the model's objects; a [`Finding`] with file, line and column for each
//! mistake. A mistake is what the API server would refuse, or what is valid but
//! probably not meant.
//! Never: a stop at the first mistake, a panic on any input, an object that
//! allows more than what is written.
//!
//! ```text
//! source -> bytes -> split (---) -> stream: events -> tokens of one object
//!                                    |                   |
//!                                    syntax              +--> document/plain, if nothing is wrong ------+
//!                                                        |                                              v
//!                                                        +--> yaml -> Node -> document -> decode -> convert -> review
//!                                                                                kind      |           |         |
//!                                                                              unknown field, type   names,    duplicates
//!                                                                                                    ports ...
//! ```

mod document;
mod events;
mod finding;
mod findings;
mod json;
mod review;
mod scalar;
mod source;
mod split;
mod stream;
mod syntax;
mod text;
mod unread;
mod validation;
mod written;
mod yaml;

use std::collections::HashMap;
use std::sync::Arc;

use policy::Severity;

pub use finding::{Finding, Location};
pub use source::{EXTENSIONS, ReadError, Source};
pub use validation::Validation;
pub use written::{Everything, Field, Written, read_everything};

use crate::Object;
use crate::decode::node::{Node, Position};
use document::{Origin, Reader};
use stream::Streamed;

/// Everything that was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// The objects, one of each key. A namespace that is used and has no object
    /// gets one. After errors, use them only with [`Validation::Warn`].
    pub objects: Vec<Object>,
    /// The mistakes, by file and line.
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// Whether a finding is an error.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// Reads sources.
///
/// # Errors
/// See [`ReadError`]: the contents of the sources are then not completely known.
/// A mistake inside a file is a [`Finding`] instead.
pub fn read(sources: &[Source], validation: Validation) -> Result<Loaded, ReadError> {
    let mut reading = Reading::new(validation);
    let mut names = Vec::new();
    source::texts(sources, |source::Text { name, bytes }| {
        reading.bytes(&name, &bytes);
        names.push(name);
    })?;
    if reading.documents == 0 {
        return Err(ReadError::NoObjects { path: names.join(", ") });
    }
    Ok(reading.finish())
}

/// Reads one text. Findings have `name` as the file.
pub fn parse(name: &str, text: &str, validation: Validation) -> Loaded {
    let mut reading = Reading::new(validation);
    reading.bytes(name, text.as_bytes());
    reading.finish()
}

/// The texts read so far.
#[derive(Default)]
struct Reading {
    reader: Reader,
    /// The files in the order in which they were read.
    files: HashMap<String, usize>,
    /// The number of documents, readable or not.
    documents: usize,
}

impl Reading {
    fn new(validation: Validation) -> Self {
        Self { reader: Reader { validation, ..Reader::default() }, ..Self::default() }
    }

    fn bytes(&mut self, file: &str, bytes: &[u8]) {
        let next = self.files.len();
        self.files.entry(file.to_owned()).or_insert(next);
        let file = Arc::from(file);
        let mut place = Origin {
            file: &file,
            lines_before: 0,
            columns_before: 0,
            inserted: None,
            last_line: usize::MAX,
        };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match text::decode(bytes) {
            Ok(text) => {
                // A single CR also ends a line (YAML 1.2.2, section 5.4).
                place.last_line = text.lines().map(|line| 1 + line.matches('\r').count()).sum();
                place.last_line = place.last_line.max(1);
                for part in split::parts(&text) {
                    self.part(part, place);
                }
            }
            Err(error) => {
                self.documents += 1;
                self.unreadable(place, error.at, error.message);
            }
        }
    }

    /// A part of a file. It usually contains one document.
    fn part(&mut self, part: split::Part<'_>, whole: Origin<'_>) {
        let split::Part { lines_before, columns_before, .. } = part;
        let place = Origin { lines_before, columns_before, ..whole };
        let text = split::without_mark(part);
        let start = self.reader.mark();
        let mut streamed = stream::read(&mut self.reader, &text, place, 0);
        if streamed.error.is_some() {
            if let Some(parts) = split::json_texts(part) {
                self.reader.rollback(&start);
                return parts.into_iter().for_each(|part| self.part(part, whole));
            }
            if let Some(spaced) = syntax::without_tabs(&text) {
                self.reader.rollback(&start);
                streamed = stream::read(&mut self.reader, &spaced, place, 0);
                return self.streamed(&spaced, streamed, place);
            }
        }
        self.streamed(&text, streamed, place);
    }

    /// What a part holds beside objects.
    fn streamed(&mut self, text: &str, streamed: Streamed, place: Origin<'_>) {
        let Streamed { documents, others, error } = streamed;
        self.documents += documents;
        let Some(error) = error else { return self.others(&others, place) };
        // A text before an error is a piece of the unreadable document.
        drop(others);
        self.documents += 1;
        if error.is_yaml {
            return self.unreadable(place, error.at, error.message);
        }
        let fault = syntax::explain(text, &error);
        self.unreadable(place, fault.at, format!("not valid YAML: {}", fault.message));
        // The probable meaning, only to find the other mistakes.
        if let Some(repaired) = fault.repaired {
            let place = Origin { inserted: repaired.inserted, ..place };
            let before = self.reader.found.len();
            let kept = self.reader.kept.as_ref().map(written::Kept::mark);
            let meant = stream::read(&mut self.reader, &repaired.text, place, documents);
            self.others(&meant.others, place);
            if let Some((all, kept)) = self.reader.kept.as_mut().zip(kept) {
                all.rollback(kept);
            }
            let broken = self.reader.findings.broken();
            for found in self.reader.found.split_off(before) {
                review::review_one(&found, &broken, self.reader.pods, &mut self.reader.findings);
            }
        }
    }

    /// Documents that are no objects.
    fn others(&mut self, others: &[Node], place: Origin<'_>) {
        for other in others {
            self.reader.document(other, place);
        }
    }

    fn unreadable(&mut self, place: Origin<'_>, at: Position, message: String) {
        self.reader.findings.push(Finding {
            location: place.location(at),
            severity: Severity::Error,
            kind: String::new(),
            object: None,
            field: String::new(),
            message,
        });
    }

    fn finish(self) -> Loaded {
        let Reader { found, mut findings, pods, .. } = self.reader;
        let objects = review::review(found, pods, &mut findings);
        let order = |location: &Location| {
            (self.files.get(&location.file).copied(), location.line, location.column)
        };
        Loaded { objects, findings: findings.finish(order) }
    }
}

#[cfg(test)]
mod tests;
