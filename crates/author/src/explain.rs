//! May this connection pass, and why?
//!
//! In: a cluster and two ends, as people write them. Out: an [`Answer`]: for each group of
//! ends that policies treat alike, what both sides' policies say, rule by rule, and the
//! smallest change that would let it pass.
//! Never: another verdict than that of [`policy::spec`].
//!
//! ```text
//! end: text -> what it names        targets: Services, ports of nodes -> pods
//!        |                             |
//!        +--> places: pods, nodes, addresses, the internet (outside)
//!                     |
//!             ask: pairs, folded --> ways: what each side sees of the packet
//!                     |                 |
//!                     +--> judge, why: each rule;  repair: what would let it pass
//!                     v
//!             report --> text, JSON
//!                     ^
//!              kernel: what agents say, where they are asked
//! ```

mod ask;
mod end;
mod judge;
mod kernel;
mod notes;
mod outside;
mod places;
mod repair;
mod report;
mod targets;
mod text;
mod ways;
mod why;

pub use ask::{AskError, explain};
pub use end::{AskedPort, End, EndError, Named, NumberOrName};
pub use kernel::{AskAgent, add_kernel};
pub use places::PlaceError;
pub use report::{Answer, Case, EndName, Kernel, Match, Policy, Rule, Side, Verdict};
pub use targets::TargetError;
pub use ways::WayError;
