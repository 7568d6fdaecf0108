//! Tests with the running kernel, each in its own network namespace. They need root
//! and the `nft` program. Without these they fail.

mod binding;
mod chains_of_others;
mod changes;
mod common;
mod concurrent;
mod conntrack;
mod drop_log;
mod fingerprint;
mod foreign;
mod foreign_in_bridge;
mod garbled;
mod meaning;
mod namespace;
mod operations;
mod ownership;
mod random;
mod round_trip;
mod samples;
mod scale;
mod two_tables;
