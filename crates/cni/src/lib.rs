//! The chained CNI plugin `nftpol-cni`: holds a pod back until its rules are in force.
//!
//! In: what a container runtime passes (environment, network configuration). Out: a word
//! to the agent of this node, and the result of the plugin before it, unchanged.
//! Never: an address or a route of its own, a question to the API server, a wait longer
//! than it was told.
//!
//! ```text
//! kubelet ─▶ containerd ─ADD─▶ bridge, host-local ─result─▶ nftpol-cni ─▶ first container
//!                                                               │ ▲
//!                                            pod, its addresses ▼ │ in force
//!                                                             agent (@nftpol-agent)
//! ```
//!
//! [`wire`] is what the two say to each other, so the agent uses it, too.

pub mod agent;
pub mod config;
pub mod error;
pub mod plugin;
pub mod wire;
