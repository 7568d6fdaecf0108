//! Programs that show and measure nftpol. `cargo xtask` builds and starts them.
//!
//! | program | what for |
//! |---|---|
//! | `demo` | a node and its pods, policies enforced, who reaches whom before and after |
//! | `bench` | what it costs to compile, apply and prove, beside `nft -f` |
//! | `load` | what an agent costs in a large cluster, from a real API server |
//! | `soak` | an agent under churn, for as long as you like |
//! | `latency` | from a write to the API to the packets, for any NetworkPolicy controller |
//! | `conformance` | upstream's tests, network after network; writes docs/conformance.md |
//! | `cluster` | a whole Kubernetes on this machine, to work with |
//! | `image` | the container image as a tar file |
//!
//! They share one module: [`interrupt`] turns a signal into an error, so that
//! a long run cleans up.

pub mod interrupt;
