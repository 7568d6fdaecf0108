//! The kernel's nf_tables behind a safe API.
//!
//! In: a [`ruleset::Batch`] for one table of family `inet`; the kernel's
//! answers. Out: a commit or the operations that were refused; the table read
//! back as a [`ruleset::Ruleset`]. Beside it connection tracking's flows
//! ([`Conntrack`]), to list and to delete.
//! Never: policy words, the `nft` program, another table than the one named.
//!
//! ```text
//!  Kernel ── write ── Op -> rule/set -> Expression ─┐
//!    │                                             ffi (libnftnl) <-> netlink <-> socket
//!    └────── read ─── Rule/Set <- Expression ───────┘
//!  Conntrack ── wire ─────────────────────────────────────── netlink <-> socket
//! ```
//!
//! `ffi` and `membarrier` hold all `unsafe`.

mod connection;
mod conntrack;
mod datatype;
mod dump;
mod error;
mod expression;
#[expect(unsafe_code, reason = "libnftnl is a C library; this folder is its safe form")]
mod ffi;
#[doc(hidden)]
pub mod inspect;
mod kernel;
mod membarrier;
mod netlink;
mod normal;
mod packet;
mod probe;
mod read;
mod register;
mod socket;
mod userdata;
mod vital;
mod write;

pub use conntrack::{Conntrack, ConntrackError, Filter, Flow, Transport, Tuple};
pub use dump::{Dump, ForeignKind, ForeignObject};
pub use error::{Errno, OpenError, ReadError, Refusal, SendError};
pub use kernel::{Generation, Kernel};
pub use membarrier::membarrier;
pub use normal::normal_form;
pub use probe::Features;
pub use vital::{DroppingChain, Signs};
