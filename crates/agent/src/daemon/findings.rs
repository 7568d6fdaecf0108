//! What is to be known about policies, told to those who want to know.
//!
//! In: the cluster and the outcome of an attempt. Out: log lines when
//! something changed, gauges, problems for Events. Never: an Event about a
//! policy that selects no pod of this node; other nodes tell of those.

use std::collections::BTreeSet;

use agent::cluster_state::ClusterState;
use agent::pipeline::Outcome;
use policy::{Diagnostic, ObjectKey, Severity};
use tokio::sync::watch;

use super::announce::{About, EventReason, Problems};
use super::metrics::Metrics;

/// Remembers what was said.
#[derive(Debug, Default)]
pub struct Findings {
    said: Vec<Diagnostic>,
}

impl Findings {
    /// Tells what changed.
    pub fn tell(
        &mut self,
        cluster: &ClusterState,
        outcome: &Outcome,
        isolates: impl Fn(&ObjectKey) -> bool,
        problems: &watch::Sender<Problems>,
        metrics: &Metrics,
    ) {
        for diagnostic in &outcome.diagnostics {
            if !self.said.contains(diagnostic) {
                tracing::warn!("{diagnostic}");
            }
        }
        self.said.clone_from(&outcome.diagnostics);
        let unusable = unusable(cluster);
        let broken = &metrics.broken_policies;
        let count = unusable.iter().map(|one| &one.object).collect::<BTreeSet<_>>().len();
        broken.get_or_create(&[("reason", "unusable_part")]).set(count as i64);
        broken
            .get_or_create(&[("reason", "refused_by_kernel")])
            .set(outcome.set_aside.len() as i64);
        let now = here(cluster, outcome, isolates, &unusable);
        problems.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }
}

fn unusable(cluster: &ClusterState) -> Vec<&Diagnostic> {
    cluster.policy_findings().filter(|one| one.severity == Severity::Error).collect()
}

/// The problems of policies that isolate pods of this node.
fn here(
    cluster: &ClusterState,
    outcome: &Outcome,
    isolates: impl Fn(&ObjectKey) -> bool,
    unusable: &[&Diagnostic],
) -> Problems {
    let mut problems = Problems::new();
    let refused = outcome.diagnostics.iter().filter(|one| outcome.set_aside.contains(&one.object));
    let all = unusable
        .iter()
        .map(|one| (EventReason::UnusablePart, *one))
        .chain(refused.map(|one| (EventReason::RefusedByKernel, one)));
    for (reason, diagnostic) in all {
        let Some(about) = about(cluster, &diagnostic.object, reason) else { continue };
        if !isolates(&about.policy) {
            continue;
        }
        let message: &mut String = problems.entry(about).or_default();
        if !message.is_empty() {
            message.push_str("; ");
        }
        if !diagnostic.field.is_empty() {
            message.push_str(&format!("{}: ", diagnostic.field));
        }
        message.push_str(&diagnostic.message);
    }
    problems
}

/// `None` for a policy that is gone, or whose uid is not known.
fn about(cluster: &ClusterState, policy: &ObjectKey, reason: EventReason) -> Option<About> {
    let known = cluster.snapshot().policies.get(policy)?;
    let about = || About { policy: policy.clone(), uid: known.uid.clone(), reason };
    (!known.uid.is_empty()).then(about)
}
