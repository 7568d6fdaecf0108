//! Since when policies are set aside, and why. The engine's options say which.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use policy::{Diagnostic, ObjectKey};

/// How long a refused policy stays set aside while its object does not change.
/// What it lacked, such as memory, may be available by then.
const SET_ASIDE_FOR: Duration = Duration::from_secs(60);

/// The policies that are set aside.
#[derive(Debug, Default)]
pub(super) struct SetAside {
    diagnostics: Vec<Diagnostic>,
    /// When the first of them was.
    since: Option<Instant>,
}

impl SetAside {
    /// One of these for each policy that is set aside.
    pub(super) fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// More policies are set aside.
    pub(super) fn add(&mut self, diagnostics: Vec<Diagnostic>, now: Instant) {
        self.since.get_or_insert(now);
        self.diagnostics.extend(diagnostics);
    }

    /// Whether the policies are to be tried again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) > SET_ASIDE_FOR)
    }

    /// Only these policies stay set aside.
    pub(super) fn keep(&mut self, policies: &BTreeSet<ObjectKey>) {
        self.diagnostics.retain(|diagnostic| policies.contains(&diagnostic.object));
        self.since = self.since.filter(|_| !policies.is_empty());
    }
}
