//! The cluster as the watches report it.
//!
//! In: events of the watches. Out: a snapshot, the kinds that are not listed
//! yet, and what is wrong with objects.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Diagnostic, ObjectKey, Snapshot};
use watcher::api::{Event, Found};
use watcher::{Kind, Known, Object, Store};

/// The cluster as far as it is known.
#[derive(Debug, Default)]
pub struct ClusterState {
    store: Store,
    /// For the watches, which read lists again.
    known: Known,
    listed: BTreeSet<Kind>,
    findings: BTreeMap<(Kind, ObjectKey), Vec<Diagnostic>>,
}

impl ClusterState {
    /// The objects of this state, now and later, for the watches.
    pub fn known(&self) -> Known {
        self.known.clone()
    }

    /// Takes an event in. Returns whether anything changed, findings included:
    /// an object can be wrong in a new way and still mean the same.
    pub fn take(&mut self, event: Event) -> bool {
        let changed = self.store_event(event);
        self.known.set(self.store.snapshot());
        changed
    }

    fn store_event(&mut self, event: Event) -> bool {
        match event {
            Event::Listed { kind, objects } => {
                let mut changed = self.forget_findings(kind, &objects);
                let mut kept = Vec::with_capacity(objects.len());
                for Found { object, diagnostics } in objects {
                    changed |= self.find(&object, diagnostics);
                    kept.push(object);
                }
                let is_first = self.listed.insert(kind);
                self.store.replace(kind, kept) || is_first || changed
            }
            Event::Applied(Found { object, diagnostics }) => {
                let changed = self.find(&object, diagnostics);
                self.store.apply(object) || changed
            }
            Event::Deleted { kind, key } => {
                self.findings.remove(&(kind, key.clone()));
                self.store.delete(kind, &key)
            }
            Event::Failed { .. } => false,
        }
    }

    /// Forgets what is wrong with objects that are not listed any more. Returns
    /// whether anything was.
    fn forget_findings(&mut self, kind: Kind, listed: &[Found]) -> bool {
        let before = self.findings.len();
        if self.findings.keys().any(|(of, _)| *of == kind) {
            let keys: BTreeSet<ObjectKey> = listed.iter().map(|one| one.object.key()).collect();
            self.findings.retain(|(of, key), _| *of != kind || keys.contains(key));
        }
        self.findings.len() != before
    }

    /// Stores what is wrong with an object, and logs it if it is new. Returns
    /// whether it changed.
    fn find(&mut self, object: &Object, diagnostics: Vec<Diagnostic>) -> bool {
        if diagnostics.is_empty() && self.findings.is_empty() {
            return false;
        }
        let key = (object.kind(), object.key());
        if diagnostics.is_empty() {
            return self.findings.remove(&key).is_some();
        }
        if self.findings.get(&key) == Some(&diagnostics) {
            return false;
        }
        for diagnostic in &diagnostics {
            tracing::warn!("{diagnostic}");
        }
        self.findings.insert(key, diagnostics);
        true
    }

    /// The kinds that were not listed yet.
    pub fn missing(&self) -> Vec<Kind> {
        Kind::ALL.into_iter().filter(|kind| !self.listed.contains(kind)).collect()
    }

    /// The cluster as it is known now.
    pub fn snapshot(&self) -> &Snapshot {
        self.store.snapshot()
    }

    /// What is wrong with policies.
    pub fn policy_findings(&self) -> impl Iterator<Item = &Diagnostic> {
        let of_policies = |(key, _): &(&(Kind, ObjectKey), _)| key.0 == Kind::NetworkPolicy;
        self.findings.iter().filter(of_policies).flat_map(|(_, found)| found)
    }
}
