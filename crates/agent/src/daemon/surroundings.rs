//! What of this node could make enforcement blind or break it.
//!
//! In: the node's interfaces and files below /proc, its tables, the addresses
//! of its pods. Out: what holds and what does not, each with the way to mend
//! it. Never: a change to the node.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nft::{Features, Kernel};

use super::metrics::Metrics;
use super::status::{Condition, Status};
use crate::bridge;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks around from time to time.
#[derive(Debug, Default)]
pub struct Surroundings {
    looked: Option<Instant>,
    /// Named once each.
    dropping: Vec<String>,
}

impl Surroundings {
    /// Whether it is time to look again.
    pub fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_EVERY)
    }

    /// Looks, and says what changed.
    pub fn look(&mut self, kernel: &mut Kernel, pods: &[IpAddr], status: &Status) {
        self.looked = Some(Instant::now());
        say(status, Condition::Bridges, bridge::unseen(pods));
        say(status, Condition::Services, ipvs().into_iter().collect());
        self.name_dropping(kernel);
    }

    /// What another table drops, ours cannot allow.
    fn name_dropping(&mut self, kernel: &mut Kernel) {
        let Ok(found) = kernel.dropping_chains() else { return };
        let found: Vec<String> = found
            .iter()
            .map(|one| format!("chain {} in table {} {}", one.chain, one.family, one.table))
            .collect();
        for chain in found.iter().filter(|chain| !self.dropping.contains(chain)) {
            tracing::warn!(
                "{chain} drops forwarded packets by its policy: what no rule there accepts is \
                 lost, whatever the NetworkPolicies allow"
            );
        }
        self.dropping = found;
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
    let has = needed.iter().map(|(name, there, _)| (*name, *there)).chain([("log", features.log)]);
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

fn say(status: &Status, condition: Condition, problems: Vec<String>) {
    match problems.is_empty() {
        true => status.holds(condition),
        false => status.fails(condition, problems.join("; ")),
    }
}

/// IPVS sends from the local-out hook, which no forward chain sees. Its table
/// has three lines of heading (net/netfilter/ipvs/ip_vs_ctl.c); kube-proxy
/// and kube-router keep Service addresses on an interface of a known name.
fn ipvs() -> Option<String> {
    const HEADING: usize = 3;
    const INTERFACES: [&str; 2] = ["kube-ipvs0:", "kube-dummy-if:"];
    let services = fs::read_to_string("/proc/self/net/ip_vs").unwrap_or_default();
    let devices = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let found = services.lines().count() > HEADING
        || devices.lines().any(|line| INTERFACES.iter().any(|one| line.trim().starts_with(one)));
    found.then(|| {
        "IPVS serves Services on this node, and its packets do not cross the forward hook: \
         policies do not see them; run kube-proxy with `mode: nftables` or `iptables` \
         (kube-router without its service proxy)"
            .to_owned()
    })
}
