//! A finding, and what would repair it.
//!
//! In: what a check saw. Out: plain values for all outputs.
//! Never: a text that is ready for one output alone.

use std::fmt;

use policy::ObjectKey;
use watcher::files::Location;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Valid, and probably not meant.
    Warning,
    /// The API server refuses it, or it has no effect.
    Error,
}

/// What is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it: the name of its page.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// The object's kind.
    pub kind: String,
    /// The object, if it has a name.
    pub object: Option<ObjectKey>,
    /// The field, as the API server names it; empty for the whole object.
    pub field: String,
    /// Where it is written; none for objects of an API server.
    pub at: Option<Location>,
    /// What is wrong, lower case, without a full stop.
    pub message: String,
    /// What this place means as it is written, for a label at the place.
    pub label: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// The repair that can be made in the text.
    pub fix: Option<Fix>,
}

/// A repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, such as `write 8080`.
    pub title: String,
    /// What passes after it that did not pass before, in words; `None`: nothing.
    pub opens: Option<String>,
    /// Changes of one file, that do not overlap.
    pub edits: Vec<Edit>,
}

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where: line and column count from 1, columns in characters.
    pub at: Location,
    /// The text that is there now. If it is not, nothing is changed.
    pub old: String,
    /// The text instead.
    pub new: String,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl Finding {
    /// Adds what the place means.
    #[must_use]
    pub fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a repair, if there is one.
    #[must_use]
    pub fn with_fix(mut self, fix: Option<Fix>) -> Self {
        self.fix = fix;
        self
    }

    /// Changes how bad it is.
    #[must_use]
    pub fn at_level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The object's name, `NetworkPolicy shop/cart`.
    pub fn subject(&self) -> String {
        match &self.object {
            None => self.kind.clone(),
            Some(key) if key.namespace.is_empty() => format!("{} {}", self.kind, key.name),
            Some(key) => format!("{} {key}", self.kind),
        }
    }
}
