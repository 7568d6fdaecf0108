//! The findings so far, a limited number of them.

use std::collections::HashSet;

use policy::{ObjectKey, Severity};

use super::finding::{Finding, Location};

/// The number of findings that are kept. Nobody reads more, and a text of a
/// hundred megabytes can have a million.
const KEPT: usize = 10_000;

/// Findings in the order in which they were found.
#[derive(Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    /// The objects with an error.
    broken: Vec<ObjectKey>,
    left_out: LeftOut,
}

/// Findings that were not kept.
#[derive(Clone, Default)]
struct LeftOut {
    count: usize,
    worst: Option<Severity>,
}

/// A moment.
pub(super) struct Mark {
    kept: usize,
    broken: usize,
    left_out: LeftOut,
}

impl Findings {
    pub(super) fn push(&mut self, finding: Finding) {
        let is_error = finding.severity == Severity::Error;
        if let Some(key) = finding.object.as_ref().filter(|_| is_error)
            && self.broken.last() != Some(key)
        {
            self.broken.push(key.clone());
        }
        if self.kept.len() < KEPT {
            return self.kept.push(finding);
        }
        let LeftOut { count, worst } = &mut self.left_out;
        *count += 1;
        *worst = (*worst).max(Some(finding.severity));
    }

    /// The objects with an error so far.
    pub(super) fn broken(&self) -> HashSet<ObjectKey> {
        self.broken.iter().cloned().collect()
    }

    pub(super) fn mark(&self) -> Mark {
        let left_out = self.left_out.clone();
        Mark { kept: self.kept.len(), broken: self.broken.len(), left_out }
    }

    /// Forgets what was found since.
    pub(super) fn rollback(&mut self, mark: &Mark) {
        self.kept.truncate(mark.kept);
        self.broken.truncate(mark.broken);
        self.left_out = mark.left_out.clone();
    }

    /// The findings that were kept, sorted, and one that tells of the others.
    pub(super) fn finish<K: Ord>(self, by: impl Fn(&Location) -> K) -> Vec<Finding> {
        let Self { mut kept, left_out: LeftOut { count, worst }, .. } = self;
        kept.sort_by_cached_key(|finding| by(&finding.location));
        kept.dedup();
        if let Some((last, severity)) = kept.last().zip(worst) {
            let location = last.location.clone();
            let message = format!("{count} further mistakes are not shown");
            let (kind, field) = (String::new(), String::new());
            kept.push(Finding { location, severity, kind, object: None, field, message });
        }
        kept
    }
}
