//! Looks for things on this node that hide packets from the rules or break them.
//!
//! In: the node's interfaces and files below /proc, its tables, the addresses
//! of its pods. Out: conditions that hold or not, with the way to fix them.
//! Never: a change to the node, except the mark of the cluster (`cluster_mark`).

mod changed_by;
mod conntrack;
mod ipvs;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::cluster_mark;
use agent::enforcer::Surroundings;
use agent::metrics::Metrics;
use agent::other_enforcers::{Found, Legacy, Program};
use agent::status::{Condition, Status};
use nft::{ChainOfOthers, Features, Generation, Kernel, ReadError};
use watcher::api::Cluster;

use crate::bridge;
use changed_by::ChangedBy;
use ipvs::Services;

/// How often to list the chains of others at most. The list holds all chains of
/// all tables: thousands on a node with kube-proxy.
const CHAINS_EVERY: Duration = Duration::from_secs(20);

/// The node around our table.
#[derive(Debug, Default)]
pub struct NodeSurroundings {
    chains_around: ChainsAround,
    /// For the next start.
    cluster: Cluster,
    /// For the gauges.
    metrics: Arc<Metrics>,
    changed_by: ChangedBy,
    services: Services,
    /// The cluster that was kept, and the generation as of which it was there.
    kept: Option<(String, Generation)>,
}

impl NodeSurroundings {
    /// The rules are of this cluster.
    pub fn of(cluster: Cluster, metrics: Arc<Metrics>) -> Self {
        Self { cluster, metrics, ..Self::default() }
    }

    /// Keeps the cluster's identity beside the rules. Without it the next start takes
    /// whatever cluster it finds.
    fn keep(&mut self, kernel: &mut Kernel) {
        let (Some(uid), Ok(generation)) = (self.cluster.uid(), kernel.generation()) else { return };
        let now = Some((uid, generation));
        if self.kept == now {
            return;
        }
        let uid = now.as_ref().map_or("", |(uid, _)| uid.as_str());
        match cluster_mark::keep(kernel, uid) {
            // What was sent just now changed the generation: then this looks once more.
            Ok(()) => self.kept = now,
            Err(error) => tracing::debug!("the cluster's uid is not kept: {error}"),
        }
    }
}

impl Surroundings<Kernel> for NodeSurroundings {
    fn look(&mut self, now: Instant, kernel: &mut Kernel, pods: &[IpAddr], status: &Status) {
        set(status, Condition::Bridges, bridge::unseen(pods));
        self.services.look(kernel, status);
        conntrack::look(status, &self.metrics);
        self.chains_around.look(now, kernel, status);
        self.keep(kernel);
        self.changed_by.rest(now);
    }

    fn changed_by(&mut self, now: Instant, kernel: &mut Kernel) -> Option<String> {
        self.changed_by.ask(now, kernel)
    }
}

/// Chains of others that drop what ours allow, by their policy or as those of another
/// enforcer of NetworkPolicy.
#[derive(Debug, Default)]
struct ChainsAround {
    /// When they were listed last, or could not be.
    tried: Option<Instant>,
    /// The generation as of which they were listed last.
    listed: Option<Generation>,
    /// Chains already logged; each is logged once.
    named: Vec<String>,
    /// What iptables-legacy had at the first look. Others' commits there change no
    /// generation.
    legacy: Option<Legacy>,
    /// Other enforcers already logged.
    enforcers: Found,
}

impl ChainsAround {
    /// Whether they are to be listed: others committed since the last list, and
    /// the last try was not just now.
    fn is_due(&self, now: Instant, generation: Generation) -> bool {
        let is_rare =
            self.tried.is_none_or(|tried| now.saturating_duration_since(tried) >= CHAINS_EVERY);
        is_rare && self.listed != Some(generation)
    }

    /// Logs chains of others that drop: ours cannot allow what they drop.
    fn look(&mut self, now: Instant, kernel: &mut Kernel, status: &Status) {
        // Ask before listing: a later commit must not count as listed.
        let Ok(generation) = kernel.generation() else { return };
        if self.is_due(now, generation) {
            let is_wanted =
                |chain: &ChainOfOthers| chain.drops_forwarded || Program::of(chain).is_some();
            self.listed(now, generation, kernel.chains_of_others(is_wanted));
            status.remark(Condition::Alone, self.enforcers.remark());
        }
    }

    /// They were listed now, or could not be.
    fn listed(
        &mut self,
        now: Instant,
        generation: Generation,
        found: Result<Vec<ChainOfOthers>, ReadError>,
    ) {
        self.tried = Some(now);
        let Ok(chains) = found else { return };
        self.listed = Some(generation);
        let enforcers = Found::of(&chains, self.legacy.get_or_insert_with(Legacy::read));
        for sentence in enforcers.new_since(&self.enforcers) {
            tracing::warn!("{sentence}");
        }
        self.enforcers = enforcers;
        let found: Vec<String> = chains
            .iter()
            .filter(|one| one.drops_forwarded)
            .map(|one| format!("chain {} in table {} {}", one.chain, one.family, one.table))
            .collect();
        for chain in found.iter().filter(|chain| !self.named.contains(chain)) {
            tracing::warn!(
                "{chain} drops forwarded packets by its policy: what no rule there accepts is \
                 lost, whatever the NetworkPolicies allow"
            );
        }
        self.named = found;
    }
}

/// Names what the kernel lacks.
pub fn features(features: &Features, status: &Status, metrics: &Metrics) {
    let needed = [
        ("conntrack", features.conntrack, "nf_conntrack and nft_ct"),
        ("maps", features.maps, "nf_tables"),
        ("intervals", features.intervals, "nf_tables"),
        ("concatenations", features.concatenations, "nf_tables"),
    ];
    // Without these, policies are enforced; the condition `bound` says what is not.
    let optional = [
        ("log", features.log),
        ("binding", features.binding),
        ("bridge", features.bridge),
        ("fib", features.fib),
    ];
    let has = needed.iter().map(|(name, there, _)| (*name, *there)).chain(optional);
    for (name, there) in has {
        metrics.features.get_or_create(&[("feature", name)]).set(there.into());
    }
    let missing: Vec<String> = needed
        .iter()
        .filter(|(_, there, _)| !there)
        .map(|(name, _, modules)| format!("{name} (kernel modules {modules})"))
        .collect();
    match missing.is_empty() {
        true => status.holds(Condition::Kernel),
        false => status.fails(
            Condition::Kernel,
            format!("the kernel lacks {}; load them on the host", missing.join(", ")),
        ),
    }
    if !features.log {
        tracing::warn!("this kernel has no nfnetlink_log: drops are not logged; load the module");
    }
}

fn set(status: &Status, condition: Condition, problems: Vec<String>) {
    match problems.is_empty() {
        true => status.holds(condition),
        false => status.fails(condition, problems.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_others_are_listed_at_first_and_then_rarely_after_commits() {
        let start = Instant::now();
        let (then, now) = (Generation(1), Generation(2));
        let mut chains = ChainsAround::default();
        assert!(chains.is_due(start, then), "the first look");
        chains.listed(start, then, Ok(Vec::new()));
        assert!(!chains.is_due(start + CHAINS_EVERY, then), "nobody committed");
        assert!(!chains.is_due(start + CHAINS_EVERY / 2, now), "listed a moment ago");
        assert!(chains.is_due(start + CHAINS_EVERY, now));
    }

    #[test]
    fn chains_that_could_not_be_listed_are_listed_later_even_if_nobody_commits() {
        let (start, generation) = (Instant::now(), Generation(1));
        let mut chains = ChainsAround::default();
        chains.listed(start, generation, Err(ReadError::KeepsChanging(3)));
        assert!(!chains.is_due(start + CHAINS_EVERY / 2, generation), "tried a moment ago");
        assert!(chains.is_due(start + CHAINS_EVERY, generation));
    }
}
