//! The kinds of updates as manifests, and what must hold while they happen.
//!
//! Each kind has the states that it cycles through, and its probes. Before a run,
//! the specification judges every probe in every state.
//! Never: a single change that allows and denies something in both directions. One
//! node cannot order such a change: its two directions differ for a moment.

use std::net::Ipv4Addr;

use super::manifest::{ending, list, pod, policy};
use super::{Expect, Probe, Range};

/// How a state is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The index gets the changes, as from a watch.
    Events,
    /// All files are read again and compared with the kernel's table.
    Reapply,
    /// A new pipeline adopts the kernel's table as it is, then changes it.
    Restart,
}

/// One kind of update.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its name in the report.
    pub name: &'static str,
    /// How each state is reached from the one before.
    pub how: How,
    /// The manifests. The first follows the last.
    pub states: Vec<String>,
    /// What is sent during the updates.
    pub probes: Vec<Probe>,
}

/// The pods of [`Range`] that send.
const CLIENT: usize = 0;
const OTHER: usize = 1;

impl Kind {
    /// Rules and CIDRs change their meaning. Pods stay the same.
    pub fn policies_edited(range: &Range) -> Self {
        let fixed = fixed_pods(range, "role: a");
        let edited = |by_pod: &str, by_address: &str| {
            policy(
                "server",
                &format!(
                    "podSelector: {{matchLabels: {{app: server}}}}
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: client}}}}}}]
    ports: [{by_pod}]
  - from: [{by_address}]
    ports: [{{port: 82, protocol: UDP}}, {{port: 85, protocol: UDP}}]"
                ),
            )
        };
        let states = vec![
            list(&[
                &fixed,
                &edited("{port: 80, protocol: UDP}, {port: 81, protocol: UDP}", BY_ADDRESS_WIDE),
            ]),
            list(&[
                &fixed,
                &edited("{port: 80, protocol: UDP}, {port: 86, protocol: UDP}", BY_ADDRESS_NARROW),
            ]),
        ];
        let probes = probes(
            range,
            &[
                (CLIENT, 80, Expect::Pass),
                (CLIENT, 82, Expect::Pass),
                (CLIENT, 81, Expect::Either),
                (CLIENT, 90, Expect::Drop),
                (OTHER, 80, Expect::Drop),
                (OTHER, 82, Expect::Either),
            ],
        );
        Self { name: "policies edited", how: How::Events, states, probes }
    }

    /// A rule's ports change at the moment when a pod becomes one of its peers. One
    /// packet could combine these changes of two objects, so the difference fails
    /// closed. It does not promise traffic that both states allow by different
    /// rules.
    pub fn policy_and_pod(range: &Range) -> Self {
        let state = |role: &str, port: u16| {
            let pods = fixed_pods(range, &format!("role: {role}"));
            let server = policy(
                "server",
                &format!(
                    "podSelector: {{matchLabels: {{app: server}}}}
  ingress:
  - from: [{{podSelector: {{matchLabels: {{role: a}}}}}}]
    ports: [{{port: 82, protocol: UDP}}]
  - from: [{{podSelector: {{matchLabels: {{role: b}}}}}}]
    ports: [{{port: {port}, protocol: UDP}}, {{port: 82, protocol: UDP}}]
  - from: [{{podSelector: {{matchLabels: {{app: other}}}}}}]
    ports: [{{port: 85, protocol: UDP}}]"
                ),
            );
            list(&[&pods, &server])
        };
        let probes = probes(
            range,
            &[
                (CLIENT, 80, Expect::Drop),
                (CLIENT, 81, Expect::Either),
                (OTHER, 80, Expect::Drop),
                (OTHER, 85, Expect::Pass),
            ],
        );
        let states = vec![state("a", 80), state("b", 81)];
        Self { name: "policy and pod at once", how: How::Events, states, probes }
    }

    /// Both ends get other labels. Their chains and their memberships change at the
    /// same time.
    pub fn pods_relabelled(range: &Range) -> Self {
        Self { name: "pods relabelled", how: How::Events, ..Self::relabels(range) }
    }

    /// The same states, read from files each time.
    pub fn whole_reapplied(range: &Range) -> Self {
        Self { name: "whole re-applied", how: How::Reapply, ..Self::relabels(range) }
    }

    /// The same states, with a new pipeline each time.
    pub fn restarted(range: &Range) -> Self {
        Self { name: "nftpol restarted", how: How::Restart, ..Self::relabels(range) }
    }

    fn relabels(range: &Range) -> Self {
        let state = |role: &str| {
            let pods = fixed_pods(range, &format!("role: {role}"));
            list(&[&pods, &both_roles()])
        };
        Self {
            name: "",
            how: How::Events,
            states: vec![state("a"), state("b")],
            probes: role_probes(range),
        }
    }

    /// One end becomes isolated while the other is released.
    pub fn isolated_and_released(range: &Range) -> Self {
        let policies = [
            policy(
                "locked-client",
                "podSelector: {matchLabels: {app: client, locked: yes-it-is}}
  policyTypes: [Egress]
  egress:
  - ports: [{port: 82, protocol: UDP}]",
            ),
            policy(
                "locked-server",
                "podSelector: {matchLabels: {app: server, locked: yes-it-is}}
  ingress:
  - ports: [{port: 82, protocol: UDP}, {port: 80, protocol: UDP}]",
            ),
        ];
        let state = |client: &str, server: &str| {
            let pods = [
                pod("client", &format!("app: client, {client}"), range.source(CLIENT), 0),
                pod("other", "app: other", range.source(OTHER), 0),
                pod("server", &format!("app: server, {server}"), server_address(range), 0),
            ];
            list(&[&pods[0], &pods[1], &pods[2], &policies[0], &policies[1]])
        };
        let (locked, open) = ("locked: yes-it-is", "locked: no-it-is-not");
        let probes = probes(
            range,
            &[
                (CLIENT, 82, Expect::Pass),
                (CLIENT, 80, Expect::Either),
                (CLIENT, 84, Expect::Drop),
                (OTHER, 80, Expect::Pass),
                (OTHER, 84, Expect::Either),
            ],
        );
        let states = vec![state(open, locked), state(locked, open)];
        Self { name: "isolated, released", how: How::Events, states, probes }
    }

    /// An address moves to a pod with other labels, and back. In between both pods
    /// report it, and the one that does not end has it.
    pub fn addresses_reused(range: &Range) -> Self {
        let address = range.source(CLIENT);
        let fixed = [
            pod("other", "app: other", range.source(OTHER), 0),
            pod("server", "app: server, role: a", server_address(range), 0),
            both_roles(),
        ];
        let one = |age| pod("one", "app: client, role: a", address, age);
        let two = |age| pod("two", "app: client, role: b", address, age);
        let state = |pods: &[String]| {
            let all: Vec<&str> = fixed.iter().chain(pods).map(String::as_str).collect();
            list(&all)
        };
        let states = vec![
            state(&[one(1)]),
            state(&[ending(&one(1)), two(2)]),
            state(&[two(2)]),
            state(&[one(3), ending(&two(2))]),
        ];
        Self { name: "addresses reused", how: How::Events, states, probes: role_probes(range) }
    }
}

/// Both senders of the range by their addresses, or only the first.
const BY_ADDRESS_WIDE: &str = "{ipBlock: {cidr: 10.77.0.0/24, except: [10.77.0.128/25]}}";
const BY_ADDRESS_NARROW: &str = "{ipBlock: {cidr: 10.77.0.0/24, except: [10.77.0.2/32]}}";

fn server_address(range: &Range) -> Ipv4Addr {
    range.destination(1)
}

fn fixed_pods(range: &Range, role: &str) -> String {
    list(&[
        &pod("client", &format!("app: client, {role}"), range.source(CLIENT), 0),
        &pod("other", "app: other", range.source(OTHER), 0),
        &pod("server", &format!("app: server, {role}"), server_address(range), 0),
    ])
}

/// What clients and servers of the roles a and b may do.
///
/// | port | client a | client b | from a | from b | |
/// |---|---|---|---|---|---|
/// | 80 | may | may not | denied | allowed | denied whatever the role, on the one side or the other |
/// | 82 | may | may | allowed | allowed | allowed, by different rules |
/// | 83 | may | may not | allowed | allowed | what changes |
///
/// From a to b, egress starts to deny and ingress starts to allow. From b to a it
/// is the other way round.
fn both_roles() -> String {
    let egress = |role: &str, ports: &str| {
        policy(
            &format!("client-{role}"),
            &format!(
                "podSelector: {{matchLabels: {{app: client, role: {role}}}}}
  policyTypes: [Egress]
  egress:
  - to: [{{podSelector: {{matchLabels: {{app: server}}}}}}]
    ports: [{ports}]"
            ),
        )
    };
    list(&[
        &egress(
            "a",
            "{port: 80, protocol: UDP}, {port: 82, protocol: UDP}, {port: 83, protocol: UDP}",
        ),
        &egress("b", "{port: 82, endPort: 82, protocol: UDP}"),
        &policy(
            "server",
            "podSelector: {matchLabels: {app: server}}
  ingress:
  - from: [{podSelector: {matchLabels: {role: a}}}]
    ports: [{port: 82, endPort: 83, protocol: UDP}]
  - from: [{podSelector: {matchLabels: {role: b}}}]
    ports: [{port: 80, protocol: UDP}, {port: 82, protocol: UDP}, {port: 83, protocol: UDP}]",
        ),
    ])
}

fn role_probes(range: &Range) -> Vec<Probe> {
    let wanted = [
        (CLIENT, 80, Expect::Drop),
        (CLIENT, 82, Expect::Pass),
        (CLIENT, 83, Expect::Either),
        (CLIENT, 90, Expect::Drop),
        (OTHER, 82, Expect::Drop),
    ];
    probes(range, &wanted)
}

fn probes(range: &Range, wanted: &[(usize, u16, Expect)]) -> Vec<Probe> {
    let destination = server_address(range);
    let probe = |&(source, port, expect)| Probe { source, destination, port, expect };
    wanted.iter().map(probe).collect()
}
