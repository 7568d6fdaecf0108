//! Network namespaces with names, and the wires between them.
//!
//! `ip netns` shows the namespaces. Dropping a [`Namespace`] ends the namespace and
//! every process in it. Never: a change of the machine's own network, or a silent
//! skip where rights are missing.

mod namespace;
mod wire;

pub use namespace::{Namespace, require_root};
pub use wire::veth;
