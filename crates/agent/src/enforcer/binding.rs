//! Follows the node's interfaces.
//!
//! In: the node's pods, what is seen on its interfaces. Out: what the next sync
//! binds, the condition, the report of pods that are not bound. Never: an address
//! that loses its binding at start, because nobody has looked at the interfaces yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nft::ReadError;
use policy::{BindingFinding, Kept, NodeNetwork, ObjectKey};

use super::binding_report::BindingReport;
use super::{Enforcer, Parts, ThreadDied, tunnel_report, unknown_report};
use crate::Sink;
use crate::local_pods::LocalPods;
use crate::node_ranges::NodeRanges;
use crate::pipeline::InForce;
use crate::status::Condition;

/// The kernel's tables are read this often at most, to learn who had what before.
const CLAIM_TRIES: u32 = 10;
/// For this long the first sync waits for interfaces that cannot be listed. A look
/// that fails, or a binding that is not in force, is no matter before it. The same for a Node
/// object that is not read yet.
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
    /// What the kernel's tables bound at start: it stays bound while the interfaces
    /// cannot be listed.
    in_kernel: Option<NodeNetwork>,
    /// Since when the interfaces cannot be listed.
    failing: Option<Instant>,
    /// Since when the Node object is awaited, which says where its pods have their addresses.
    awaited: Option<Instant>,
    /// Since when what is to be bound is not in force.
    pending: Option<Instant>,
    /// Whether a sync succeeded.
    is_in_force: bool,
    /// The addresses that were bound as of the last sync that succeeded.
    bound: BTreeSet<IpAddr>,
    report: BindingReport,
    reported: Option<Instant>,
}

/// What the kernel's tables bound before this agent began.
#[derive(Debug)]
enum ClaimsOfBefore {
    /// Not read yet. `tries`: how many reads failed, apart from those in which others
    /// changed the tables meanwhile. `problem`: why the last one failed.
    Unknown { tries: u32, problem: Option<String> },
    /// Read, and passed on to the interfaces.
    Known,
}

impl Binding {
    pub(super) fn of(node: &str) -> Self {
        Self {
            local: LocalPods::of(Some(node)),
            claims: ClaimsOfBefore::Unknown { tries: 0, problem: None },
            seen: None,
            in_kernel: None,
            failing: None,
            awaited: None,
            pending: None,
            is_in_force: false,
            bound: BTreeSet::new(),
            report: BindingReport::default(),
            reported: None,
        }
    }

    /// The addresses of the node's pods, as of the last look at its interfaces.
    pub(super) fn local_addresses(&self) -> Vec<IpAddr> {
        let pods = self.local.iter().filter(|pod| pod.is_subject());
        pods.flat_map(|pod| pod.addresses.iter().copied()).collect()
    }

    /// The pod whose interface has an address, as of the last look.
    pub(super) fn holder(&self, address: IpAddr) -> Option<&ObjectKey> {
        let mut ports = self.seen.as_ref()?.ports.values();
        ports.find(|port| port.addresses.contains(&address)).map(|port| &port.pod)
    }

    /// Whether a sync would bind what is on the node, or what was bound, as far as it
    /// can be known.
    fn is_known(&self, now: Instant) -> bool {
        match self.claims {
            ClaimsOfBefore::Unknown { .. } => false,
            ClaimsOfBefore::Known if self.awaited.is_some() && !is_long(self.awaited, now) => false,
            ClaimsOfBefore::Known => self.seen.is_some() || is_long(self.failing, now),
        }
    }

    /// Why what is bound is not what should be. `listing`: why the interfaces cannot
    /// be listed.
    fn problems(&self, now: Instant, listing: Option<String>) -> Vec<String> {
        // One look that failed is no matter once there was another.
        let listing = listing.filter(|_| self.seen.is_none() || is_long(self.failing, now));
        let listing = listing.map(|why| format!("the node's interfaces cannot be listed: {why}"));
        let unread = match &self.claims {
            ClaimsOfBefore::Unknown { problem, .. } => problem
                .as_ref()
                .map(|why| format!("what is bound already cannot be read, trying again: {why}")),
            ClaimsOfBefore::Known => None,
        };
        let pending = is_long(self.pending, now).then(|| {
            "the kernel does not have the bindings of the interfaces as they are now (see the \
             condition enforced)"
                .to_owned()
        });
        [listing, unread, pending].into_iter().flatten().collect()
    }

    /// A sync succeeded with this network. `forged`: others had changed a table,
    /// so that any address may have been forged meanwhile. Returns the addresses
    /// that were not bound before.
    pub(super) fn synced(&mut self, network: &NodeNetwork, forged: bool) -> BTreeSet<IpAddr> {
        let is_new = self.pending.take().is_some();
        if is_new || !self.is_in_force {
            // The condition follows at once.
            self.reported = None;
        }
        self.is_in_force = true;
        if !is_new && !forged {
            return BTreeSet::new();
        }
        let now = addresses(network);
        let before = std::mem::replace(&mut self.bound, now.clone());
        match forged {
            true => now,
            false => now.difference(&before).copied().collect(),
        }
    }
}

fn is_long(since: Option<Instant>, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE)
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
        let have_pods_changed = self.binding.local.follow(self.cluster.snapshot());
        self.remember_claims();
        let now = self.now();
        let have_kept_changed = self.kept.follow(self.cluster.snapshot(), now);
        if have_pods_changed || have_kept_changed {
            self.bind_pods();
        }
        let Parts { interfaces, .. } = &mut self.parts;
        let problem = interfaces.look().err();
        let failing = problem.as_ref().map(|_| self.binding.failing.unwrap_or(now));
        self.binding.failing = failing;
        let is_awaited = interfaces.node_ranges().is_some_and(NodeRanges::is_awaited);
        self.binding.awaited = is_awaited.then(|| self.binding.awaited.unwrap_or(now));
        self.forget_kept(now);
        self.follow_network(now);
        if self.binding.reported.is_none_or(|reported| now >= reported + REPORT_EVERY) {
            self.binding.reported = Some(now);
            self.report_binding(now, problem);
        }
        Ok(self.binding.is_known(now))
    }

    /// Tells which pods are to be bound, those of which something is kept included.
    pub(super) fn bind_pods(&mut self) {
        let Parts { interfaces, binding: options, .. } = &mut self.parts;
        interfaces.pods(options.bindable(&self.binding.local, self.cluster.kept_pods()));
    }

    /// At start: learns from the kernel's tables who had which address. While others
    /// change them too fast to be read, it goes on trying: the rules in force stay.
    fn remember_claims(&mut self) {
        let ClaimsOfBefore::Unknown { tries, .. } = self.binding.claims else { return };
        let pods = self.binding.local.iter().filter(|pod| pod.is_subject());
        let owners: BTreeMap<IpAddr, &ObjectKey> = pods
            .flat_map(|pod| pod.addresses.iter().map(move |address| (*address, &pod.key)))
            .collect();
        let pod_of = |address: IpAddr| {
            let known = owners.get(&address).map(|key| (*key).clone());
            // If no pod has it, it is kept.
            known.or_else(|| Some(Kept::key_of_restart(address)))
        };
        let in_force = match self.parts.pipeline.in_force(pod_of) {
            Ok(in_force) => in_force,
            Err(error) => {
                let tries = match error {
                    ReadError::KeepsChanging(_) => tries,
                    ReadError::Permission | ReadError::Io(_) | ReadError::Malformed(_) => tries + 1,
                };
                if tries < CLAIM_TRIES {
                    let problem = Some(error.to_string());
                    self.binding.claims = ClaimsOfBefore::Unknown { tries, problem };
                    return;
                }
                tracing::warn!(
                    "it is not known which address the tables in the kernel bind to which \
                     interface, so the interfaces alone decide: {error}"
                );
                InForce::default()
            }
        };
        let InForce { claims, network, isolated } = in_force;
        self.binding.claims = ClaimsOfBefore::Known;
        self.cluster.begin(&isolated, &network);
        let pod_ranges = network.pod_ranges.clone();
        self.binding.in_kernel = Some(network);
        let claimed = claims.0.values().flat_map(|claim| &claim.addresses);
        self.binding.bound = claimed.copied().collect();
        self.parts.interfaces.remember(claims, pod_ranges);
    }

    /// A change of the network is an event. Interfaces that cannot be listed keep what
    /// is bound to them.
    fn follow_network(&mut self, now: Instant) {
        let Parts { interfaces, binding: options, pipeline, .. } = &mut self.parts;
        let network = match interfaces.network() {
            Some(network) if self.binding.seen.as_ref() == Some(network) => return,
            Some(network) => {
                self.binding.in_kernel = None;
                let before = self.binding.seen.replace(network.clone());
                for line in tunnel_report::changes(before.as_ref(), network) {
                    tracing::info!("{line}");
                }
                network.clone()
            }
            None if is_long(self.binding.failing, now) => {
                let Some(network) = self.binding.in_kernel.take() else { return };
                network
            }
            None => return,
        };
        self.binding.pending.get_or_insert(now);
        let network = options.possible(network);
        if network.ipvs != pipeline.network().ipvs {
            // Before the rules for IPVS are in force, the node is not ready.
            self.looked_around = None;
        }
        if let Some(line) = unknown_report::change(pipeline.network(), &network) {
            tracing::info!("{line}");
        }
        pipeline.bind(network);
        self.next.event(now);
    }

    /// Updates the condition and reports single pods. A single pod never makes the
    /// node unready, because a tenant could then do so.
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
        let problems: Vec<String> = self
            .binding
            .problems(now, problem)
            .into_iter()
            .chain(interfaces.lacks())
            .chain(no_bridge)
            .chain(for_all)
            .collect();
        match problems.is_empty() {
            // Before the first sync nothing is bound.
            true if self.binding.is_in_force => status.holds(Condition::Bound),
            true => {}
            false => status.fails(Condition::Bound, problems.join("; ")),
        }
        if let Some(remark) = self.binding.report.take(now, findings, metrics) {
            status.remark(Condition::Bound, remark);
        }
        if self.binding.is_in_force {
            let (network, node) = (self.parts.pipeline.network(), interfaces.node_ranges());
            match unknown_report::problem(network, node) {
                None => status.holds(Condition::Ranges),
                Some(problem) => status.fails(Condition::Ranges, problem),
            }
        }
    }
}

/// Whether the operator must mend it for all pods.
fn is_for_all(finding: &BindingFinding) -> bool {
    match finding {
        BindingFinding::VlanFiltering { .. } => true,
        BindingFinding::NoInterface { .. }
        | BindingFinding::ClaimedTwice { .. }
        | BindingFinding::Contested { .. }
        | BindingFinding::UnreportedAddress { .. }
        | BindingFinding::MacClaimedTwice { .. }
        | BindingFinding::MacChanged { .. }
        | BindingFinding::UnboundPort { .. } => false,
    }
}
