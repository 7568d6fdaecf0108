//! The command as a user, a script or a service manager sees it: output, exit codes,
//! and what the kernel then holds.
//!
//! The tests run the built `nftpol` in temporary network namespaces. They never link
//! its code; `nft` and the crate `nft` read the kernel.

mod absent_minded;
mod apply;
mod binding;
mod busy;
mod cleanup;
mod diff;
mod explain;
mod further;
mod input;
mod inside;
mod other_enforcers;
mod programs;
mod render;
mod restore;
mod shortages;
mod support;
mod usage;
mod verify;
mod watch;
