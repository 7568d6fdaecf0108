//! Commands in the documentation that tests run.

pub use samples::pages::{commands, read};
