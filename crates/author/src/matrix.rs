//! Who reaches whom.
//!
//! In: a cluster, or two versions of one. Out: for each two ends the ports that may pass,
//! and what a change opens and closes, with the policy that causes it.
//! Never: an answer that is not the specification's. The tests hold both together.
//!
//! ```text
//! Cluster --ends--> units, addresses --judge--> ports between two --table--> Matrix --fold--> groups
//!                                                  |                                           |
//!                                                  +--diff--> changes, causes, words           show/: text, csv, json, md, dot, html
//! ```

pub mod csv;
pub mod diff;
pub mod dot;
pub mod ends;
pub mod fold;
pub mod html;
pub mod json;
pub mod judge;
pub mod markdown;
pub mod names;
pub mod outside;
pub mod sets;
pub mod table;
pub mod text;
