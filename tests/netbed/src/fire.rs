//! The shooting range: packets at full speed while the rules change.
//!
//! You give probes with their expected fate, and the updates to make meanwhile. For
//! every probe you get how many packets were sent, arrived and passed. The numbers
//! are exact: they come from counters in the kernel.
//!
//! No packet belongs to a known flow. The node drops every packet in postrouting,
//! before connection tracking confirms it. So each packet is new and the rules
//! judge it.
//!
//! ```text
//! pod (raw socket) --veth--> prerouting: count --> forward: nftpol --> postrouting: count, drop
//! ```

mod control;
mod drive;
mod gun;
mod kill;
mod kinds;
mod manifest;
mod observe;
pub mod packet;
mod range;
mod run;
mod shoot;

pub use gun::Fire;
pub use kill::run_killed;
pub use kinds::Kind;
pub use manifest::policy;
pub use observe::{nft, script as observer};
pub use range::Range;
pub use run::{judge, report, run, say};
pub use shoot::{Goal, Outcome, shoot};

use std::net::Ipv4Addr;

/// What must happen to a probe's packets, whenever they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// All pass. They are allowed before and after each update.
    Pass,
    /// None passes. They are denied before and after each update.
    Drop,
    /// Some pass and some do not. This is what the updates change.
    Either,
}

/// One kind of packet: UDP from one pod to one address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The index of the pod that sends it.
    pub source: usize,
    /// Where it goes: one of [`Range::destination`].
    pub destination: Ipv4Addr,
    /// UDP destination port.
    pub port: u16,
    /// What must happen to it.
    pub expect: Expect,
}
