//! Kubernetes objects to the `policy` model, and an index over them.
//!
//! In: NetworkPolicy, Pod and Namespace from the API server ([`api`]), as YAML
//! and JSON text ([`files`]), or as k8s-openapi types ([`convert`]).
//! Out: the model's objects with what is wrong about them, and from [`Index`]
//! what changed when one of them came, went or was listed anew.
//! Never: nftables words, decisions about packets, an `await` outside [`api`].

pub mod api;
pub mod convert;
pub mod files;
mod index;
mod object;

pub use index::{Change, Index};
pub use object::{Kind, Object};
