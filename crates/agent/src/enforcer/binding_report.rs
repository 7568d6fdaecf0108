//! Says what is wrong with the binding of single pods.
//!
//! In: findings, each time that the interfaces were looked at. Out: gauges, a log
//! line for each finding, a remark for `/readyz`. Never: more log lines than
//! [`LINES`] in [`WINDOW`], whatever a tenant does in its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use policy::{BindingFinding, ObjectKey};

use crate::metrics::Metrics;

/// An address without an interface, or an interface without a pod, is mentioned only
/// after this long: an interface goes before its pod's object does, and it comes
/// before the object reports its address.
const UNBOUND_AFTER: Duration = Duration::from_secs(10);
/// Log lines in a window.
const LINES: usize = 20;
/// A window.
const WINDOW: Duration = Duration::from_secs(60);
/// Pods that a remark names.
const NAMED: usize = 5;

/// What was found before, and what was said about it.
#[derive(Debug, Default)]
pub(super) struct BindingReport {
    /// The present findings, since when, and whether they were logged.
    found: BTreeMap<BindingFinding, Found>,
    window: Option<Window>,
    remark: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    since: Instant,
    is_logged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    begins: Instant,
    lines: usize,
    /// Findings that were not logged.
    more: usize,
}

impl BindingReport {
    /// Takes the present findings. Returns the remark, if it changed.
    pub(super) fn take(
        &mut self,
        now: Instant,
        findings: &[BindingFinding],
        metrics: &Metrics,
    ) -> Option<String> {
        let is_same = findings.len() == self.found.len()
            && findings.iter().all(|finding| self.found.contains_key(finding));
        if !is_same {
            let before = std::mem::take(&mut self.found);
            for finding in findings {
                let new = Found { since: now, is_logged: false };
                let found = before.get(finding).copied().unwrap_or(new);
                self.found.insert(finding.clone(), found);
            }
            count(findings, metrics);
        }
        self.log(now);
        let remark = self.remark_now(now);
        (self.remark.as_ref() != Some(&remark)).then(|| {
            self.remark = Some(remark.clone());
            remark
        })
    }

    fn log(&mut self, now: Instant) {
        let due = self.found.iter_mut().filter(|(finding, found)| {
            !found.is_logged && now.saturating_duration_since(found.since) >= delay(finding)
        });
        for (finding, found) in due {
            found.is_logged = true;
            let window = window(&mut self.window, now);
            if window.lines < LINES {
                window.lines += 1;
                tracing::warn!("{finding}");
            } else {
                window.more += 1;
            }
        }
        if self.window.is_some_and(|one| now.saturating_duration_since(one.begins) >= WINDOW) {
            window(&mut self.window, now);
        }
    }

    /// The pods that are not bound.
    fn remark_now(&self, now: Instant) -> String {
        let long = self.found.iter().filter(|(finding, found)| {
            now.saturating_duration_since(found.since) >= delay(finding)
        });
        let pods: BTreeSet<&ObjectKey> = long.filter_map(|(finding, _)| unbound(finding)).collect();
        let names: Vec<String> = pods.iter().take(NAMED).map(ToString::to_string).collect();
        match pods.len() {
            0 => String::new(),
            count => format!(
                "{count} of this node's pods are not bound to an interface, so others can send \
                 under their addresses: {}{}",
                names.join(", "),
                if count > NAMED { ", ..." } else { "" }
            ),
        }
    }
}

/// The present window. At its end it is said what was not logged in it.
fn window(window: &mut Option<Window>, now: Instant) -> &mut Window {
    let is_over = |one: &Window| now.saturating_duration_since(one.begins) >= WINDOW;
    if let Some(over) = window.take_if(|one| is_over(one))
        && over.more > 0
    {
        tracing::warn!(
            "{} more findings about interfaces and addresses in the last {} s are not listed here",
            over.more,
            WINDOW.as_secs()
        );
    }
    window.get_or_insert(Window { begins: now, lines: 0, more: 0 })
}

/// The pod with an address that is bound to no interface.
fn unbound(finding: &BindingFinding) -> Option<&ObjectKey> {
    match finding {
        BindingFinding::NoInterface { pod, .. }
        | BindingFinding::ClaimedTwice { pod, owner: None, .. } => Some(pod),
        BindingFinding::ClaimedTwice { .. }
        | BindingFinding::MacClaimedTwice { .. }
        | BindingFinding::MacChanged { .. }
        | BindingFinding::UnreportedAddress { .. }
        | BindingFinding::UnboundPort { .. }
        | BindingFinding::VlanFiltering { .. } => None,
    }
}

fn delay(finding: &BindingFinding) -> Duration {
    match finding {
        BindingFinding::NoInterface { .. } | BindingFinding::UnboundPort { .. } => UNBOUND_AFTER,
        BindingFinding::ClaimedTwice { .. }
        | BindingFinding::MacClaimedTwice { .. }
        | BindingFinding::MacChanged { .. }
        | BindingFinding::UnreportedAddress { .. }
        | BindingFinding::VlanFiltering { .. } => Duration::ZERO,
    }
}

fn count(findings: &[BindingFinding], metrics: &Metrics) {
    let mut kinds = BTreeMap::from([
        ("no_interface", 0),
        ("claimed_twice", 0),
        ("mac_claimed_twice", 0),
        ("mac_changed", 0),
        ("unreported_address", 0),
        ("unbound_port", 0),
        ("vlan_filtering", 0),
    ]);
    for finding in findings {
        *kinds.entry(kind(finding)).or_default() += 1;
    }
    for (kind, count) in kinds {
        metrics.binding_findings.get_or_create(&[("kind", kind)]).set(count);
    }
    let pods: BTreeSet<&ObjectKey> = findings.iter().filter_map(unbound).collect();
    metrics.unbound_pods.set(pods.len() as i64);
}

fn kind(finding: &BindingFinding) -> &'static str {
    match finding {
        BindingFinding::NoInterface { .. } => "no_interface",
        BindingFinding::ClaimedTwice { .. } => "claimed_twice",
        BindingFinding::MacClaimedTwice { .. } => "mac_claimed_twice",
        BindingFinding::MacChanged { .. } => "mac_changed",
        BindingFinding::UnreportedAddress { .. } => "unreported_address",
        BindingFinding::UnboundPort { .. } => "unbound_port",
        BindingFinding::VlanFiltering { .. } => "vlan_filtering",
    }
}

#[cfg(test)]
mod tests;
