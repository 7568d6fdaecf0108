//! Kubernetes objects to the `policy` model, and a store of them.
//!
//! In: NetworkPolicy, Pod and Namespace from the API server ([`api`]), as YAML
//! and JSON text ([`files`]), or as k8s-openapi types ([`convert`]).
//! Out: the model's objects with what is wrong about them; [`Store`] holds them
//! as one snapshot.
//! Never: nftables words, decisions about packets, an `await` outside [`api`].

pub mod api;
pub mod convert;
pub mod files;
mod object;
mod store;

pub use object::{Kind, Object};
pub use store::Store;
