//! Why a rule matches or does not: what it wants, and what there is.
//!
//! In: a rule, the other end, the port. Out: texts that name no address and no pod, so
//! that ends that are treated alike have equal reasons.

use std::net::IpAddr;

use policy::secondary::{NETWORK, as_written};
use policy::spec::ProtocolPort;
use policy::{
    Labels, NetworkPolicy, Operator, Peer, Peers, Pod, PodPeer, Port, PortNumbers, Ports,
    Requirement, Rule, Selector,
};

use super::report::Match;
use crate::Reach;
use crate::cluster::Cluster;
use crate::reach::rule_ports;

/// The other end of a rule.
#[derive(Clone, Copy)]
pub struct Other<'a> {
    /// Its address.
    pub address: IpAddr,
    /// The pod that has the address.
    pub pod: Option<&'a Pod>,
    /// It is a pod in the network of its node, or the node itself.
    pub on_node: bool,
}

/// Whether a rule has the other end among its peers.
pub fn peers(
    cluster: &Cluster,
    reach: &Reach<'_>,
    policy: &NetworkPolicy,
    rule: &Rule,
    other: Other<'_>,
) -> Match {
    let list = match &rule.peers {
        Peers::Anyone => return Match { matches: true, why: vec!["anyone".to_owned()] },
        Peers::Only(list) if list.is_empty() => {
            return Match { matches: false, why: vec!["the rule has no usable peer".to_owned()] };
        }
        Peers::Only(list) => list,
    };
    let selects = |peer: &&Peer| reach.peer_selects(policy, peer, other.address, other.pod);
    if let Some(peer) = list.iter().find(selects) {
        return Match { matches: true, why: vec![described(peer, &policy.key.namespace)] };
    }
    let missed = |peer: &Peer| missed(cluster, policy, peer, other);
    Match { matches: false, why: list.iter().map(missed).collect() }
}

/// A peer, as people say it.
fn described(peer: &Peer, namespace: &str) -> String {
    match peer {
        Peer::IpBlock(block) => format!("ipBlock {}", block.cidr()),
        Peer::Pods(PodPeer { namespaces, pods }) => {
            let pods = as_written(pods);
            let pods = match pods.is_everything() {
                true => "all pods".to_owned(),
                false => pods.to_string(),
            };
            match namespaces {
                None => format!("{pods} in {namespace}"),
                Some(all) if all.is_everything() => format!("{pods} in all namespaces"),
                Some(selector) => format!("{pods} in namespaces with {selector}"),
            }
        }
    }
}

fn missed(cluster: &Cluster, policy: &NetworkPolicy, peer: &Peer, other: Other<'_>) -> String {
    match peer {
        Peer::IpBlock(block) => {
            let cidr = block.cidr();
            let except = block.except().iter().find(|net| net.contains(&other.address));
            match (cidr.contains(&other.address), except) {
                (true, Some(except)) => format!("ipBlock {cidr} leaves it out: except {except}"),
                _ if cidr.addr().is_ipv4() == other.address.is_ipv4() => {
                    format!("ipBlock {cidr} does not hold it")
                }
                _ if cidr.addr().is_ipv4() => format!("ipBlock {cidr} is IPv4"),
                _ => format!("ipBlock {cidr} is IPv6"),
            }
        }
        Peer::Pods(peer) => {
            let wanted = described(&Peer::Pods(peer.clone()), &policy.key.namespace);
            match other.pod {
                Some(pod) => reasons(cluster, policy, peer, pod).join("; "),
                None if other.on_node => {
                    format!("{wanted}: it is in the network of a node, and no selector matches it")
                }
                None => format!("{wanted}: it is no pod"),
            }
        }
    }
}

fn reasons(cluster: &Cluster, policy: &NetworkPolicy, peer: &PodPeer, pod: &Pod) -> Vec<String> {
    let mut reasons = Vec::new();
    let theirs = &pod.key.namespace;
    match (&peer.namespaces, cluster.snapshot.namespace_labels(theirs)) {
        (None, _) if *theirs != policy.key.namespace => reasons.push(format!(
            "wants namespace {} (the policy's own), it is in {theirs}",
            policy.key.namespace
        )),
        (None, _) => {}
        (Some(_), None) => reasons.push(format!("namespace {theirs} is not known")),
        (Some(selector), Some(labels)) => reasons.extend(
            unmet(selector, labels).map(|one| lack(one, labels, &format!("namespace {theirs}"))),
        ),
    }
    reasons.extend(unmet(&peer.pods, &pod.labels).map(|one| lack(one, &pod.labels, "it")));
    reasons
}

/// The requirements that do not hold for labels.
pub fn unmet<'a>(
    selector: &'a Selector,
    labels: &'a Labels,
) -> impl Iterator<Item = &'a Requirement> {
    selector.requirements().filter(|one| !one.matches(labels))
}

/// `wants app=front, it has app=web`.
fn lack(requirement: &Requirement, labels: &Labels, whose: &str) -> String {
    let key = &requirement.key;
    match (labels.get(key), &requirement.operator) {
        (Some(value), Operator::In(networks)) if key == NETWORK => {
            let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
            format!("wants a pod on network {}, {whose} is on {value}", networks.join(" or "))
        }
        (Some(value), Operator::In(_) | Operator::NotIn(_) | Operator::DoesNotExist) => {
            format!("wants {requirement}, {whose} has {key}={value}")
        }
        (_, _) => format!("wants {requirement}, {whose} lacks {key}"),
    }
}

/// Whether a rule has the port among its ports; without a port, whether it has any.
pub fn ports(rule: &Rule, destination: Option<&Pod>, asked: Option<ProtocolPort>) -> Match {
    let set = rule_ports(rule, destination);
    let matches = asked.map_or(!set.is_empty(), |asked| set.contains(asked));
    let list = match &rule.ports {
        Ports::All => return Match { matches, why: vec!["all".to_owned()] },
        Ports::Only(list) if list.is_empty() => {
            return Match { matches, why: vec!["the rule has no usable port".to_owned()] };
        }
        Ports::Only(list) => list,
    };
    let mut numbers = list.iter().filter(|port| !is_name(port)).peekable();
    let mut why = Vec::new();
    if numbers.peek().is_some() {
        let numbers = Ports::Only(numbers.cloned().collect());
        let only = Rule { peers: Peers::Anyone, ports: numbers };
        why.push(rule_ports(&only, None).to_string());
    }
    why.extend(list.iter().filter_map(|port| name(port, destination)));
    Match { matches, why }
}

fn is_name(port: &Port) -> bool {
    matches!(port.numbers, PortNumbers::Named(_))
}

/// What a port's name is on the destination.
fn name(port: &Port, destination: Option<&Pod>) -> Option<String> {
    let PortNumbers::Named(name) = &port.numbers else { return None };
    let Some(pod) = destination else {
        return Some(format!("{name}, and only pods have port names"));
    };
    let numbers = pod.named_ports(name, port.protocol);
    if !numbers.is_empty() {
        let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
        return Some(format!("{name} ({} {} there)", port.protocol, numbers.join(", ")));
    }
    let there: Vec<String> =
        pod.ports.iter().map(|one| format!("{} {}", one.name, one.port)).collect();
    Some(match there.is_empty() {
        true => format!("{name}, and the pod names no port"),
        false => format!("{name}, which the pod lacks; it has {}", there.join(", ")),
    })
}
