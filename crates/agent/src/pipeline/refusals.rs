//! What follows when the kernel refuses a batch.
//!
//! In: refusals, the batch, the compiled table. Out: policies to set aside, or
//! whether to try again or to build the table again. Never: a policy blamed
//! for a shortage of memory or for what others did, unless it is refused
//! again and again.
//!
//! What an errno is about is decided in one place, [`nft::Cause`]:
//!
//! | cause | such as | at once | after [`EQUAL_REFUSALS`] equal refusals |
//! |---|---|---|---|
//! | object | EINVAL, EMSGSIZE, EMLINK, most others; ENOENT of a rule; EEXIST of elements | the policies behind it are set aside | the table is built again if no policy is behind it |
//! | shortage | ENOMEM, ENOBUFS, ENFILE, EMFILE, ENOSPC, EINTR, EAGAIN | the old rules stay, try again later | the policies behind it are set aside, if there are any |
//! | table state | EBUSY, EEXIST, ENOENT | the same | the table is built again; if that does not help, the policies behind it are set aside |
//!
//! The kernel continues a batch after a refusal, so one refusal can be the
//! reason of the next: a rule gets ENOENT if its set could not be made. So one
//! shortage makes the whole answer a shortage, and ENOENT of a rule counts only
//! if nothing else was refused.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use compiler::Compiled;
use nft::{Cause, Errno, Refusal, SendError};
use policy::{Diagnostic, ObjectKey, Severity};
use ruleset::{Batch, Name, Op};

/// After this many equal refusals in a row more is done than to try again.
pub(super) const EQUAL_REFUSALS: u32 = 5;

/// What follows from a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Consequence {
    /// These policies are set aside: go on without them.
    SetAside(Vec<Diagnostic>),
    /// Keep the old rules and try again later.
    TryAgain,
    /// Refused [`EQUAL_REFUSALS`] times in a row: build the table again.
    BuildAgain,
    /// Building it again did not help: keep the old rules, try again rarely.
    TryRarely,
}

/// The refusals that no policy was blamed for yet.
#[derive(Debug, Default)]
pub(super) struct RefusalHistory {
    last: BTreeSet<Refused>,
    times: u32,
}

/// Errno, action and object of a refusal.
type Refused = (i32, &'static str, Option<Name>);

impl RefusalHistory {
    /// A change reached its end.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Counts a refusal of a batch as a whole.
    pub(super) fn refused_whole(&mut self, errno: Errno) -> Consequence {
        let times = self.count(BTreeSet::from([(errno as i32, "commit", None)]));
        match SendError::RefusedWhole(errno).is_transient() {
            true => Consequence::TryAgain,
            false => build_again(times),
        }
    }

    /// Decides what follows. Policies that are blamed are added to
    /// `set_aside`.
    pub(super) fn refused(
        &mut self,
        compiled: &Compiled,
        refusals: &[Refusal],
        batch: &Batch,
        set_aside: &mut BTreeSet<ObjectKey>,
    ) -> Consequence {
        let is_shortage = refusals.iter().any(Refusal::is_transient);
        let at_fault = at_fault(refusals, batch);
        if !is_shortage {
            let is_object = |refusal: &&Refusal| refusal.cause(batch) == Cause::Object;
            let about_objects: Vec<&Refusal> = at_fault.iter().copied().filter(is_object).collect();
            let found = blame(compiled, &about_objects, batch, set_aside);
            if !found.is_empty() {
                return Consequence::SetAside(found);
            }
        }
        let kinds =
            at_fault.iter().map(|one| (one.errno as i32, one.action, one.object.clone())).collect();
        let times = self.count(kinds);
        if times < EQUAL_REFUSALS {
            return Consequence::TryAgain;
        }
        if is_shortage || times >= 2 * EQUAL_REFUSALS {
            let found = blame(compiled, &at_fault, batch, set_aside);
            if !found.is_empty() {
                self.clear();
                return Consequence::SetAside(found);
            }
        }
        match is_shortage {
            // A table built beside the old one takes more memory, not less.
            true => Consequence::TryAgain,
            false => build_again(times),
        }
    }

    /// How often in a row these were refused and nothing else.
    fn count(&mut self, kinds: BTreeSet<Refused>) -> u32 {
        self.times = if self.last == kinds { self.times.saturating_add(1) } else { 1 };
        self.last = kinds;
        self.times
    }
}

fn build_again(times: u32) -> Consequence {
    match times.cmp(&EQUAL_REFUSALS) {
        Ordering::Less => Consequence::TryAgain,
        Ordering::Equal => Consequence::BuildAgain,
        Ordering::Greater => Consequence::TryRarely,
    }
}

/// The refusals without those that others of them can be the reason of.
fn at_fault<'a>(refusals: &'a [Refusal], batch: &Batch) -> Vec<&'a Refusal> {
    let is_consequence = |refusal: &Refusal| {
        let is_rule = matches!(batch.ops.get(refusal.op), Some(Op::AddRule(..)));
        is_rule && refusal.errno == Errno::ENOENT
    };
    let reasons: Vec<&Refusal> = refusals.iter().filter(|one| !is_consequence(one)).collect();
    if reasons.is_empty() { refusals.iter().collect() } else { reasons }
}

/// Adds the policies behind the refusals to those that are set aside. Returns
/// a diagnostic for each new one.
fn blame(
    compiled: &Compiled,
    refusals: &[&Refusal],
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
