//! A change in one line, its YAML as an author would write it.

use policy::spec::ProtocolPort;
use policy::{Direction, Operator, Peer, PodPeer, Protocol, Requirement, Selector};

use super::super::super::end::short_kind;
use super::{Edit, RulePlace};
use crate::cluster::Cluster;

impl Edit {
    /// For people.
    pub fn text(&self, cluster: &Cluster) -> String {
        match self {
            Self::Port(RulePlace { policy, direction, index }, transport) => {
                format!("add port {} to {direction}[{index}] of {policy}", port_text(*transport))
            }
            Self::Selector(RulePlace { policy, direction, index }, before, after) => format!(
                "write {} for {} in {direction}[{index}] of {policy}",
                selector_difference(after, before),
                selector_difference(before, after)
            ),
            Self::Pod(key, requirement) => {
                let pods = match cluster.workloads.get(key) {
                    Some(one) => {
                        let (namespace, name) = (&one.key.namespace, &one.key.name);
                        format!("the pods of {namespace}/{}/{name}", short_kind(&one.kind))
                    }
                    None => format!("pod {key}"),
                };
                labelled(&pods, requirement)
            }
            Self::Namespace(name, requirement) => {
                labelled(&format!("namespace {name}"), requirement)
            }
            Self::Peer(RulePlace { policy, direction, index }, peer) => {
                format!("add the peer {} to {direction}[{index}] of {policy}", peer_text(peer))
            }
            Self::Rule(policy, direction, peer, transport) => {
                let list = match direction {
                    Direction::Egress => "to",
                    Direction::Ingress => "from",
                };
                let ports = transport.map(|one| format!(", ports: [{}]", port_item(one)));
                format!(
                    "add the {direction} rule {{{list}: [{}]{}}} to {policy}",
                    peer_text(peer),
                    ports.unwrap_or_default()
                )
            }
        }
    }
}

fn labelled(what: &str, requirement: &Requirement) -> String {
    let key = &requirement.key;
    match &requirement.operator {
        Operator::In(values) => match values.iter().next() {
            Some(value) => format!("label {what} with {key}={value}"),
            None => format!("label {what} with {requirement}"),
        },
        Operator::Exists => format!("label {what} with {key}"),
        Operator::NotIn(_) | Operator::DoesNotExist => format!("remove the label {key} of {what}"),
    }
}

/// A peer in one line of YAML.
fn peer_text(peer: &Peer) -> String {
    match peer {
        Peer::IpBlock(block) => format!("{{ipBlock: {{cidr: {}}}}}", block.cidr()),
        Peer::Pods(PodPeer { namespaces, pods }) => {
            let namespaces = namespaces.as_ref();
            let namespaces =
                namespaces.map(|one| format!("namespaceSelector: {}, ", selector_text(one)));
            format!("{{{}podSelector: {}}}", namespaces.unwrap_or_default(), selector_text(pods))
        }
    }
}

/// The requirements of a peer that another has not.
fn selector_difference(one: &PodPeer, other: &PodPeer) -> String {
    let of = |peer: &PodPeer| -> Vec<Requirement> {
        let namespaces = peer.namespaces.iter().flat_map(Selector::requirements);
        namespaces.chain(peer.pods.requirements()).cloned().collect()
    };
    let others = of(other);
    let own: Vec<String> =
        of(one).iter().filter(|own| !others.contains(own)).map(ToString::to_string).collect();
    own.join(", ")
}

/// A selector of labels in one line of YAML.
fn selector_text(selector: &Selector) -> String {
    let pair = |one: &Requirement| match &one.operator {
        Operator::In(values) => {
            values.iter().next().map(|value| format!("{}: {}", one.key, scalar(value)))
        }
        Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => None,
    };
    let pairs: Vec<String> = selector.requirements().filter_map(pair).collect();
    match pairs.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{matchLabels: {{{}}}}}", pairs.join(", ")),
    }
}

/// A label's value in YAML: quoted where it would be no text.
fn scalar(value: &str) -> String {
    let plain = value.starts_with(|first: char| first.is_ascii_alphabetic())
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&value.to_lowercase().as_str());
    if plain { value.to_owned() } else { format!("{value:?}") }
}

fn port_text(transport: ProtocolPort) -> String {
    match transport {
        ProtocolPort::Port(Protocol::Tcp, number) => number.to_string(),
        ProtocolPort::Port(protocol, number) => format!("{number}/{protocol}"),
        ProtocolPort::Other(number) => format!("protocol {number}"),
    }
}

fn port_item(transport: ProtocolPort) -> String {
    match transport {
        ProtocolPort::Port(Protocol::Tcp, number) => format!("{{port: {number}}}"),
        ProtocolPort::Port(protocol, number) => {
            format!("{{protocol: {protocol}, port: {number}}}")
        }
        ProtocolPort::Other(number) => format!("protocol {number}"),
    }
}
