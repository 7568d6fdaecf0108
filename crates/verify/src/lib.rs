//! A proof that a ruleset means what the specification says.
//!
//! In: a [`policy::Snapshot`], the node, the policies that are set aside, and
//! the [`ruleset::Ruleset`] that must enforce them.
//! Out: a [`Report`]. Either the two agree on every possible packet (both
//! families, all addresses, protocols, ports, ICMPv6 types, hop limits, frames
//! and flow states), or it lists packets on which they differ.
//! Never: samples, the compiler's code, `ruleset::simulator`'s code, I/O.
//!
//! | module | input | output |
//! |---|---|---|
//! | `ranges`, `region` | ranges | canonical sets of numbers, and of (address, code) |
//! | `space` | headers | numbers, and back |
//! | `allowed`, `model` | the policy model | what policies allow each isolated address |
//! | `expected` | that | what must pass, edges included |
//! | `sets`, `packet_set`, `condition`, `machine` | the ruleset | what passes, with all packets run at once |
//! | `proof` | both | the differences |
//!
//! Two kinds of packets are not checked. Packets between a pod and its own node
//! cross other hooks. Fragments are reassembled by connection tracking before
//! the forward hook.

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
///
/// `node` is the node whose pods are local (`spec.nodeName`). With `None` all
/// pods are local. Policies that are set aside isolate and allow nothing.
///
/// # Errors
/// See [`VerifyError`]: no kernel would accept the ruleset, so it has no
/// meaning.
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
