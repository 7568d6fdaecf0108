//! A mistake in a file, with its location.
//!
//! A finding is shown as one line of text. Control characters of the file are
//! escaped, so that they never reach a terminal.

use std::fmt::{self, Write};

use policy::{ObjectKey, Severity};

/// A place in a file. Line and column count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// The file as given or found, `stdin` for standard input.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A finding in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is.
    pub location: Location,
    /// How bad it is.
    pub severity: Severity,
    /// The object's kind; empty if unknown.
    pub kind: String,
    /// The object, if known.
    pub object: Option<ObjectKey>,
    /// The field as the API server names it; empty for the whole object.
    pub field: String,
    /// What is wrong and what to do, lower case, without a full stop.
    pub message: String,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", Printable(&self.file), self.line, self.column)
    }
}

/// `web.yaml:8:3: error: NetworkPolicy dev/web: spec.ingress[0]: ...`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location, severity, kind, object, field, message } = self;
        write!(f, "{location}: {severity}: ")?;
        let name = match object {
            Some(key) if key.name.is_empty() => String::new(),
            Some(key) if key.namespace.is_empty() => format!(" {}", key.name),
            Some(key) => format!(" {key}"),
            None => String::new(),
        };
        if !kind.is_empty() {
            write!(f, "{}{}: ", Printable(kind), Printable(&name))?;
        }
        if !field.is_empty() {
            write!(f, "{}: ", Printable(field))?;
        }
        Printable(message).fmt(f)
    }
}

/// A text whose control characters are shown escaped.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_debug())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}
