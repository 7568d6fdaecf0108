//! End-to-end tests on real network namespaces and real packets.
//!
//! In: a description of a cluster and Kubernetes YAML.
//! Out: namespaces wired like nodes and pods, the built `nftpol` run in them,
//! and what packets do, compared with what `policy::spec` says they must.
//! Never: an expectation taken from `nftpol`'s own output; a test that skips
//! itself.

pub mod apiserver;
pub mod cluster;
pub mod conntrack;
pub mod container;
pub mod daemon;
pub mod datagram;
pub mod echo;
pub mod fire;
pub mod fixtures;
pub mod frame;
pub mod fresh;
pub mod from_scratch;
pub mod image;
pub mod interrupt;
pub mod judge;
pub mod kubernetes;
pub mod large;
pub mod net;
pub mod objects;
pub mod outpost;
pub mod probe;
pub mod program;
pub mod random;
pub mod rootfs;
pub mod scenario;
pub mod scratch;
pub mod segment;
pub mod stream;
pub mod upstream;
pub mod verdict;
pub mod world;
