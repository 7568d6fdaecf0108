//! Against the running kernel, in network namespaces of their own. They need
//! root and the `nft` program, and fail without.

mod common;
mod concurrent;
mod conntrack;
mod dropping_chains;
mod fingerprint;
mod foreign;
mod namespace;
mod operations;
mod random;
mod round_trip;
mod scale;
