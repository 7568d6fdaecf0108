//! Which policies are in audit, and until when.
//!
//! In: the policies with their modes, the time. Out: a sync when an audit ends, a remark of the
//! condition `enforced`, gauges, log lines. Never: an audit that lasts longer than was said. See
//! [`policy::Modes`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use policy::{End, Ending, LONGEST, Mode, Modes, NetworkPolicy, Now, ObjectKey};

use super::{Enforcer, Parts};
use crate::Sink;
use crate::metrics::Metrics;
use crate::status::{Condition, Status};
use crate::tenant_lines::TenantLines;

/// How many objects a remark names.
const NAMED: usize = 5;

/// What was reported last.
#[derive(Debug, Default)]
pub(super) struct AuditReport {
    policies: OrdMap<ObjectKey, Arc<NetworkPolicy>>,
    ends: BTreeMap<Ending, (i64, End)>,
    /// [`Modes::changes`] then; `None`: nothing was reported.
    changes: Option<u64>,
    said: TenantLines,
}

impl AuditReport {
    /// Tells what changed.
    fn follow(&mut self, modes: &Modes, status: &Status, metrics: &Metrics, now: Duration) {
        // Asked fifty times a second, whatever tenants have annotated.
        let changes = Some(modes.changes());
        if self.changes == changes && self.policies.ptr_eq(modes.policies()) {
            return;
        }
        let ends: BTreeMap<Ending, (i64, End)> =
            modes.ends().map(|(whose, at, end)| (whose.clone(), (at, end))).collect();
        for (whose, (at, end)) in &ends {
            let is_news = self.ends.get(whose) != Some(&(*at, *end));
            if is_news && self.said.may_say(&key(whose), now) {
                told(whose, *at, *end);
            }
        }
        self.policies = modes.policies().clone();
        self.ends = ends;
        self.changes = changes;
        let audited = self.policies.values().filter(|policy| !policy.is_enforced()).count();
        let running = self.ends.values().filter(|(_, end)| matches!(end, End::Runs(_))).count();
        metrics.audited_policies.set(i64::try_from(audited).unwrap_or(i64::MAX));
        metrics.audit_ends.set(i64::try_from(running).unwrap_or(i64::MAX));
        status.remark(Condition::Enforced, self.remark(modes.node(), audited));
    }

    fn remark(&self, node: Mode, audited: usize) -> String {
        let mut parts = Vec::new();
        if node == Mode::Audit {
            parts.push(
                "this node is in audit (--mode=audit): only policies that say \
                 nftpol.dev/mode: enforce, or whose Namespace does, drop anything; addresses are \
                 not bound to interfaces, and unknown ones pass"
                    .to_owned(),
            );
        }
        if audited > 0 {
            let are = if audited == 1 { "policy is" } else { "policies are" };
            parts.push(format!("{audited} {are} in audit"));
        }
        let running = self.ends.iter().filter(|(_, (_, end))| matches!(end, End::Runs(_)));
        let named = running.clone().take(NAMED);
        parts.extend(named.map(|(whose, (at, _))| format!("{} until {}", name(whose), time(*at))));
        let more = running.count().saturating_sub(NAMED);
        if more > 0 {
            parts.push(format!("{more} more with an end"));
        }
        parts.join("; ")
    }
}

fn told(whose: &Ending, at: i64, end: End) {
    let (name, time) = (name(whose), time(at));
    match end {
        End::Runs(_) => tracing::warn!("{name} is in audit until {time}: nothing is dropped by it"),
        End::Over => tracing::info!("the audit of {name} is over ({time})"),
        End::TooFar => tracing::warn!(
            "{name} is not in audit: its nftpol.dev/audit-until, {time}, is more than {} days \
             away by the clock of this node; name an earlier time, or use nftpol.dev/mode: audit",
            LONGEST.as_secs() / (24 * 3600)
        ),
    }
}

fn key(whose: &Ending) -> ObjectKey {
    match whose {
        Ending::Policy(key) => key.clone(),
        Ending::Namespace(name) => ObjectKey::new("", name.clone()),
    }
}

fn name(whose: &Ending) -> String {
    match whose {
        Ending::Policy(key) => format!("policy {key}"),
        Ending::Namespace(name) => format!("namespace {name}"),
    }
}

/// As it is written (RFC 3339).
pub(super) fn time(seconds_since_1970: i64) -> String {
    let time = k8s_openapi::jiff::Timestamp::from_second(seconds_since_1970);
    time.map_or_else(|_| "a time that no calendar has".to_owned(), |time| time.to_string())
}

impl<S: Sink> Enforcer<S> {
    /// Ends audits whose time came.
    pub(super) fn pass_time(&mut self) {
        let now = self.now();
        let steady = now.saturating_duration_since(self.started);
        let wall_seconds = self.parts.clock.wall_seconds();
        if self.cluster.pass(Now { wall_seconds, steady }) {
            self.next.event(now);
            self.view.knows(self.cluster.snapshot());
        }
        let Parts { status, metrics, .. } = &self.parts;
        self.audits.follow(self.cluster.modes(), status, metrics, steady);
    }
}
