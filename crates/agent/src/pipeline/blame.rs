//! The policies that a refused batch comes from.
//!
//! In: a batch, the table that it was planned for, refusals. Out: the policies
//! behind each refusal, or those that take the most of the batch.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use compiler::Compiled;
use nft::{Errno, Refusal, SendError};
use policy::{Diagnostic, ObjectKey, Severity};
use ruleset::{Batch, Name, Op};

/// A batch that the kernel refused, and the table that it is on the way to.
#[derive(Clone, Copy, Debug)]
pub(super) struct RefusedBatch<'a> {
    /// `None` for a table that comes from no policy.
    pub(super) compiled: Option<&'a Compiled>,
    pub(super) batch: &'a Batch,
}

/// How much of a batch or table each policy takes.
type Weights = BTreeMap<ObjectKey, u64>;

impl RefusedBatch<'_> {
    /// The policies behind a refusal.
    pub(super) fn behind(&self, refusal: &Refusal) -> BTreeSet<ObjectKey> {
        let (Some(object), Some(compiled)) = (&refusal.object, self.compiled) else {
            return BTreeSet::new();
        };
        let rule = match self.batch.ops.get(refusal.op) {
            Some(Op::AddRule(_, rule)) => Some(rule.matches.as_slice()),
            _ => None,
        };
        compiled.policies_behind(object, rule)
    }

    /// The refusals without those that others of them can be the reason of.
    pub(super) fn at_fault<'a>(&self, refusals: &'a [Refusal]) -> Vec<&'a Refusal> {
        let is_consequence = |refusal: &Refusal| {
            let is_rule = matches!(self.batch.ops.get(refusal.op), Some(Op::AddRule(..)));
            is_rule && refusal.errno == Errno::ENOENT
        };
        let reasons: Vec<&Refusal> = refusals.iter().filter(|one| !is_consequence(one)).collect();
        if reasons.is_empty() { refusals.iter().collect() } else { reasons }
    }

    /// How much of the batch each policy takes.
    pub(super) fn weights_in_batch(&self) -> Weights {
        let objects = self.batch.ops.iter().filter_map(|op| Some((op.object()?, weight(op))));
        self.weights(objects.filter(|(_, weight)| *weight > 0))
    }

    /// How much of the whole table each policy takes.
    pub(super) fn weights_in_table(&self) -> Weights {
        let Some(Compiled { ruleset: table, .. }) = self.compiled else { return Weights::new() };
        let sets = table.sets.iter().map(|(name, set)| (name, set.elements.len()));
        let chains = table.chains.iter().map(|(name, chain)| (name, chain.rules.len()));
        self.weights(sets.chain(chains).map(|(name, parts)| (name, 1 + parts as u64)))
    }

    /// What several policies share counts for each of them by its part.
    fn weights<'a>(&self, objects: impl Iterator<Item = (&'a Name, u64)>) -> Weights {
        let mut by_object: BTreeMap<&Name, u64> = BTreeMap::new();
        for (object, weight) in objects {
            *by_object.entry(object).or_default() += weight;
        }
        let mut weights = Weights::new();
        let Some(compiled) = self.compiled else { return weights };
        for (object, weight) in by_object {
            let policies = compiled.policies_behind(object, None);
            let part = weight.div_ceil(policies.len().max(1) as u64);
            for policy in policies {
                *weights.entry(policy).or_default() += part;
            }
        }
        weights
    }
}

/// How much an operation adds to the table.
fn weight(op: &Op) -> u64 {
    match op {
        Op::AddElements(_, _, elements) => elements.len() as u64,
        Op::AddEntries(_, _, entries) => entries.len() as u64,
        Op::CreateTable
        | Op::CreateSet(..)
        | Op::CreateMap(..)
        | Op::CreateChain(..)
        | Op::AddRule(..) => 1,
        Op::DeleteSet(_)
        | Op::DeleteElements(..)
        | Op::DeleteMap(_)
        | Op::DeleteEntries(..)
        | Op::FlushChain(_)
        | Op::DeleteChain(_) => 0,
    }
}

/// The policies that take the most.
pub(super) fn heaviest(weights: Weights, how_many: usize) -> BTreeSet<ObjectKey> {
    let mut policies: Vec<_> = weights.into_iter().collect();
    policies.sort_by_key(|(_, weight)| Reverse(*weight));
    policies.into_iter().take(how_many).map(|(policy, _)| policy).collect()
}

/// What to say about a policy behind a refusal.
pub(super) fn refused_itself(policy: ObjectKey, refusal: &Refusal) -> Diagnostic {
    diagnostic(policy, format!("the kernel refused it ({refusal})"))
}

/// What to say about a policy that takes much of what was refused.
pub(super) fn takes_the_most(policy: ObjectKey, error: &SendError) -> Diagnostic {
    let why = "it takes more than others of what the kernel refused again and again";
    diagnostic(policy, format!("{why} ({error})"))
}

fn diagnostic(object: ObjectKey, why: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        kind: "NetworkPolicy",
        object,
        field: String::new(),
        message: format!("{why}; its pods stay isolated and it allows nothing"),
    }
}
