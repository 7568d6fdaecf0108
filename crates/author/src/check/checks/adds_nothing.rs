//! A rule that allows nothing that another rule of the policy does not allow.

use std::net::IpAddr;

use ipnet::IpNet;
use policy::{
    Direction, IpBlock, NetworkPolicy, Peer, Peers, PodPeer, Port, PortNumbers, Ports, Rule,
    Selector,
};

use crate::PortSet;
use crate::check::context::Context;
use crate::check::finding::Finding;

const ID: &str = "adds-nothing";

/// The rules, peers and ports of a direction that are compared, each with each. What has
/// more was written by a program.
const COMPARED: usize = 1_000;

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in context.policies() {
        found.extend(of_policy(context, policy));
    }
    found
}

fn of_policy<'a>(context: &Context<'a>, policy: &'a NetworkPolicy) -> Vec<Finding> {
    let mut found = Vec::new();
    let is_small = Direction::BOTH.map(|one| parts(policy.rules(one)) <= COMPARED);
    let [egress, ingress] = is_small;
    let of_size = |direction| if direction == Direction::Egress { egress } else { ingress };
    for rule in context.rules(policy).into_iter().filter(|rule| of_size(rule.direction)) {
        let namespace = &rule.policy.key.namespace;
        let rules = rule.policy.rules(rule.direction).unwrap_or_default();
        let mut others = rules.iter().enumerate().filter(|(index, _)| *index != rule.index);
        let covering = others.find(|(index, other)| {
            let both = covers(rule.rule, other, namespace) && covers(other, rule.rule, namespace);
            // Of two equal rules the second one adds nothing. Another check tells of one
            // that allows everything.
            let is_all = other.peers == Peers::Anyone && other.ports == Ports::All;
            covers(other, rule.rule, namespace) && (!both || *index < rule.index) && !is_all
        });
        let is_nothing = matches!(&rule.rule.peers, Peers::Only(peers) if peers.is_empty());
        if let Some((index, _)) = covering.filter(|_| !is_nothing) {
            let direction = rule.direction;
            let message = format!(
                "{direction}[{}] adds nothing to {direction}[{index}]: that one allows all of it",
                rule.index
            );
            found.push(context.finding(ID, rule.policy, rule.field(), message));
        }
    }
    found
}

/// How many rules, peers and ports there are.
fn parts(rules: Option<&[Rule]>) -> usize {
    let of_rule = |rule: &Rule| {
        let peers = if let Peers::Only(peers) = &rule.peers { peers.len() } else { 0 };
        let ports = if let Ports::Only(ports) = &rule.ports { ports.len() } else { 0 };
        1 + peers + ports
    };
    rules.into_iter().flatten().map(of_rule).sum()
}

/// Whether a rule allows all that the other one allows, whatever pods there are.
fn covers(wide: &Rule, narrow: &Rule, namespace: &str) -> bool {
    let peers = match (&wide.peers, &narrow.peers) {
        (Peers::Anyone, _) => true,
        (Peers::Only(_), Peers::Anyone) => false,
        (Peers::Only(wide), Peers::Only(narrow)) => {
            narrow.iter().all(|narrow| wide.iter().any(|wide| covers_peer(wide, narrow, namespace)))
        }
    };
    peers && covers_ports(&wide.ports, &narrow.ports)
}

fn covers_peer(wide: &Peer, narrow: &Peer, namespace: &str) -> bool {
    match (wide, narrow) {
        (Peer::Pods(wide), Peer::Pods(narrow)) => covers_pods(wide, narrow, namespace),
        (Peer::IpBlock(wide), Peer::IpBlock(narrow)) => covers_block(wide, narrow),
        (Peer::Pods(_), Peer::IpBlock(_)) | (Peer::IpBlock(_), Peer::Pods(_)) => false,
    }
}

fn covers_pods(wide: &PodPeer, narrow: &PodPeer, namespace: &str) -> bool {
    let namespaces = match (&wide.namespaces, &narrow.namespaces) {
        (None, None) => true,
        (Some(wide), Some(narrow)) => implies(narrow, wide),
        // Each namespace has this label with its name.
        (Some(wide), None) => {
            let labels = policy::Namespace::synthesised(namespace).labels;
            wide.matches(&labels) && wide.requirements().all(is_about_the_name)
        }
        (None, Some(_)) => false,
    };
    namespaces && implies(&narrow.pods, &wide.pods)
}

fn is_about_the_name(one: &policy::Requirement) -> bool {
    one.key == policy::METADATA_NAME_LABEL
}

/// Whether all that one selector matches, the other does: it has no further requirement.
fn implies(narrow: &Selector, wide: &Selector) -> bool {
    wide.requirements().all(|wide| narrow.requirements().any(|narrow| narrow == wide))
}

fn covers_block(wide: &IpBlock, narrow: &IpBlock) -> bool {
    let is_left_out = |except: &IpNet| {
        !overlap(except, &narrow.cidr()) || narrow.except().iter().any(|one| one.contains(except))
    };
    wide.cidr().contains(&narrow.cidr()) && wide.except().iter().all(is_left_out)
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    let within = |net: &IpNet, address: IpAddr| net.contains(&address);
    within(one, other.network()) || within(other, one.network())
}

fn covers_ports(wide: &Ports, narrow: &Ports) -> bool {
    match (wide, narrow) {
        (Ports::All, _) => true,
        (Ports::Only(_), Ports::All) => false,
        (Ports::Only(wide), Ports::Only(narrow)) => {
            let named = |port: &&Port| matches!(port.numbers, PortNumbers::Named(_));
            let all: PortSet = wide.iter().map(numbers).collect();
            let is_named = |port: &Port| {
                let every = PortSet::range(port.protocol, 0, u16::MAX);
                wide.contains(port) || every.difference(&all).is_empty()
            };
            narrow.iter().filter(named).all(is_named)
                && narrow.iter().map(numbers).collect::<PortSet>().difference(&all).is_empty()
        }
    }
}

fn numbers(port: &Port) -> PortSet {
    match port.numbers {
        PortNumbers::All => PortSet::range(port.protocol, 0, u16::MAX),
        PortNumbers::Range(first, last) => PortSet::range(port.protocol, first, last),
        PortNumbers::Named(_) => PortSet::nothing(),
    }
}
