//! What the three checks of DNS share: which rules mean DNS, and whether it is reached.

use policy::spec::ProtocolPort;
use policy::{
    Direction, NetworkPolicy, Peer, Peers, Pod, Port, PortNumbers, Ports, Protocol, Rule,
};

use crate::check::context::Context;

/// The port that resolvers ask (RFC 1035), and those that DNS servers listen on behind a
/// Service: OpenShift's 5353, and 8053 and 1053 of others.
const PORTS: [u16; 4] = [53, 5353, 8053, 1053];

/// How the egress of a policy's pods stands with DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    /// Not looked at: nothing isolates, all is denied on purpose, or it is the DNS itself.
    NotAsked,
    /// Some rule reaches it.
    Reached,
    /// The input does not have the DNS, and a rule has its port.
    Unknown,
    /// No rule has its port.
    Forgotten,
    /// A rule has its port, and its peers are others.
    Missed,
}

/// How it stands.
pub fn of(context: &Context<'_>, policy: &NetworkPolicy) -> Dns {
    let Some(rules) = policy.egress.as_deref().filter(|rules| !rules.is_empty()) else {
        return Dns::NotAsked;
    };
    let dns = context.dns();
    let subjects = context.subjects(policy);
    let is_dns = |pod: &&Pod| dns.iter().any(|one| one.key == pod.key);
    // With a rule that allows nobody nothing is meant to be reached.
    let is_shut = rules.iter().all(|rule| rule.peers == Peers::Only(Vec::new()));
    if is_shut || (!subjects.is_empty() && subjects.iter().all(is_dns)) || names_dns(policy) {
        return Dns::NotAsked;
    }
    let all = applicable(context, policy);
    let means = |rule: &&Rule| has_dns_port(rule) && may_be_dns(&rule.peers, policy, dns);
    let has_port = all.iter().any(|rule| has_dns_port(rule) && !matches!(rule.ports, Ports::All));
    if dns.is_empty() || subjects.is_empty() {
        return match (all.iter().any(means), has_port) {
            (true, _) if dns.is_empty() => Dns::Unknown,
            (true, _) if all.iter().any(|rule| selects_dns(context, policy, rule, dns)) => {
                Dns::Reached
            }
            (_, true) if dns.is_empty() => Dns::Unknown,
            (_, true) => Dns::Missed,
            (_, false) => Dns::Forgotten,
        };
    }
    let reached = subjects
        .iter()
        .all(|pod| is_dns(pod) || dns.iter().any(|server| reaches(context, pod, server)));
    let by_block = all.iter().any(|rule| has_dns_port(rule) && has_block(&rule.peers));
    // Which addresses the DNS has is made up, or a cache on the node answers.
    let is_open = dns.iter().any(|pod| context.cluster.symbolic.contains(&pod.key))
        || all.iter().any(|rule| has_dns_port(rule) && has_node_local(&rule.peers));
    match (reached, has_port) {
        (true, _) => Dns::Reached,
        (false, _) if by_block && is_open => Dns::Unknown,
        (false, true) => Dns::Missed,
        (false, false) => Dns::Forgotten,
    }
}

/// All egress rules that hold for each pod of a policy.
fn applicable<'a>(context: &Context<'a>, policy: &NetworkPolicy) -> Vec<&'a Rule> {
    let covers = |other: &&NetworkPolicy| {
        other.key.namespace == policy.key.namespace
            && other
                .pod_selector
                .requirements()
                .all(|wide| policy.pod_selector.requirements().any(|narrow| narrow == wide))
    };
    let subjects = context.subjects(policy);
    let selects_all = |other: &&NetworkPolicy| {
        !subjects.is_empty()
            && subjects.iter().all(|pod| context.cluster.snapshot.selects(other, pod))
    };
    context
        .policies_in(&policy.key.namespace)
        .filter(|other| covers(other) || selects_all(other))
        .flat_map(|other| other.rules(Direction::Egress).unwrap_or_default())
        .collect()
}

/// Whether a policy is about the DNS pods by name.
fn names_dns(policy: &NetworkPolicy) -> bool {
    let is_dns = |value: &String| value.contains("dns");
    policy.pod_selector.requirements().any(|one| match &one.operator {
        policy::Operator::In(values) => values.iter().any(is_dns),
        policy::Operator::NotIn(_) | policy::Operator::Exists | policy::Operator::DoesNotExist => {
            false
        }
    })
}

/// Whether a rule's ports are, or hold, one of DNS.
pub fn has_dns_port(rule: &Rule) -> bool {
    match &rule.ports {
        Ports::All => true,
        Ports::Only(ports) => ports.iter().any(is_dns_port),
    }
}

/// Whether a port is, or holds, one of DNS.
pub fn is_dns_port(port: &Port) -> bool {
    match &port.numbers {
        PortNumbers::All => true,
        PortNumbers::Range(first, last) => PORTS.iter().any(|one| (*first..=*last).contains(one)),
        PortNumbers::Named(name) => name.contains("dns"),
    }
}

/// Whether peers may hold the DNS, as far as their form tells.
fn may_be_dns(peers: &Peers, policy: &NetworkPolicy, dns: &[&Pod]) -> bool {
    let Peers::Only(peers) = peers else { return true };
    let is_in_own = dns.iter().any(|pod| pod.key.namespace == policy.key.namespace)
        || policy.key.namespace == "kube-system";
    peers.iter().any(|peer| match peer {
        Peer::IpBlock(_) => true,
        Peer::Pods(pods) => pods.namespaces.is_some() || is_in_own,
    })
}

fn selects_dns(context: &Context<'_>, policy: &NetworkPolicy, rule: &Rule, dns: &[&Pod]) -> bool {
    has_dns_port(rule)
        && dns.iter().any(|pod| {
            let addresses = &pod.addresses;
            addresses.iter().any(|&one| context.reach.selects(policy, rule, one, Some(pod)))
        })
}

fn has_block(peers: &Peers) -> bool {
    match peers {
        Peers::Anyone => false,
        Peers::Only(peers) => peers.iter().any(|peer| matches!(peer, Peer::IpBlock(_))),
    }
}

/// Whether peers hold a link-local address, as that of the node's DNS cache (kubernetes.io,
/// "Using NodeLocal DNSCache").
fn has_node_local(peers: &Peers) -> bool {
    let is_local = |peer: &Peer| match peer {
        Peer::IpBlock(block) => match block.cidr().network() {
            std::net::IpAddr::V4(address) => address.is_link_local(),
            std::net::IpAddr::V6(address) => address.is_unicast_link_local(),
        },
        Peer::Pods(_) => false,
    };
    match peers {
        Peers::Anyone => false,
        Peers::Only(peers) => peers.iter().any(is_local),
    }
}

/// Whether a pod may ask a DNS pod, by UDP or by TCP.
fn reaches(context: &Context<'_>, pod: &Pod, server: &Pod) -> bool {
    let ports = ports(context, server);
    pod.addresses.iter().any(|&from| {
        server.addresses.iter().any(|&to| {
            let pass = match context.reach.side(Direction::Egress, from, to) {
                _ if from.is_ipv4() != to.is_ipv4() => return false,
                side => side.ports(),
            };
            [Protocol::Udp, Protocol::Tcp].iter().any(|&protocol| {
                ports.iter().any(|&port| pass.contains(ProtocolPort::Port(protocol, port)))
            })
        })
    })
}

/// The ports on which a DNS pod answers.
pub fn ports(context: &Context<'_>, server: &Pod) -> Vec<u16> {
    let listens = context.cluster.listens.get(&server.key);
    let udp = listens.into_iter().flatten().filter(|(protocol, _)| *protocol == Protocol::Udp);
    let ports: Vec<u16> = udp.map(|(_, port)| *port).filter(|port| PORTS.contains(port)).collect();
    if ports.is_empty() { vec![53] } else { ports }
}
