//! How mistakes in files are treated.

/// How strict to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// The caller refuses everything if there is an error
    /// ([`Loaded::has_errors`](super::Loaded::has_errors)), as the API server
    /// refuses an object.
    #[default]
    Strict,
    /// Errors are reported, and objects are treated as the agent treats those of
    /// the API server. A policy with an unusable part, such as one with an
    /// unknown field, still isolates its pods and allows nothing by that part.
    /// In other objects unknown fields are ignored. Objects without a usable name
    /// are left out.
    Warn,
}
