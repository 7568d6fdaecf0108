//! What a rule says, in words.

use std::fmt::Write;

use policy::secondary::as_written;
use policy::{Peer, Peers, PortNumbers, Ports, Rule, Selector};

use crate::matrix::names;
use crate::reach::rule_ports;

/// `80, http, 53/UDP`: names stay names, since they differ between pods.
pub fn ports_text(rule: &Rule) -> String {
    let numbers = rule_ports(rule, None);
    let names: Vec<String> = match &rule.ports {
        Ports::All => Vec::new(),
        Ports::Only(ports) => ports
            .iter()
            .filter_map(|port| match &port.numbers {
                PortNumbers::Named(name) => Some(format!("{name}/{}", port.protocol)),
                PortNumbers::All | PortNumbers::Range(..) => None,
            })
            .collect(),
    };
    match (numbers.is_empty(), names.is_empty()) {
        (_, true) => numbers.to_string(),
        (true, false) => names::printable(&names.join(", ")),
        (false, false) => format!("{numbers}, {}", names::printable(&names.join(", "))),
    }
}

/// What a rule's `from` or `to` says, in words.
pub fn peers_text(rule: &Rule) -> String {
    let peers = match &rule.peers {
        Peers::Anyone => return "anyone".to_owned(),
        Peers::Only(peers) if peers.is_empty() => return "nobody".to_owned(),
        Peers::Only(peers) => peers,
    };
    let mut text = String::new();
    for (at, peer) in peers.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "; or " });
        match peer {
            Peer::IpBlock(block) => {
                _ = write!(text, "{}", block.cidr());
                let excepts: Vec<String> = block.except().iter().map(ToString::to_string).collect();
                if !excepts.is_empty() {
                    _ = write!(text, " except {}", excepts.join(", "));
                }
            }
            Peer::Pods(pods) => {
                let selector = |one: &Selector, all: &str| match one.is_everything() {
                    true => all.to_owned(),
                    false => one.to_string(),
                };
                _ = write!(text, "pods {}", selector(&as_written(&pods.pods), "(all)"));
                if let Some(namespaces) = &pods.namespaces {
                    _ = write!(text, " in namespaces {}", selector(namespaces, "(all)"));
                }
            }
        }
    }
    text
}
