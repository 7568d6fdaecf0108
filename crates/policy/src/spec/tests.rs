//! The API documentation, case by case, and above all the mistakes that
//! implementations have made.
//!
//! A case has policies over one small cluster, a packet, and the expected decision
//! of each side.

mod blocks;
mod fields;
mod pods;
mod ports;
mod selectors;
mod subjects;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::*;
use crate::{
    IpBlock, Labels, NamedPort, Namespace, Operator, Phase, PodPeer, Requirement, Rule, Selector,
    cidr,
};

/// A case. `packet` is `10.0.0.1 > 10.0.0.2 tcp/80` or `... > ... proto/1`. `says`
/// is the output of [`shown`] for the decision.
struct Case {
    /// The rule of [`TOPICS`] that it tests.
    topic: &'static str,
    name: &'static str,
    cluster: Snapshot,
    packet: &'static str,
    says: &'static str,
}

/// Everything that must have a case, in the documentation's order.
const TOPICS: [&str; 24] = [
    "the other direction of a one-way policy",
    "no rules",
    "peers",
    "ports",
    "ports are pairs",
    "rules do not mix",
    "endPort, and other protocols stay isolated",
    "protocols without ports",
    "operators",
    "namespace labels",
    "peers that are nobody",
    "named ports",
    "named ports without peers",
    "ipBlock and pods",
    "except",
    "families",
    "cidr notation",
    "hostNetwork",
    "nodes",
    "ended pods and reused addresses",
    "dual stack",
    "itself",
    "both halves",
    "unusable parts",
];

#[test]
fn every_case_is_judged_as_documented() {
    for Case { topic, name, cluster, packet, says } in all_cases() {
        assert_eq!(shown(&decide(&cluster, &parse_packet(packet))), says, "{topic}: {name}");
    }
}

#[test]
fn every_topic_has_a_case_and_names_are_unique() {
    let cases = all_cases();
    let topics: BTreeSet<&str> = cases.iter().map(|case| case.topic).collect();
    assert_eq!(topics, BTreeSet::from(TOPICS));
    let names: BTreeSet<(&str, &str)> = cases.iter().map(|case| (case.topic, case.name)).collect();
    assert_eq!(names.len(), cases.len());
}

#[test]
fn a_pod_that_has_no_address_of_its_own_is_never_selected() {
    let cluster = cluster([]);
    let everything = PodPeer { namespaces: Some(selector("")), pods: selector("") };
    let web = cluster.pods[&key("dev/web")].as_ref();
    let ended = Pod { phase: Phase::Failed, ..web.clone() };
    let host = Pod { host_network: true, ..web.clone() };
    for (pod, selected) in [(web, true), (&ended, false), (&host, false)] {
        assert_eq!(cluster.selects(&policy(""), pod), selected);
        assert_eq!(cluster.peer_selects(&everything, "dev", pod), selected);
    }
}

fn all_cases() -> Vec<Case> {
    [fields::cases(), selectors::cases(), ports::cases(), blocks::cases(), pods::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// Both sides in words, egress first: `free` (not isolated), `exempt`, `allowed
/// ns/policy[rule]`, `denied ns/policy`.
fn shown(decision: &Decision) -> String {
    let side = |side: &Side| match side {
        Side::NotIsolated => "free".to_owned(),
        Side::Exempt => "exempt".to_owned(),
        Side::Allowed(rules) => rules.iter().fold("allowed".to_owned(), |text, rule| {
            format!("{text} {}[{}]", rule.policy, rule.index)
        }),
        Side::Denied(policies) => {
            policies.iter().fold("denied".to_owned(), |text, policy| format!("{text} {policy}"))
        }
        Side::Shut(policies) => {
            policies.iter().fold("shut".to_owned(), |text, policy| format!("{text} {policy}"))
        }
    };
    let passes = if decision.passes() { "passes" } else { "stops" };
    format!("{passes}: {}; {}", side(&decision.egress), side(&decision.ingress))
}

fn parse_packet(text: &str) -> Packet {
    let [source, ">", destination, transport] = text.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    let (protocol, number) = transport.split_once('/').unwrap();
    let port = |protocol| ProtocolPort::Port(protocol, number.parse().unwrap());
    Packet {
        source: ip(source),
        destination: ip(destination),
        transport: match protocol {
            "tcp" => port(Protocol::Tcp),
            "udp" => port(Protocol::Udp),
            "sctp" => port(Protocol::Sctp),
            _ => ProtocolPort::Other(number.parse().unwrap()),
        },
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectKey::new(namespace, name)
}

/// Parses `a=b,c=` as labels.
fn labels(text: &str) -> Labels {
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// Parses `a=x`, `a=x|y` (In), `a!=x|y` (NotIn), `a` (Exists) and `!a`
/// (DoesNotExist), separated by commas. An empty text is `{}`.
fn selector(text: &str) -> Selector {
    let values = |text: &str| text.split('|').map(str::to_owned).collect();
    Selector::new(text.split(',').filter(|one| !one.is_empty()).map(|one| {
        let (key, operator) = if let Some((key, list)) = one.split_once("!=") {
            (key, Operator::NotIn(values(list)))
        } else if let Some((key, list)) = one.split_once('=') {
            (key, Operator::In(values(list)))
        } else if let Some(key) = one.strip_prefix('!') {
            (key, Operator::DoesNotExist)
        } else {
            (one, Operator::Exists)
        };
        Requirement { key: key.to_owned(), operator }
    }))
}

/// A running pod with addresses and labels.
fn pod(name: &str, addresses: &str, text: &str) -> Pod {
    Pod {
        key: key(name),
        labels: labels(text),
        node: None,
        addresses: addresses.split_whitespace().map(ip).collect(),
        host_addresses: vec![],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: crate::Attachment::default(),
        ports: vec![],
    }
}

impl Pod {
    fn on(mut self, node: &str, host_addresses: &str) -> Self {
        self.node = Some(node.to_owned());
        self.host_addresses = host_addresses.split_whitespace().map(ip).collect();
        self
    }

    fn serving(mut self, name: &str, protocol: Protocol, port: u16) -> Self {
        self.ports.push(NamedPort { name: name.to_owned(), protocol, port });
        self
    }
}

/// The cluster of all cases. Node `a` is 192.168.0.1 and fd00:a::1, node `b` is
/// 192.168.0.2.
fn pods_of_the_cluster() -> Vec<Pod> {
    const A: &str = "192.168.0.1 fd00:a::1";
    const B: &str = "192.168.0.2";
    let agent = pod("prod/agent", B, "app=web,team=x").on("b", B);
    vec![
        pod("dev/web", "10.0.0.1 fd00::1", "app=web,empty=")
            .on("a", A)
            .serving("http", Protocol::Tcp, 80)
            .serving("dns", Protocol::Udp, 53),
        pod("dev/db", "10.0.0.2", "app=db")
            .on("a", A)
            .serving("http", Protocol::Tcp, 8080)
            .serving("http", Protocol::Tcp, 8443)
            .serving("dns", Protocol::Tcp, 53),
        pod("dev/bare", "10.0.0.3", "").on("b", B),
        pod("prod/web", "fd00::11 10.0.1.1", "app=web").on("b", B).serving(
            "http",
            Protocol::Tcp,
            81,
        ),
        // Its Namespace is unknown.
        pod("ghost/web", "10.0.2.1", "app=web").on("b", B),
        Pod { host_network: true, ..agent },
    ]
}

/// The cluster with these policies.
fn cluster<const N: usize>(policies: [NetworkPolicy; N]) -> Snapshot {
    cluster_with(policies, |_| ())
}

/// The cluster with these policies and changed pods.
fn cluster_with<const N: usize>(
    policies: [NetworkPolicy; N],
    change: impl FnOnce(&mut Vec<Pod>),
) -> Snapshot {
    let namespace = |name: &str, text: &str| {
        Namespace {
            name: name.to_owned(),
            labels: labels(text),
            is_ending: false,
            switch: Default::default(),
        }
        .with_metadata_name()
    };
    let mut pods = pods_of_the_cluster();
    change(&mut pods);
    Snapshot::new(policies, pods, [namespace("dev", "team=dev"), namespace("prod", "team=prod")])
}

/// A policy `dev/p` for these pods.
fn policy(text: &str) -> NetworkPolicy {
    NetworkPolicy {
        key: key("dev/p"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: selector(text),
        ingress: None,
        egress: None,
    }
}

impl NetworkPolicy {
    fn named(mut self, name: &str) -> Self {
        self.key = key(name);
        self
    }

    fn ingress<const N: usize>(mut self, rules: [Rule; N]) -> Self {
        self.ingress = Some(rules.into());
        self
    }

    fn egress<const N: usize>(mut self, rules: [Rule; N]) -> Self {
        self.egress = Some(rules.into());
        self
    }
}

/// A rule that allows everyone on every port: `{}`.
fn anything() -> Rule {
    Rule { peers: Peers::Anyone, ports: Ports::All }
}

fn peers<const N: usize>(peers: [Peer; N]) -> Rule {
    Rule { peers: Peers::Only(peers.into()), ..anything() }
}

fn ports<const N: usize>(ports: [Port; N]) -> Rule {
    anything().on_ports(ports)
}

impl Rule {
    fn on_ports<const N: usize>(self, ports: [Port; N]) -> Self {
        Self { ports: Ports::Only(ports.into()), ..self }
    }
}

/// `{podSelector}`: pods of the policy's namespace.
fn own(pods: &str) -> Peer {
    Peer::Pods(PodPeer { namespaces: None, pods: selector(pods) })
}

/// `{namespaceSelector, podSelector}`.
fn any_of(namespaces: &str, pods: &str) -> Peer {
    Peer::Pods(PodPeer { namespaces: Some(selector(namespaces)), pods: selector(pods) })
}

/// `{ipBlock}` from texts in every form that stored objects may have.
fn block<const N: usize>(text: &str, except: [&str; N]) -> Peer {
    let net = |text: &str| cidr::parse(text).unwrap();
    Peer::IpBlock(IpBlock::new(net(text), except.map(net)).unwrap())
}

fn range(protocol: Protocol, first: u16, last: u16) -> Port {
    Port { protocol, numbers: PortNumbers::Range(first, last) }
}

fn tcp(port: u16) -> Port {
    range(Protocol::Tcp, port, port)
}

fn udp(port: u16) -> Port {
    range(Protocol::Udp, port, port)
}

fn named(protocol: Protocol, name: &str) -> Port {
    Port { protocol, numbers: PortNumbers::Named(name.to_owned()) }
}
