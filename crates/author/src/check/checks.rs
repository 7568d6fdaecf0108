//! The checks: a file each, and the table of all.
//!
//! In: a [`Context`]. Out: findings of one id.
//! Never: a finding where the input does not hold what would tell.

mod adds_nothing;
mod allows_everything;
mod api_server_peer;
mod dns;
mod dns_missed;
mod dns_protocol;
mod egress_without_dns;
mod host_network_pod;
mod metrics_port_shut;
mod namespace_name_label;
mod namespace_unknown;
pub mod network_unknown;
pub mod not_on_network;
mod peer_selects_nobody;
mod policy_selects_nobody;
mod port_name_of_peer;
mod port_name_unknown;
mod selector_contradiction;
mod service_address;
mod service_port;
mod split_rule;
mod two_peers;
mod uncovered_pods;

use super::context::Context;
use super::finding::{Finding, Level};

/// A check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name, and that of its page.
    pub id: &'static str,
    /// How bad its findings are, if they do not say otherwise.
    pub level: Level,
    /// What it looks for, in a few words.
    pub summary: &'static str,
    /// Its page.
    pub page: &'static str,
    /// The check; `None` for what reading finds.
    pub run: Option<fn(&Context<'_>) -> Vec<Finding>>,
}

/// A line of the table.
macro_rules! check {
    ($id:literal, $level:ident, $summary:literal, $run:expr) => {
        Check {
            id: $id,
            level: Level::$level,
            summary: $summary,
            page: include_str!(concat!("../../../../docs/checks/", $id, ".md")),
            run: $run,
        }
    };
}

/// All checks, in the order of their ids.
pub const CHECKS: &[Check] = &[
    check!("adds-nothing", Note, "a rule adds nothing to another", Some(adds_nothing::check)),
    check!(
        "allows-everything",
        Warning,
        "a rule opens everything beside others",
        Some(allows_everything::check)
    ),
    check!(
        "api-server-peer",
        Warning,
        "a selector cannot mean the API server",
        Some(api_server_peer::check)
    ),
    check!("cidr-form", Warning, "an address block is written in a form that is refused", None),
    check!("dns-missed", Warning, "a DNS rule misses the cluster's DNS", Some(dns_missed::check)),
    check!(
        "dns-protocol",
        Warning,
        "a DNS rule allows one protocol alone",
        Some(dns_protocol::check)
    ),
    check!(
        "egress-without-dns",
        Warning,
        "egress is isolated and DNS forgotten",
        Some(egress_without_dns::check)
    ),
    check!("empty-value", Warning, "a field has no value", None),
    check!("expectation", Error, "a line of --expect does not hold", None),
    check!(
        "host-network-pod",
        Warning,
        "a selector means pods in their node's network",
        Some(host_network_pod::check)
    ),
    check!("invalid", Error, "the API server refuses it", None),
    check!(
        "metrics-port-shut",
        Note,
        "a metrics port is shut to everyone",
        Some(metrics_port_shut::check)
    ),
    check!("name-contradicts", Warning, "the policy's name says the opposite", None),
    check!(
        "namespace-name-label",
        Warning,
        "`name` is taken for a label that namespaces have",
        Some(namespace_name_label::check)
    ),
    check!(
        "namespace-unknown",
        Warning,
        "a namespace's name is probably misspelt",
        Some(namespace_unknown::check)
    ),
    check!("network-unknown", Warning, "a MultiNetworkPolicy's network is nobody's", None),
    check!("not-on-network", Warning, "pods that are not on a policy's network", None),
    check!(
        "peer-selects-nobody",
        Warning,
        "a peer selects nobody",
        Some(peer_selects_nobody::check)
    ),
    check!("policy-for", Warning, "a MultiNetworkPolicy names no network", None),
    check!(
        "policy-for-ignored",
        Warning,
        "a NetworkPolicy has the annotation of the other kind",
        None
    ),
    check!(
        "policy-selects-nobody",
        Warning,
        "a policy selects nobody",
        Some(policy_selects_nobody::check)
    ),
    check!("policy-types", Warning, "policyTypes and the rules disagree", None),
    check!(
        "port-name-of-peer",
        Note,
        "the peer decides what a port's name means",
        Some(port_name_of_peer::check)
    ),
    check!(
        "port-name-unknown",
        Warning,
        "no pod has a port of this name",
        Some(port_name_unknown::check)
    ),
    check!(
        "selector-contradiction",
        Warning,
        "no pod can ever match",
        Some(selector_contradiction::check)
    ),
    check!(
        "service-address",
        Warning,
        "a Service's address in an ipBlock",
        Some(service_address::check)
    ),
    check!(
        "service-port",
        Warning,
        "a Service's port instead of its pods'",
        Some(service_port::check)
    ),
    check!(
        "split-rule",
        Warning,
        "a '-' before ports makes two rules of one",
        Some(split_rule::check)
    ),
    check!("two-peers", Warning, "two peers where one was probably meant", Some(two_peers::check)),
    check!("uncovered-pods", Note, "pods that no policy covers", Some(uncovered_pods::check)),
    check!("unusual", Warning, "valid, and probably not meant", None),
];

/// The check of an id.
pub fn by_id(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id == id)
}

/// How bad the findings of a check are.
pub fn level(id: &str) -> Level {
    by_id(id).map_or(Level::Warning, |check| check.level)
}
