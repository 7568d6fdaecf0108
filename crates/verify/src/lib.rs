//! A proof that a ruleset means what the specification says.
//!
//! In: a [`policy::Snapshot`], the node, the policies set aside, and the
//! [`ruleset::Ruleset`] that shall enforce them there.
//! Out: a [`Report`]: the two are equal for every packet there can be (both
//! families, all addresses, protocols, ports, ICMPv6 types, hop limits, frames
//! and states of a flow), or packets with which they differ.
//! Never: samples, the compiler's code, `ruleset::simulator`'s code, I/O.
//!
//! | piece | from | to |
//! |---|---|---|
//! | `ranges`, `region` | ranges | sets of numbers, sets of (address, code), canonical |
//! | `space` | headers | numbers, and back |
//! | `allowed`, `model` | the policy model | what policies allow each isolated address |
//! | `expected` | that | what must pass, the edges included |
//! | `sets`, `packet_set`, `condition`, `machine` | the ruleset | what passes: chains run with all packets at once |
//! | `proof` | both | the differences |
//!
//! What is not judged: packets between a pod and its own node, which cross
//! other hooks; fragments, which connection tracking puts together before.

mod allowed;
mod condition;
mod error;
mod expected;
mod machine;
mod model;
mod packet_set;
mod proof;
mod ranges;
mod region;
mod report;
mod sets;
mod space;

use std::collections::BTreeSet;

use policy::{ObjectKey, Snapshot, spec};
use ruleset::Ruleset;

pub use error::VerifyError;
pub use report::{Counts, Difference, Reason, Report};

/// Compares what a ruleset does on a node with what the specification says.
/// `node` is the one whose pods are local (`spec.nodeName`); `None` takes all
/// pods as local. The policies that are set aside isolate and allow nothing.
///
/// # Errors
/// A ruleset that no kernel would take has no meaning: see [`VerifyError`].
pub fn verify(
    snapshot: &Snapshot,
    node: Option<&str>,
    set_aside: &BTreeSet<ObjectKey>,
    ruleset: &Ruleset,
) -> Result<Report, VerifyError> {
    let snapshot = model::without_rules_of(snapshot, set_aside);
    let owners = spec::owners(&snapshot);
    let model = model::Model::new(&snapshot, &owners, node);
    proof::Proof::new(&model, node, ruleset).run()
}
