//! A Namespace as policies see it: a name with labels.

use crate::Labels;

/// The label that the API server puts on every namespace (KEP-2161).
pub const METADATA_NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A Namespace object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`, with [`METADATA_NAME_LABEL`].
    pub labels: Labels,
}

impl Namespace {
    /// A namespace with the one label that every namespace has, for files
    /// that name a namespace without holding the object.
    pub fn synthesised(name: impl Into<String>) -> Self {
        Self { name: name.into(), labels: Labels::new() }.with_metadata_name()
    }

    /// Adds [`METADATA_NAME_LABEL`] as the API server's defaulting does; for
    /// objects that never went through an API server.
    #[must_use]
    pub fn with_metadata_name(mut self) -> Self {
        self.labels.insert(METADATA_NAME_LABEL.to_owned(), self.name.clone());
        self
    }
}
