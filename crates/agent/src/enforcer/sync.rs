//! One sync, and what follows from it.
//!
//! In: the cluster as it is known. Out: the kernel enforces it, or a part of
//! it, or what it did before; connections that are denied now, problems,
//! metrics and the status follow what was committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use nft::ReadError;
use policy::{Diagnostic, ObjectKey};

use super::findings::AttemptFindings;
use super::urgency::Urgency;
use super::{Enforcer, Parts};
use crate::pipeline::{Outcome, SyncError, SyncFailed};
use crate::status::Condition;
use crate::{Sink, other_tables, report};

impl<S: Sink> Enforcer<S> {
    /// Makes the kernel enforce what is known. `restoring`: nothing else
    /// changed, so what there is to do was done by others.
    pub(super) fn sync(&mut self, restoring: bool) {
        let start = self.now();
        let snapshot = self.cluster.snapshot().clone();
        let Parts { pipeline, inbox, node, .. } = &mut self.parts;
        let mut urgency =
            Urgency { inbox: &mut **inbox, held: &mut self.held, snapshot: &snapshot, node };
        let mut result = pipeline.sync_until(&snapshot, &mut || urgency.look());
        if let Err(failure) = &result
            && failure.is_interrupted()
        {
            self.parts.metrics.syncs.get_or_create(&[("result", "interrupted")]).inc();
            self.partly_committed(failure);
            self.interrupted += self.now().saturating_duration_since(start);
            return;
        }
        if let Err(failure) = &result
            && failure.needs_rebuild()
        {
            self.parts.metrics.replacements.inc();
            // Until it is done, the stand-in is beside ours.
            self.is_only_table = false;
            let problem = format!("{failure}; building the table again");
            self.parts.status.fails(Condition::Enforced, problem);
            self.partly_committed(failure);
            result = self.parts.pipeline.replace(self.cluster.snapshot());
        }
        self.parts.metrics.proved(&self.parts.pipeline.proofs());
        match result {
            Ok(outcome) => self.succeeded(start, restoring, &outcome),
            Err(failure) => {
                self.partly_committed(&failure);
                self.not_synced(&failure);
            }
        }
    }

    fn succeeded(&mut self, start: Instant, restoring: bool, outcome: &Outcome) {
        self.answer_cni_in_force();
        if self.parts.status.problem(Condition::Services).is_some() {
            // The condition follows at once.
            self.looked_around = None;
        }
        let now = self.now();
        let took = std::mem::take(&mut self.interrupted) + now.saturating_duration_since(start);
        if let Some(came) = self.next.succeeded(now) {
            let delay = now.saturating_duration_since(came).as_secs_f64();
            self.parts.metrics.event_to_kernel_seconds.observe(delay);
        }
        let mut restored: Vec<String> =
            outcome.restored().map(|table| table.id.to_string()).collect();
        if restored.is_empty() && restoring {
            let sent = outcome.tables.iter().filter(|table| table.batches > 0);
            restored.extend(sent.map(|table| table.id.to_string()));
        }
        // It is not known what was in force before the first attempt, or while
        // others had changed the table.
        let is_first = !std::mem::replace(&mut self.enforced, true);
        if !restored.is_empty() || outcome.was_touched() {
            self.next.repaired(now, took);
        }
        if !restored.is_empty() {
            self.parts.metrics.repairs.inc();
            let Parts { surroundings, pipeline, .. } = &mut self.parts;
            self.changed_by = surroundings.changed_by(now, pipeline.sink());
            tracing::warn!(
                "{} changed table {}; restored in {} ms ({} operations)",
                self.changed_by.as_deref().unwrap_or("others"),
                restored.join(" and table "),
                took.as_millis(),
                outcome.operations()
            );
        }
        self.parts.metrics.synced(took, outcome, self.cluster.snapshot());
        if is_first {
            tracing::info!(
                "enforcing: table inet nftpol matches the policies ({} operations)",
                outcome.operations()
            );
            for table in &outcome.tables {
                report::foreign(&table.id, &table.foreign);
            }
        }
        if let (Some(file), Some(network)) =
            (&mut self.parts.boot_file, self.parts.interfaces.network())
        {
            file.ranges(&network.pod_ranges);
        }
        if !self.is_only_table {
            self.remove_other_tables();
        }
        let ports = self.parts.pipeline.network().ports.len();
        self.parts.metrics.bound_ports.set(ports as i64);
        let before = outcome.before.clone().filter(|_| !is_first && restored.is_empty());
        let bound = self.binding.synced(self.parts.pipeline.network(), !restored.is_empty());
        if let Some(flow_cleanup) = &self.parts.flow_cleanup {
            if !bound.is_empty() {
                flow_cleanup.bound(bound);
            }
            flow_cleanup.changed(before, Arc::clone(&outcome.after));
        }
        self.report(&outcome.diagnostics, &outcome.set_aside, &outcome.over_budget);
        let Parts { pipeline, .. } = &self.parts;
        let policies = &self.cluster.snapshot().policies;
        self.view.enforces(policies, pipeline.signatures(), &outcome.set_aside, pipeline.proofs());
    }

    /// An attempt failed, perhaps after some of its batches: what they did has
    /// the same consequences as if it had succeeded.
    fn partly_committed(&mut self, failure: &SyncFailed) {
        if let Some(committed) = &failure.committed {
            self.parts.metrics.committed(committed.batches, committed.operations);
            let before = committed.before.clone().filter(|_| self.enforced);
            if let Some(flow_cleanup) = &self.parts.flow_cleanup {
                flow_cleanup.changed(before, Arc::clone(&committed.after));
            }
        }
        self.report(&failure.diagnostics, &failure.set_aside, &failure.over_budget);
    }

    /// One table or both could not be changed.
    fn not_synced(&mut self, failure: &SyncFailed) {
        let is_hopeless = |error: &SyncError| matches!(error, SyncError::RebuildDidNotHelp(_));
        self.fails(&failure.to_string(), failure.errors().all(is_hopeless));
    }

    /// The kernel cannot be asked.
    pub(super) fn not_checked(&mut self, error: &ReadError) {
        self.fails(&error.to_string(), false);
    }

    /// `is_hopeless`: another try will hardly succeed.
    fn fails(&mut self, problem: &str, is_hopeless: bool) {
        let now = self.now();
        self.parts.metrics.syncs.get_or_create(&[("result", "failed")]).inc();
        self.parts.status.fails(Condition::Enforced, problem);
        match is_hopeless {
            true => self.next.failed_for_long(now),
            false => self.next.failed(now),
        }
    }

    fn report(
        &mut self,
        diagnostics: &[Diagnostic],
        set_aside: &BTreeSet<ObjectKey>,
        over_budget: &BTreeSet<ObjectKey>,
    ) {
        let Parts { pipeline, problems, metrics, .. } = &self.parts;
        let isolates = |policy: &ObjectKey| pipeline.isolates(policy);
        let shared = pipeline.shared_addresses();
        let found = AttemptFindings { diagnostics, set_aside, over_budget, shared: &shared };
        metrics.budgets(&pipeline.budgets(), &pipeline.usage());
        self.findings.report(&self.cluster, found, isolates, problems, metrics);
    }

    /// Once ours enforces, no other table of ours is needed.
    fn remove_other_tables(&mut self) {
        match other_tables::remove(self.parts.pipeline.sink()) {
            Ok(removed) => {
                self.is_only_table = true;
                for table in removed {
                    tracing::info!("removed table {table} of another version");
                }
            }
            // Both enforce: what one of them denies is denied.
            Err(error) => {
                tracing::warn!("a table of another version stays until the next change: {error}");
            }
        }
    }
}
