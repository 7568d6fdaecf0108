//! Findings as text for people and for programs.
//!
//! In: findings, and the text of files. Out: text.
//! Never: a finding left out.

mod github;
mod json;
mod sarif;
mod text;

pub use github::github;
pub use json::json;
pub use sarif::sarif;
pub use text::{Colour, summary, text};
