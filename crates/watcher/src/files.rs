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
//! source -> bytes -> split (---) -> yaml -> Node -> document -> decode -> convert -> review
//!                                    |                |  kind      |        |          |
//!                                    syntax           |  unknown field,     names,     duplicates
//!                                                     hints    wrong type   ports ...
//! ```

mod document;
mod finding;
mod review;
mod scalar;
mod source;
mod split;
mod syntax;
mod text;
mod validation;
mod yaml;

use std::collections::HashMap;

use policy::Severity;

pub use finding::{Finding, Location};
pub use source::{ReadError, Source};
pub use validation::Validation;

use crate::Object;
use crate::decode::node::Position;
use document::{Origin, Reader};

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
    let texts = source::texts(sources)?;
    for source::Text { name, bytes } in &texts {
        reading.bytes(name, bytes);
    }
    if reading.documents == 0 {
        let names: Vec<String> = texts.into_iter().map(|text| text.name).collect();
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
struct Reading {
    reader: Reader,
    /// The files in the order in which they were read.
    files: HashMap<String, usize>,
    /// The number of documents, readable or not.
    documents: usize,
}

impl Reading {
    fn new(validation: Validation) -> Self {
        let reader = Reader { validation, found: Vec::new(), findings: Vec::new() };
        Self { reader, files: HashMap::new(), documents: 0 }
    }

    fn bytes(&mut self, file: &str, bytes: &[u8]) {
        let next = self.files.len();
        self.files.entry(file.to_owned()).or_insert(next);
        let mut place = Origin { file, lines_before: 0, inserted: None, last_line: usize::MAX };
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match text::decode(bytes) {
            Ok(text) => {
                // A single CR also ends a line (YAML 1.2.2, section 5.4).
                place.last_line = text.lines().map(|line| 1 + line.matches('\r').count()).sum();
                place.last_line = place.last_line.max(1);
                for part in split::parts(&text) {
                    self.part(part, Origin { lines_before: part.lines_before, ..place });
                }
            }
            Err(error) => {
                self.documents += 1;
                self.unreadable(place, error.at, error.message);
            }
        }
    }

    /// A part of a file. It usually contains one document.
    fn part(&mut self, part: split::Part<'_>, place: Origin<'_>) {
        let (documents, error) = yaml::read(part.text);
        self.documents += documents.len();
        for document in &documents {
            // A text before an error is a piece of the unreadable document.
            if error.is_none() || document.is_object() {
                self.reader.document(document, place);
            }
        }
        let Some(error) = error else { return };
        self.documents += 1;
        if error.is_yaml {
            return self.unreadable(place, error.at, error.message);
        }
        let fault = syntax::explain(part.text, &error);
        self.unreadable(place, fault.at, format!("not valid YAML: {}", fault.message));
        // The probable meaning, only to find the other mistakes.
        if let Some(repaired) = fault.repaired {
            let (meant, _) = yaml::read(&repaired.text);
            let place = Origin { inserted: repaired.inserted, ..place };
            let before = self.reader.found.len();
            for document in meant.iter().skip(documents.len()) {
                self.reader.document(document, place);
            }
            for found in self.reader.found.split_off(before) {
                review::review_one(&found, &mut self.reader.findings);
            }
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
        let Reader { found, mut findings, .. } = self.reader;
        let objects = review::review(found, &mut findings);
        findings.sort_by_key(|finding| {
            let Location { file, line, column } = &finding.location;
            (self.files.get(file).copied(), *line, *column)
        });
        findings.dedup();
        Loaded { objects, findings }
    }
}

#[cfg(test)]
mod tests;
