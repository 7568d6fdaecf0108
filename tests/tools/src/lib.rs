//! Programs that show and measure nftpol. `cargo xtask` builds and starts them.
//!
//! | program | purpose |
//! |---|---|
//! | `demo` | a node and its pods, policies enforced, who reaches whom before and after |
//! | `bench` | the cost of changes, of lists that come again, of the proof and of packets, beside the kernel alone and others |
//! | `greedy` | what a greedy tenant costs, and what others feel of it |
//! | `load` | the cost of an agent in a large cluster with a real API server |
//! | `soak` | an agent under constant change, for as long as you like |
//! | `chaos` | an agent while everything goes wrong, for as long as you like |
//! | `latency` | from a write to the API to the packets, for any NetworkPolicy controller |
//! | `conformance` | upstream's tests on one network after another; writes docs/conformance.md |
//! | `cluster` | a whole Kubernetes on this machine, to work with |
//! | `image` | the container image as a tar file |
//!
//! They share one module: [`interrupt`] turns a signal into an error, so that
//! a long run cleans up. [`chaos`] is here because a sample of it is a test.

pub mod chaos;
pub mod interrupt;
