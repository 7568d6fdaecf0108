//! Follows the node's interfaces.
//!
//! In: the node's pods, what is seen on its interfaces. Out: what the next sync
//! binds, the condition, what is said about pods that are not bound. Never: an
//! address that is bound at start and not bound after it, because the interfaces
//! were not looked at yet.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use policy::{BindingFinding, Claims, NodeNetwork};

use super::binding_report::BindingReport;
use super::{Enforcer, Parts, ThreadDied, tunnel_report};
use crate::Sink;
use crate::local_pods::LocalPods;
use crate::status::Condition;

/// The kernel's tables are read this often at most, to learn who had what before.
const CLAIM_TRIES: u32 = 10;
/// For this long the first sync waits for interfaces that cannot be listed, if
/// nothing is bound in the kernel.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the condition and the findings are looked at.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// What the loop knows of the node's interfaces.
#[derive(Debug)]
pub(super) struct Binding {
    local: LocalPods,
    claims: ClaimsOfBefore,
    /// As it was seen last, before the operator's word.
    seen: Option<NodeNetwork>,
    /// Since when the interfaces cannot be listed.
    failing: Option<Instant>,
    /// The addresses that were bound as of the last sync that succeeded.
    bound: BTreeSet<IpAddr>,
    report: BindingReport,
    reported: Option<Instant>,
}

/// What the kernel's tables bound before this agent began.
#[derive(Debug)]
enum ClaimsOfBefore {
    /// Read in vain so many times.
    Unknown(u32),
    /// Whether there was anything.
    Known { any: bool },
}

impl Binding {
    pub(super) fn of(node: &str) -> Self {
        Self {
            local: LocalPods::of(Some(node)),
            claims: ClaimsOfBefore::Unknown(0),
            seen: None,
            failing: None,
            bound: BTreeSet::new(),
            report: BindingReport::default(),
            reported: None,
        }
    }

    /// Whether a sync would bind what is on the node, as far as it can be known.
    fn is_known(&self, now: Instant) -> bool {
        match self.claims {
            ClaimsOfBefore::Unknown(_) => false,
            ClaimsOfBefore::Known { any } => {
                let is_hopeless =
                    |since: Instant| !any && now.saturating_duration_since(since) >= PATIENCE;
                self.seen.is_some() || self.failing.is_some_and(is_hopeless)
            }
        }
    }

    /// A sync succeeded with this network. `forged`: others had changed a table,
    /// so that any address may have been forged meanwhile. Returns the addresses
    /// that were not bound before.
    pub(super) fn synced(&mut self, network: &NodeNetwork, forged: bool) -> BTreeSet<IpAddr> {
        let now = addresses(network);
        let before = std::mem::replace(&mut self.bound, now.clone());
        match forged {
            true => now,
            false => now.difference(&before).copied().collect(),
        }
    }
}

/// All addresses that are bound.
fn addresses(network: &NodeNetwork) -> BTreeSet<IpAddr> {
    network.ports.values().flat_map(|port| port.addresses.iter().copied()).collect()
}

impl<S: Sink> Enforcer<S> {
    /// Takes what is seen of the interfaces. Whether it is known what a sync should
    /// bind.
    ///
    /// # Errors
    /// The thread that looks at them died.
    pub(super) fn look_at_interfaces(&mut self) -> Result<bool, ThreadDied> {
        if !self.parts.interfaces.is_alive() {
            return Err(ThreadDied("links"));
        }
        self.remember_claims();
        let now = self.now();
        let Parts { interfaces, binding: options, .. } = &mut self.parts;
        if self.binding.local.follow(self.cluster.snapshot()) {
            interfaces.pods(options.bindable(&self.binding.local));
        }
        let problem = interfaces.look().err();
        let failing = problem.as_ref().map(|_| self.binding.failing.unwrap_or(now));
        self.binding.failing = failing;
        self.follow_network(now);
        if self.binding.reported.is_none_or(|reported| now >= reported + REPORT_EVERY) {
            self.binding.reported = Some(now);
            self.report_binding(now, problem);
        }
        Ok(self.binding.is_known(now))
    }

    /// At start: learns from the kernel's tables who had which address.
    fn remember_claims(&mut self) {
        let ClaimsOfBefore::Unknown(tries) = self.binding.claims else { return };
        let claims = match self.parts.pipeline.claims() {
            Ok(claims) => claims,
            Err(error) if tries + 1 < CLAIM_TRIES => {
                tracing::debug!("the bindings in the kernel cannot be read: {error}");
                self.binding.claims = ClaimsOfBefore::Unknown(tries + 1);
                return;
            }
            Err(error) => {
                tracing::warn!(
                    "it is not known which address the tables in the kernel bind to which \
                     interface, so the interfaces alone decide: {error}"
                );
                Claims::default()
            }
        };
        self.binding.claims = ClaimsOfBefore::Known { any: !claims.0.is_empty() };
        let claimed = claims.0.values().flat_map(|claim| &claim.addresses);
        self.binding.bound = claimed.copied().collect();
        self.parts.interfaces.remember(claims);
    }

    /// A change of the network is an event.
    fn follow_network(&mut self, now: Instant) {
        let Parts { interfaces, binding: options, pipeline, metrics, .. } = &mut self.parts;
        let Some(network) = interfaces.network() else { return };
        if self.binding.seen.as_ref() == Some(network) {
            return;
        }
        let before = self.binding.seen.replace(network.clone());
        for line in tunnel_report::changes(before.as_ref(), network) {
            tracing::info!("{line}");
        }
        let network = options.possible(network.clone());
        metrics.bound_ports.set(network.ports.len() as i64);
        pipeline.bind(network);
        self.next.event(now);
    }

    /// The condition, and what is said about single pods, which stops nothing: a
    /// tenant must not be able to make a node unready.
    fn report_binding(&mut self, now: Instant, problem: Option<String>) {
        let Parts { interfaces, binding: options, status, metrics, .. } = &self.parts;
        let findings = interfaces.findings();
        let for_all = findings.iter().filter(|one| is_for_all(one)).map(ToString::to_string);
        let has_bridges = self.binding.seen.as_ref().is_some_and(|seen| !seen.bridges.is_empty());
        let no_bridge = (options.no_bridges && has_bridges).then(|| {
            "pods are on a bridge, and the kernel has no nf_tables for the bridge family \
             (CONFIG_NF_TABLES_BRIDGE), so they are not bound"
                .to_owned()
        });
        let problems: Vec<String> = problem
            .map(|why| format!("the node's interfaces cannot be listed: {why}"))
            .into_iter()
            .chain(interfaces.lacks())
            .chain(no_bridge)
            .chain(for_all)
            .collect();
        match problems.is_empty() {
            true => status.holds(Condition::Bound),
            false => status.fails(Condition::Bound, problems.join("; ")),
        }
        if let Some(remark) = self.binding.report.take(now, findings, metrics) {
            status.remark(Condition::Bound, remark);
        }
    }
}

/// Whether the operator must mend it for all pods.
fn is_for_all(finding: &BindingFinding) -> bool {
    match finding {
        BindingFinding::VlanFiltering { .. } => true,
        BindingFinding::NoInterface { .. }
        | BindingFinding::ClaimedTwice { .. }
        | BindingFinding::UnreportedAddress { .. }
        | BindingFinding::MacClaimedTwice { .. }
        | BindingFinding::MacChanged { .. }
        | BindingFinding::UnboundPort { .. } => false,
    }
}
