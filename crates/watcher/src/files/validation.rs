//! What becomes of mistakes in files.

/// How strict to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validation {
    /// Who calls refuses everything if [`Loaded::has_errors`](super::Loaded::has_errors), as the API
    /// server refuses an object.
    #[default]
    Strict,
    /// Errors are reported, and what they concern is treated as the agent
    /// treats what the API server gives it: unknown fields are ignored, a
    /// policy with an unusable part isolates its pods and allows nothing by
    /// that part. Objects without a usable name are left out.
    Warn,
}
