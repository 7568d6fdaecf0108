//! The node's network, as the loop and the one-shot commands see it.
//!
//! In: rtnetlink ([`nft::links`]), the addresses that local pods report, the
//! operator's flags. Out: [`policy::Seen`], and the [`policy::NodeNetwork`] that
//! [`policy::resolve`] concludes. Never: a rule of its own about whose an address
//! is.
//!
//! ```text
//!  thread: schedule ─▶ LinkReader, LinkEvents ─▶ Look ──┐ latest()
//!             ▲                                         ▼
//!             └──── want(addresses of pods) ──── loop ─▶ Binder ─▶ NodeNetwork
//! ```

mod binder;
pub mod ipvs;
mod schedule;
mod seen;
mod watcher;

pub use binder::{Binder, Update};
pub use schedule::{
    FIRST_RETRY, FULL_EVERY, LAST_RETRY, LOOK_SHARE, SETTLE, Schedule, Scope, Step,
};
pub use seen::{Given, Look};
pub use watcher::{Effort, NodeView, NodeWatcher, look_once};
