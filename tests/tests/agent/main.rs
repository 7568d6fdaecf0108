//! `nftpol agent` between a real API server and a real kernel.

#![expect(clippy::unwrap_used, reason = "what cannot be fails the test")]

mod steps;
