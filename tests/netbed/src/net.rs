//! Named network namespaces and the wires between them.
//!
//! In: names, `ip` commands, sysctl values, closures.
//! Out: namespaces that `ip netns` shows and that vanish with their
//! [`Namespace`], with everything that runs in them.
//! Never: a change of the machine's own network; a silent skip where the
//! rights are missing.

mod namespace;
mod wire;

pub use namespace::{Namespace, require_root};
pub use wire::veth;
