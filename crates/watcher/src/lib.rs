//! Kubernetes objects to the `policy` model, and a store of the present ones.
//!
//! Objects come from the API server ([`api`]) or from files ([`files`]). Both
//! use the same decoding and the same conversion, so the same object means the
//! same from either source:
//!
//! ```text
//! API server                                    file, folder, stdin
//!   | api/requests: a list or a watch             | files/source: bytes
//!   | api/list_splitter: one object at a time     | files/text, split: documents
//!   v                                             | files/stream: one object at a time; with positions
//! api/watch_line, kinds                           | (files/yaml, syntax) if something is wrong with it
//!   |             |                               | files/document: which kind
//!   | Pod,        | NetworkPolicy                 |
//!   | Namespace   | (unknown fields matter)       |
//!   |             v                               v
//!   |         api/policy_json --> node --> decode: typed objects, issues, unreadable fields
//!   |                                        |
//!   +-----------> small structs ------> convert: the model's objects, diagnostics
//!                                            |
//!               +----------------------------+----------+
//!               v                                       v
//!   api/watch: events (Listed, Applied,       files/review: duplicates, missing Namespaces
//!   Deleted, Failed)                                    v
//!               |                             Loaded: objects, findings by file and line
//!               +-----------> [`Store`] <--------------+
//! ```
//!
//! Modules depend on one another in one direction: `api` and `files` on
//! `convert`, this on `decode`, this on `spelling`.
//! Never: nftables words, decisions about packets, an `await` outside [`api`].

pub mod api;
pub mod convert;
mod decode;
pub mod files;
mod known;
mod object;
mod recent;
pub mod related;
mod spelling;
mod store;

pub use known::Known;
pub use object::{Kind, Object};
pub use spelling::suggest;
pub use store::Store;
