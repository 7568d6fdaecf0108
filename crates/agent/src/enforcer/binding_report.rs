//! Says what is wrong with the binding of single pods.
//!
//! In: findings, each time that the interfaces were looked at. Out: gauges, a log
//! line for each finding, a remark for `/readyz`. Never: more log lines than
//! [`LINES`] in [`WINDOW`], and [`SHARE`] about one pod, whatever a tenant does in its
//! pods.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use policy::{BindingFinding, ObjectKey};

use crate::metrics::{FINDINGS, Metrics};
use crate::report;

/// An address without an interface, or an interface without a pod, is mentioned only
/// after this long: an interface goes before its pod's object does, and it comes
/// before the object reports its address.
const UNBOUND_AFTER: Duration = Duration::from_secs(10);
/// An address that several interfaces have is mentioned only after this long.
const CONTESTED_AFTER: Duration = Duration::from_secs(2);
/// Log lines in a window.
const LINES: usize = 20;
/// Of these, lines about one pod, or about interfaces that are no pod's.
const SHARE: usize = LINES / 4;
/// A window.
const WINDOW: Duration = Duration::from_secs(60);
/// Pods that a remark names.
const NAMED: usize = 5;

/// What was found before, and which of it was logged.
#[derive(Debug, Default)]
pub(super) struct BindingReport {
    /// The present findings.
    findings: Vec<BindingFinding>,
    /// What they are about, since when, and whether that was logged.
    found: BTreeMap<Subject, Found>,
    window: Option<Window>,
    remark: Option<String>,
}

/// What a finding is about. Nothing is in it that a tenant can change at will, such as
/// how many addresses there are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    kind: &'static str,
    /// The pod whose doing it may be.
    pod: Option<ObjectKey>,
    /// Its address that the API server names, its interface, or the bridge.
    place: String,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    since: Instant,
    said: Said,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// It found no room in the window that began then. It is tried again in the next.
    HeldBack(Instant),
    Logged,
}

#[derive(Clone, Debug)]
struct Window {
    begins: Instant,
    lines: usize,
    /// Of each pod, and of interfaces that are no pod's.
    of: BTreeMap<Option<ObjectKey>, usize>,
    /// Findings that were not logged.
    more: usize,
}

/// What a finding means for a pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// An address of it is bound to no interface.
    Unbound,
    /// An address of it is bound to the interface of another, or to none, and nobody may
    /// use it.
    CutOff,
}

impl BindingReport {
    /// Takes the present findings. Returns the remark, if it changed.
    pub(super) fn take(
        &mut self,
        now: Instant,
        findings: &[BindingFinding],
        metrics: &Metrics,
    ) -> Option<String> {
        if self.findings != findings || self.remark.is_none() {
            self.findings = findings.to_vec();
            let before = std::mem::take(&mut self.found);
            for subject in findings.iter().map(subject) {
                let new = Found { since: now, said: Said::Nothing };
                let found = before.get(&subject).copied().unwrap_or(new);
                self.found.insert(subject, found);
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

    /// Those that wait the longest come first.
    fn log(&mut self, now: Instant) {
        let window = window(&mut self.window, now);
        let mut due: Vec<(Instant, &BindingFinding, Subject)> = Vec::new();
        for finding in &self.findings {
            let subject = subject(finding);
            let Some(found) = self.found.get(&subject) else { continue };
            let may_be_said = match found.said {
                Said::Nothing => true,
                Said::HeldBack(window_then) => window_then != window.begins,
                Said::Logged => false,
            };
            if may_be_said && now.saturating_duration_since(found.since) >= delay(finding) {
                due.push((found.since, finding, subject));
            }
        }
        due.sort();
        for (_, finding, subject) in due {
            let is_logged = window.takes(&subject);
            if is_logged {
                tracing::warn!("{finding}");
            }
            if let Some(found) = self.found.get_mut(&subject) {
                found.said = if is_logged { Said::Logged } else { Said::HeldBack(window.begins) };
            }
        }
    }

    /// The pods that are not bound, and those whose address another interface has.
    fn remark_now(&self, now: Instant) -> String {
        let (unbound, cut_off) = (self.pods(Loss::Unbound, now), self.pods(Loss::CutOff, now));
        let unbound = (!unbound.is_empty()).then(|| {
            format!(
                "{} of this node's pods are not bound to an interface, so others can send under \
                 their addresses: {}",
                unbound.len(),
                names(&unbound)
            )
        });
        let cut_off = (!cut_off.is_empty()).then(|| {
            format!(
                "{} of this node's pods may be cut off, because another interface has their \
                 address and still lives (the log names it): {}",
                cut_off.len(),
                names(&cut_off)
            )
        });
        unbound.into_iter().chain(cut_off).collect::<Vec<_>>().join("; ")
    }

    fn pods(&self, what: Loss, now: Instant) -> BTreeSet<&ObjectKey> {
        let is_long = |finding: &BindingFinding| {
            let found = self.found.get(&subject(finding));
            found.is_some_and(|it| now.saturating_duration_since(it.since) >= UNBOUND_AFTER)
        };
        let of = self.findings.iter().filter_map(|finding| Some((finding, loss(finding)?)));
        of.filter(|(finding, (_, its))| *its == what && is_long(finding))
            .map(|(_, (pod, _))| pod)
            .collect()
    }
}

impl Window {
    /// Whether there is room for a line about this. It then is taken.
    fn takes(&mut self, subject: &Subject) -> bool {
        let of_one = self.of.get(&subject.pod).copied().unwrap_or_default();
        let has_room = self.lines < LINES && of_one < SHARE;
        if has_room {
            self.lines += 1;
            *self.of.entry(subject.pod.clone()).or_default() += 1;
        } else {
            self.more += 1;
        }
        has_room
    }
}

/// A few names of many.
fn names(pods: &BTreeSet<&ObjectKey>) -> String {
    report::some(pods.iter(), NAMED)
}

/// The present window. At its end, the log counts what found no room in it.
fn window(window: &mut Option<Window>, now: Instant) -> &mut Window {
    let is_over = |one: &mut Window| now.saturating_duration_since(one.begins) >= WINDOW;
    if let Some(over) = window.take_if(is_over)
        && over.more > 0
    {
        tracing::warn!(
            "{} more findings about interfaces and addresses in the last {} s are not listed here",
            over.more,
            WINDOW.as_secs()
        );
    }
    window.get_or_insert(Window { begins: now, lines: 0, of: BTreeMap::new(), more: 0 })
}

fn subject(finding: &BindingFinding) -> Subject {
    let (pod, place) = match finding {
        BindingFinding::NoInterface { pod, address }
        | BindingFinding::Contested { pod, address, .. } => (Some(pod), address.to_string()),
        BindingFinding::ClaimedTwice { claimant, .. }
        | BindingFinding::MacClaimedTwice { claimant, .. } => {
            (claimant.pod.as_ref(), claimant.name.clone())
        }
        BindingFinding::UnreportedAddress { pod, interface, .. }
        | BindingFinding::MacChanged { pod, interface, .. } => (Some(pod), interface.clone()),
        BindingFinding::UnboundPort { interface, .. } => (None, interface.clone()),
        BindingFinding::VlanFiltering { bridge } => (None, bridge.clone()),
    };
    Subject { kind: kind(finding), pod: pod.cloned(), place }
}

/// The pod that loses by a finding. Who claims what is a known pod's takes nothing
/// from it. An interface of no known pod may be that of a new pod, whose address an
/// interface has that was left over.
fn loss(finding: &BindingFinding) -> Option<(&ObjectKey, Loss)> {
    match finding {
        BindingFinding::NoInterface { pod, .. }
        | BindingFinding::ClaimedTwice { pod, owner: None, .. } => Some((pod, Loss::Unbound)),
        BindingFinding::Contested { pod, .. } => Some((pod, Loss::CutOff)),
        BindingFinding::ClaimedTwice { pod, claimant, .. }
            if claimant.pod.is_none() && !claimant.is_left_over =>
        {
            Some((pod, Loss::CutOff))
        }
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
        // A former interface of the pod can be there for a moment.
        BindingFinding::Contested { .. } => CONTESTED_AFTER,
        BindingFinding::ClaimedTwice { .. }
        | BindingFinding::MacClaimedTwice { .. }
        | BindingFinding::MacChanged { .. }
        | BindingFinding::UnreportedAddress { .. }
        | BindingFinding::VlanFiltering { .. } => Duration::ZERO,
    }
}

fn count(findings: &[BindingFinding], metrics: &Metrics) {
    let mut kinds: BTreeMap<&str, i64> = FINDINGS.map(|kind| (kind, 0)).into();
    for finding in findings {
        *kinds.entry(kind(finding)).or_default() += 1;
    }
    for (kind, count) in kinds {
        metrics.binding_findings.get_or_create(&[("kind", kind)]).set(count);
    }
    let pods: BTreeSet<&ObjectKey> = findings.iter().filter_map(loss).map(|(pod, _)| pod).collect();
    metrics.unbound_pods.set(pods.len() as i64);
}

fn kind(finding: &BindingFinding) -> &'static str {
    match finding {
        BindingFinding::NoInterface { .. } => "no_interface",
        BindingFinding::ClaimedTwice { .. } => "claimed_twice",
        BindingFinding::Contested { .. } => "contested",
        BindingFinding::MacClaimedTwice { .. } => "mac_claimed_twice",
        BindingFinding::MacChanged { .. } => "mac_changed",
        BindingFinding::UnreportedAddress { .. } => "unreported_address",
        BindingFinding::UnboundPort { .. } => "unbound_port",
        BindingFinding::VlanFiltering { .. } => "vlan_filtering",
    }
}

#[cfg(test)]
mod tests;
