//! The command as a person, a script or a service manager meets it.
//!
//! In: the built `nftpol`, fixtures, throw-away network namespaces.
//! Out: what it prints, its exit codes, and what the kernel holds afterwards.
//! Never: the command's own code linked in; `nft` and the `nft` crate read
//! what the kernel has.

mod apply;
mod cleanup;
mod diff;
mod input;
mod programs;
mod render;
mod support;
mod usage;
mod verify;
mod watch;
