//! The binding of addresses to interfaces: what its tables do to packets at each
//! hook, and while they change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod hooks;
mod random;
mod tables;
mod way;
