//! The kernel's nf_tables behind a safe API.
//!
//! In: a [`ruleset::Batch`] for one table of family `inet` or `bridge`, and the
//! kernel's answers. Out: a commit or the refused operations, and the table read back as
//! a [`ruleset::Ruleset`]. [`Conntrack`] lists and deletes the flows of
//! connection tracking. [`links`] reads which interface leads to which addresses.
//! [`Namespace`] is another network namespace, to open these in.
//! [`DropLog`] and [`DropCounts`] tell which packets the rules dropped, and how many.
//! Never: policy words, the `nft` program, any table except the one named.
//!
//! ```text
//!  Kernel ── write ── Op -> rule/set -> Expression ─┐
//!    │                                             ffi (libnftnl) <-> netlink <-> socket
//!    └────── read ─── Rule/Set <- Expression ───────┘
//!  Conntrack ── wire ─────────────────────────────────────── netlink <-> socket
//!  links ────── wire ─────────────────────────────────────── netlink <-> socket
//! ```
//!
//! `ffi`, `membarrier` and `socket_option` contain all `unsafe` code.

mod chains_of_others;
mod changes;
mod client;
mod conntrack;
mod datatype;
mod drop_counts;
mod drop_log;
mod dump;
mod error;
mod expression;
#[expect(unsafe_code, reason = "libnftnl is a C library; this module is its safe wrapper")]
mod ffi;
mod fingerprint;
mod generation;
#[doc(hidden)]
pub mod inspect;
mod kernel;
mod legacy;
pub mod links;
mod membarrier;
mod namespace;
mod needs;
mod netlink;
mod normal;
mod ownership;
mod packet;
mod probe;
mod read;
mod register;
mod socket;
mod socket_option;
mod table_family;
mod userdata;
mod write;

pub use chains_of_others::ChainOfOthers;
pub use changes::{ChangeListener, Committer};
pub use conntrack::{Conntrack, ConntrackError, Filter, Flow, Tuple, TupleId};
pub use drop_counts::DropCounts;
pub use drop_log::{DropLog, DropLogError, LoggedHeaders, LoggedPacket};
pub use dump::{Dump, ForeignKind, ForeignObject};
pub use error::{Cause, Errno, OpenError, ReadError, Refusal, SendError};
pub use fingerprint::TableFingerprint;
pub use generation::Generation;
pub use kernel::Kernel;
pub use legacy::legacy_chains;
pub use membarrier::membarrier;
pub use namespace::{Namespace, NamespaceId};
pub use normal::normal_form;
pub use probe::Features;
