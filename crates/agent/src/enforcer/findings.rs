//! Reports what is wrong with policies.
//!
//! In: the cluster, and what an attempt found. Out: log lines when something
//! changed, gauges, problems for Events. Never: an Event about a policy that
//! selects no pod of this node; other nodes report those.

use std::collections::BTreeSet;

use compiler::SharedAddress;
use policy::{Diagnostic, End, Ending, ObjectKey, Severity};
use tokio::sync::watch;

use super::audit_report::time;
use crate::cluster_state::ClusterState;
use crate::metrics::Metrics;
use crate::problems::{About, EventReason, Problems};
use crate::report;
use crate::tenant_lines::TenantLines;

/// What an attempt found, whether it succeeded or not.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFindings<'a> {
    /// Of the compiler, and about policies set aside.
    pub diagnostics: &'a [Diagnostic],
    /// Policies that the kernel refused.
    pub set_aside: &'a BTreeSet<ObjectKey>,
    /// Policies that find no room in the budgets.
    pub over_budget: &'a BTreeSet<ObjectKey>,
    /// Addresses that several pods report.
    pub shared: &'a [SharedAddress],
}

/// Remembers what was logged.
#[derive(Debug, Default)]
pub struct Findings {
    logged: Vec<Diagnostic>,
    shared: Vec<SharedAddress>,
    said: TenantLines,
}

impl Findings {
    /// Reports what changed.
    pub fn report(
        &mut self,
        cluster: &ClusterState,
        found: AttemptFindings<'_>,
        isolates: impl Fn(&ObjectKey) -> bool,
        problems: &watch::Sender<Problems>,
        metrics: &Metrics,
    ) {
        // A policy can have thousands.
        let logged: BTreeSet<_> = self.logged.iter().map(content).collect();
        for diagnostic in found.diagnostics {
            let is_news = !logged.contains(&content(diagnostic));
            if is_news && self.said.may_say(&diagnostic.object, cluster.steady()) {
                report::diagnosed(diagnostic);
            }
        }
        self.logged = found.diagnostics.to_vec();
        for one in found.shared {
            if !self.shared.contains(one) {
                tracing::warn!("{one}");
            }
        }
        self.shared = found.shared.to_vec();
        metrics.shared_addresses.set(found.shared.len() as i64);
        let unusable = unusable(cluster);
        let broken = &metrics.broken_policies;
        let count = unusable.iter().map(|one| &one.object).collect::<BTreeSet<_>>().len();
        broken.get_or_create(&[("reason", "unusable_part")]).set(count as i64);
        broken.get_or_create(&[("reason", "refused_by_kernel")]).set(found.set_aside.len() as i64);
        broken.get_or_create(&[("reason", "over_budget")]).set(found.over_budget.len() as i64);
        let now = here(cluster, found, isolates, &unusable);
        problems.send_if_modified(|known| {
            let changed = *known != now;
            *known = now;
            changed
        });
    }
}

/// What tells two diagnostics apart.
fn content(diagnostic: &Diagnostic) -> (&ObjectKey, &str, &str, &str) {
    let Diagnostic { severity: _, kind, object, field, message } = diagnostic;
    (object, kind, field, message)
}

fn unusable(cluster: &ClusterState) -> Vec<&Diagnostic> {
    cluster.policy_findings().filter(|one| one.severity == Severity::Error).collect()
}

/// The problems of policies that isolate pods of this node.
fn here<'a>(
    cluster: &ClusterState,
    found: AttemptFindings<'a>,
    isolates: impl Fn(&ObjectKey) -> bool,
    unusable: &[&Diagnostic],
) -> Problems {
    let mut problems = Problems::new();
    let about_any = |policies: &'a BTreeSet<ObjectKey>| {
        found.diagnostics.iter().filter(|one| policies.contains(&one.object))
    };
    let refused = about_any(found.set_aside);
    // Of the compiler's, only this one is an error.
    let beyond = about_any(found.over_budget).filter(|one| one.severity == Severity::Error);
    let beyond = beyond.filter(|one| !found.set_aside.contains(&one.object));
    let all = unusable
        .iter()
        .map(|one| (EventReason::UnusablePart, *one))
        .chain(refused.map(|one| (EventReason::RefusedByKernel, one)))
        .chain(beyond.map(|one| (EventReason::OverBudget, one)));
    for (reason, diagnostic) in all {
        let Some(about) = about(cluster, &diagnostic.object, reason) else { continue };
        if !isolates(&about.object) {
            continue;
        }
        let field = Some(&diagnostic.field).filter(|field| !field.is_empty());
        let field = field.map(|field| format!("{field}: ")).unwrap_or_default();
        add(&mut problems, about, &format!("{field}{}", diagnostic.message));
    }
    for one in found.shared {
        for policy in &one.policies {
            if let Some(about) = about(cluster, policy, EventReason::SharedAddress) {
                add(&mut problems, about, &one.to_string());
            }
        }
    }
    add_audits(&mut problems, cluster, isolates);
    problems
}

/// The policies that are in audit until a time.
fn add_audits(
    problems: &mut Problems,
    cluster: &ClusterState,
    isolates: impl Fn(&ObjectKey) -> bool,
) {
    for (whose, at, end) in cluster.modes().ends() {
        if !matches!(end, End::Runs(_)) {
            continue;
        }
        let until = format!("in audit until {}: it drops nothing", time(at));
        let (namespace, name, said) = match whose {
            Ending::Policy(key) => (&key.namespace, Some(&key.name), ""),
            Ending::Namespace(name) => (name, None, " (says its Namespace)"),
        };
        let policies = cluster.snapshot().policies.range(ObjectKey::new(namespace, "")..);
        let policies = policies.take_while(|(key, _)| key.namespace == *namespace);
        for (key, _) in policies.filter(|(key, _)| name.is_none_or(|name| *name == key.name)) {
            let about = about(cluster, key, EventReason::Audited);
            if let Some(about) = about.filter(|about| isolates(&about.object)) {
                add(problems, about, &format!("{until}{said}"));
            }
        }
    }
}

fn add(problems: &mut Problems, about: About, text: &str) {
    let message = problems.entry(about).or_default();
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(text);
}

/// `None` for a policy that is gone, or whose uid is not known.
fn about(cluster: &ClusterState, policy: &ObjectKey, reason: EventReason) -> Option<About> {
    let known = cluster.snapshot().policies.get(policy)?;
    let about = || About { object: policy.clone(), uid: known.uid.clone(), reason };
    (!known.uid.is_empty()).then(about)
}
