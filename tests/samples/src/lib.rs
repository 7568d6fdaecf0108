//! The inputs of the tests, and the output that the specification expects.
//!
//! | module | what for |
//! |---|---|
//! | [`fixtures`] | the files in `tests/fixtures`; the clusters and policies that several tests use |
//! | [`testbed_spec`] | describes a cluster: nodes, namespaces, pods, wiring; its manifests and its objects |
//! | [`objects`] | manifests to the snapshot that expectations come from |
//! | [`random`] | random clusters, changes and histories, small enough that objects collide |
//! | [`large`] | the large clusters that the tools measure, always the same |
//! | [`from_scratch`] | what a snapshot compiles to, computed without the engine, for property tests |
//! | [`crowd`] | one namespace of many pods whose policies use port names |
//! | [`frames`] | frames on a network, and what the specification of the binding says of them |
//! | [`pages`] | commands in the documentation that tests run |
//! | [`judge`] | what one node must do with a packet, according to the specification |
//! | [`scratch`] | a folder for one test |
//!
//! Never: the kernel's networking, or an expectation taken from `nftpol`'s own output.

pub mod crowd;
pub mod fixtures;
pub mod frames;
pub mod from_scratch;
pub mod judge;
pub mod large;
pub mod objects;
pub mod pages;
pub mod random;
pub mod scratch;
pub mod testbed_spec;
