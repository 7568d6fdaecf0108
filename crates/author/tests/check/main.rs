//! `kubectl nftpol check` as an author, a pipe or a workflow sees it.
//!
//! The tests run the built program on files. Expectations are files that a person has read,
//! and names of checks.

mod cases;
mod expectations;
mod formats;
mod further;
mod golden;
mod repairs;
mod support;
