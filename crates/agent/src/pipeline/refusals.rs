//! What follows when the kernel refuses a batch.
//!
//! In: the kernel's error, the batch, the compiled table. Out: policies to set
//! aside, or whether to try again or to build the table again. Never: a policy
//! blamed for a shortage of memory or for what others did, unless it is refused
//! again and again.
//!
//! What an errno is about is decided in one place, [`nft::Cause`]:
//!
//! | cause | such as | at once | after [`EQUAL_REFUSALS`] equal refusals |
//! |---|---|---|---|
//! | object | EINVAL, EMSGSIZE, EMLINK, most others; ENOENT of a rule; EEXIST of elements | the policies behind it are set aside | the table is built again if no policy is behind it |
//! | shortage | ENOMEM, ENOBUFS, ENFILE, EMFILE, ENOSPC, EINTR, EAGAIN | the old rules stay, try again later | the policies behind it are set aside, if there are any |
//! | shortage of the batch as a whole, or of the socket | ENOMEM, ENOBUFS | the same | the policy that takes the most of the batch is set aside; after five more twice as many, and so on |
//! | table state | EBUSY, EEXIST, ENOENT | the same | the table is built again, and once more after each [`REBUILD_EVERY`]; after ten, the policies behind it are set aside |
//! | anything else of the batch as a whole | EMLINK | the same | as table state, and after ten the policy that takes the most |
//!
//! * The kernel continues a batch after a refusal, so one refusal can be the
//!   reason of the next: a rule gets ENOENT if its set could not be made. So one
//!   shortage makes the whole answer a shortage, and ENOENT of a rule counts
//!   only if nothing else was refused.
//! * Without memory the kernel forgets which operations it refused, and answers
//!   ENOMEM to the whole batch (`nfnetlink_rcv_batch`, net/netfilter/nfnetlink.c).
//! * Refusals are equal if errno, action and policies are. Names of objects do
//!   not matter: they follow the content, which a tenant can change all the time.
//! * After [`MAX_FAILURES`] without a success in between, equal or not, what
//!   comes after ten comes at once. A shortage without a policy then blames those
//!   that take the most of the batch or of the table.
//! * A policy that was set aside after several refusals is on probation. When it
//!   is tried again, its first refusal sets it aside again.

use std::collections::{BTreeMap, BTreeSet};

use nft::{Cause, Refusal, SendError};
use policy::{Diagnostic, ObjectKey};

use super::blame::{RefusedBatch, heaviest, refused_itself, takes_the_most};

/// After this many equal refusals in a row, trying again is no longer enough.
pub(super) const EQUAL_REFUSALS: u32 = 5;
/// After this many refusals without a success, whatever was refused, trying again
/// is no longer enough.
const MAX_FAILURES: u32 = 20;
/// After this many more equal refusals, about a minute, the table is built again
/// once more: what was in the way of that may be gone.
const REBUILD_EVERY: u32 = 60;

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
    /// How often in a row `last` was refused and nothing else.
    equal: u32,
    /// Refusals since the last success, or since a policy was blamed.
    failures: u32,
    /// How often policies were blamed by their weight since the last success.
    weighings: u32,
    /// Set aside after several refusals, and not accepted since.
    on_probation: BTreeSet<ObjectKey>,
}

/// Errno, action and policies of a refusal.
type Refused = (i32, &'static str, BTreeSet<ObjectKey>);

impl RefusalHistory {
    /// A change reached its end, without these policies.
    pub(super) fn succeeded(&mut self, set_aside: &BTreeSet<ObjectKey>) {
        let mut on_probation = std::mem::take(&mut self.on_probation);
        on_probation.retain(|policy| set_aside.contains(policy));
        *self = Self { on_probation, ..Self::default() };
    }

    /// Decides what follows. Policies that are blamed are added to
    /// `set_aside`.
    pub(super) fn refused(
        &mut self,
        refused: RefusedBatch<'_>,
        error: &SendError,
        set_aside: &mut BTreeSet<ObjectKey>,
    ) -> Consequence {
        let mut found = match error {
            SendError::Refused(refusals) => self.refused_parts(refused, refusals, set_aside),
            _ => self.refused_whole(refused, error, set_aside),
        };
        if found.is_empty() && error.is_transient() && self.failures >= MAX_FAILURES {
            found = self.weigh(refused.weights_in_batch(), error, set_aside);
            if found.is_empty() {
                found = self.weigh(refused.weights_in_table(), error, set_aside);
            }
        }
        if !found.is_empty() {
            set_aside.extend(found.iter().map(|diagnostic| diagnostic.object.clone()));
            return Consequence::SetAside(found);
        }
        match error.is_transient() {
            // A table built beside the old one takes more memory, not less.
            true => Consequence::TryAgain,
            false => self.build_again(),
        }
    }

    /// The policies to blame for operations that were refused.
    fn refused_parts(
        &mut self,
        refused: RefusedBatch<'_>,
        refusals: &[Refusal],
        set_aside: &BTreeSet<ObjectKey>,
    ) -> Vec<Diagnostic> {
        let is_shortage = refusals.iter().any(Refusal::is_transient);
        let mut about_objects = BTreeMap::new();
        let mut suspects = BTreeMap::new();
        let mut kinds = BTreeSet::new();
        for refusal in refused.at_fault(refusals) {
            let policies = refused.behind(refusal);
            for policy in policies.difference(set_aside) {
                suspects.entry(policy.clone()).or_insert(refusal);
                if !is_shortage && refusal.cause(refused.batch) == Cause::Object {
                    about_objects.entry(policy.clone()).or_insert(refusal);
                }
            }
            kinds.insert((refusal.errno as i32, refusal.action, policies));
        }
        let diagnostics = |policies: BTreeMap<ObjectKey, &Refusal>| {
            policies.into_iter().map(|(policy, refusal)| refused_itself(policy, refusal)).collect()
        };
        if !about_objects.is_empty() {
            return diagnostics(about_objects);
        }
        self.count(kinds);
        if !self.is_enough(is_shortage) {
            suspects.retain(|policy, _| self.on_probation.contains(policy));
        }
        self.blamed(suspects.keys());
        diagnostics(suspects)
    }

    /// The policies to blame for a batch that was refused as a whole.
    fn refused_whole(
        &mut self,
        refused: RefusedBatch<'_>,
        error: &SendError,
        set_aside: &BTreeSet<ObjectKey>,
    ) -> Vec<Diagnostic> {
        self.count(BTreeSet::from([(errno(error), "commit", BTreeSet::new())]));
        if self.is_enough(error.is_transient()) {
            return self.weigh(refused.weights_in_batch(), error, set_aside);
        }
        if self.on_probation.is_empty() {
            return Vec::new();
        }
        let mut weights = refused.weights_in_batch();
        weights
            .retain(|policy, _| self.on_probation.contains(policy) && !set_aside.contains(policy));
        self.blamed(weights.keys());
        weights.into_keys().map(|policy| takes_the_most(policy, error)).collect()
    }

    /// Blames the policies that take the most: each time twice as many, so that
    /// many small ones cannot stop the others for long.
    fn weigh(
        &mut self,
        mut weights: BTreeMap<ObjectKey, u64>,
        error: &SendError,
        set_aside: &BTreeSet<ObjectKey>,
    ) -> Vec<Diagnostic> {
        weights.retain(|policy, _| !set_aside.contains(policy));
        let policies = heaviest(weights, 1 << self.weighings.min(16));
        if !policies.is_empty() {
            self.weighings += 1;
        }
        self.blamed(policies.iter());
        policies.into_iter().map(|policy| takes_the_most(policy, error)).collect()
    }

    fn count(&mut self, kinds: BTreeSet<Refused>) {
        self.equal = if self.last == kinds { self.equal.saturating_add(1) } else { 1 };
        self.failures = self.failures.saturating_add(1);
        self.last = kinds;
    }

    /// Whether policies are blamed for what they are not at fault for by itself.
    fn is_enough(&self, is_shortage: bool) -> bool {
        let enough = if is_shortage { EQUAL_REFUSALS } else { 2 * EQUAL_REFUSALS };
        self.equal >= enough || self.failures >= MAX_FAILURES
    }

    /// These policies are set aside for what was counted: the count begins again.
    fn blamed<'a>(&mut self, policies: impl ExactSizeIterator<Item = &'a ObjectKey>) {
        if policies.len() > 0 {
            self.on_probation.extend(policies.cloned());
            self.last.clear();
            self.equal = 0;
            self.failures = 0;
        }
    }

    fn build_again(&self) -> Consequence {
        match self.equal.checked_sub(EQUAL_REFUSALS) {
            Some(more) if more.is_multiple_of(REBUILD_EVERY) => Consequence::BuildAgain,
            Some(_) => Consequence::TryRarely,
            None if self.failures.is_multiple_of(MAX_FAILURES) => Consequence::BuildAgain,
            None => Consequence::TryAgain,
        }
    }
}

fn errno(error: &SendError) -> i32 {
    match error {
        SendError::RefusedWhole(errno) => *errno as i32,
        SendError::Io(error) => error.raw_os_error().unwrap_or_default(),
        _ => 0,
    }
}
