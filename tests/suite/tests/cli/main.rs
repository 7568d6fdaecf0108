//! The command as a person, a script or a service manager meets it.
//!
//! In: the built `nftpol`, fixtures, temporary network namespaces.
//! Out: its output, its exit codes, and what the kernel holds afterwards.
//! Never: links the command's own code. `nft` and the crate `nft` read the kernel.

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
