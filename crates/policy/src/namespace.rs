//! A Namespace as policies see it: a name with labels.

use crate::{Labels, Switch};

/// The label that the API server puts on every namespace (KEP-2161).
pub const METADATA_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A Namespace object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`, with [`METADATA_NAME_LABEL`].
    pub labels: Labels,
    /// `metadata.deletionTimestamp` is set: all that is in it is being deleted.
    pub is_ending: bool,
    /// What its annotations say of policies in it.
    pub switch: Switch,
}

impl Namespace {
    /// A namespace with only the label that every namespace has. For files that
    /// name a namespace and do not contain the object.
    pub fn synthesised(name: impl Into<String>) -> Self {
        let switch = Switch::default();
        Self { name: name.into(), labels: Labels::new(), is_ending: false, switch }
            .with_metadata_name()
    }

    /// Adds [`METADATA_NAME_LABEL`], as the API server's defaulting does. For
    /// objects that did not pass through an API server.
    #[must_use]
    pub fn with_metadata_name(mut self) -> Self {
        self.labels.insert(METADATA_NAME_LABEL.to_owned(), self.name.clone());
        self
    }
}
