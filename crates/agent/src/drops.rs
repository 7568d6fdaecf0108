//! The packets that policies deny on this node.
//!
//! In: packets that the rules log, the counters beside them, what the enforcing thread
//! shows. Out: packets with the names of both ends and of the policies, totals by
//! namespace, log lines.
//! Never: a wait of the thread that enforces.
//!
//! ```text
//!  kernel ── NFLOG ───▶ reader (a thread) ─┬─▶ ring of the last packets ─▶ door
//!         ── counters ▶    ▲               ├─▶ nftpol_denied_packets_total
//!  enforcer ─▶ view ───────┘ names         └─▶ log, where asked for
//! ```
//!
//! In pods' own namespaces `pods::drops` reads instead, and tells by the same [`Teller`].

mod counts;
mod flood;
mod log_lines;
mod names;
mod reader;
mod ring;
mod teller;

pub use counts::{Counts, Side};
pub use names::{Names, Who};
pub use reader::{Settings, start};
pub use ring::{Entry, LeftOutEntry, Packet, Reason, Ring, SIZE};
pub use teller::{By, Teller, counters};
