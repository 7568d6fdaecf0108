//! The parts of the `nftpol` command that work without a command line, and so
//! can be tested: the pipeline, the loop that enforces, and what they report to.
//!
//! In: events of an API server, or a snapshot. Out: a kernel that enforces it,
//! on connections that are open already, too; readiness, metrics, problems.
//! Never: rules of its own about what is allowed.

pub mod amounts;
pub mod api_contact;
pub mod binding_options;
pub mod boot_file;
pub mod boot_unit;
pub mod clock;
pub mod cluster_mark;
pub mod cluster_state;
pub mod conntrack_cleanup;
pub mod door;
pub mod drops;
pub mod enforcer;
pub mod interfaces;
pub mod lines;
pub mod local_pods;
pub mod metrics;
pub mod node_network;
pub mod node_ranges;
pub mod other_enforcers;
pub mod other_tables;
pub mod own_node;
pub mod pipeline;
pub mod pods;
pub mod problems;
pub mod report;
mod sink;
pub mod status;
pub mod tenant_lines;
pub mod unbindable;
pub mod view;

pub use sink::Sink;
