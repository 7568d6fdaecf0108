//! Policies that the kernel refuses.
//!
//! In: what it refused, of which batch. Out: the policies behind that.
//! Never: a guess where no policy is behind it.

use std::collections::BTreeSet;

use compiler::Compiled;
use nft::Refusal;
use policy::{Diagnostic, ObjectKey, Severity};
use ruleset::{Batch, Op};

/// Adds the policies behind what was refused to those that are set aside; says
/// which are new and why.
pub(super) fn set_aside(
    compiled: &Compiled,
    refusals: &[Refusal],
    batch: &Batch,
    set_aside: &mut BTreeSet<ObjectKey>,
) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for refusal in refusals {
        for policy in behind(compiled, refusal, batch) {
            if set_aside.insert(policy.clone()) {
                diagnostics.push(Diagnostic {
                    severity: Severity::Error,
                    kind: "NetworkPolicy",
                    object: policy,
                    field: String::new(),
                    message: format!(
                        "the kernel refused it ({refusal}); its pods stay isolated and it \
                         allows nothing"
                    ),
                });
            }
        }
    }
    diagnostics
}

fn behind(compiled: &Compiled, refusal: &Refusal, batch: &Batch) -> BTreeSet<ObjectKey> {
    let Some(object) = &refusal.object else { return BTreeSet::new() };
    let rule = match batch.ops.get(refusal.op) {
        Some(Op::AddRule(_, rule)) => Some(rule.matches.as_slice()),
        _ => None,
    };
    compiled.policies_behind(object, rule)
}
