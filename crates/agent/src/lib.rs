//! The parts of the `nftpol` command that tests use as a library.
//!
//! In: what an API server told, or a policy model. Out: a kernel that
//! enforces it, on flows that stand already, too.
//! Never: rules of its own about what is allowed.

pub mod cluster_state;
pub mod conntrack_cleanup;
pub mod pipeline;
mod sink;

pub use sink::Sink;
