//! A dash before `ports` makes two rules of one: these peers on every port, and anyone on
//! these ports.

use policy::spec::ProtocolPort;
use policy::{Direction, NetworkPolicy, Peers, Ports, Protocol, Rule};

use super::two_peers::without_dash;
use crate::check::context::Context;
use crate::check::finding::{Finding, Level};
use crate::reach::rule_ports;

const ID: &str = "split-rule";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in context.policies() {
        for direction in Direction::BOTH {
            for (index, pair) in policy.rules(direction).unwrap_or_default().windows(2).enumerate()
            {
                let [one, other] = pair else { continue };
                // Who writes an empty list of peers means it.
                let peers = format!("spec.{direction}[{}].{}", index + 1, word(direction));
                let is_written = context.cluster.places.field(&policy.key, &peers).is_some();
                let field = format!("spec.{direction}[{}]", index + 1);
                if is_split(one, other) && !is_written && !is_explained(context, policy, &field) {
                    found.push(finding(context, policy, direction, index));
                }
            }
        }
    }
    found
}

/// Whether a comment stands right above a rule: who explains it means a rule of its own.
fn is_explained(context: &Context<'_>, policy: &NetworkPolicy, field: &str) -> bool {
    let places = &context.cluster.places;
    let above = places
        .field(&policy.key, field)
        .and_then(|place| places.line(&place.value.file, place.value.line.checked_sub(1)?));
    above.is_some_and(|line| line.trim_start().starts_with('#'))
}

/// The field of a rule's peers.
fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// Whether one has peers alone, and the next has ports alone.
fn is_split(one: &Rule, other: &Rule) -> bool {
    let has_peers = matches!(&one.peers, Peers::Only(peers) if !peers.is_empty());
    let has_ports = matches!(&other.ports, Ports::Only(ports) if !ports.is_empty());
    has_peers && one.ports == Ports::All && other.peers == Peers::Anyone && has_ports
}

fn finding(
    context: &Context<'_>,
    policy: &NetworkPolicy,
    direction: Direction,
    index: usize,
) -> Finding {
    let word = word(direction);
    let whom = match direction {
        Direction::Ingress => "anyone",
        Direction::Egress => "everywhere",
    };
    let field = format!("spec.{direction}[{}]", index + 1);
    let message = format!(
        "two rules where one was probably meant: {word} these peers on every port, and {word} \
         {whom} on these ports"
    );
    // In block style, and with the dash right before `ports`.
    let is_ports_first = context
        .cluster
        .places
        .field(&policy.key, &format!("{field}.ports"))
        .zip(context.cluster.places.field(&policy.key, &field))
        .is_some_and(|(ports, rule)| ports.key.as_ref() == Some(&rule.value));
    let fix = without_dash(context, policy, &field).filter(|_| is_ports_first);
    // Some mean both: what peers speak among themselves, and one port for all.
    let level = if is_all_that_listens(context, policy, direction, index + 1) {
        Level::Warning
    } else {
        Level::Note
    };
    context
        .finding(ID, policy, field, message)
        .at_level(level)
        .labelled(format!("the '-' makes it a second rule, {word} {whom}"))
        .with_fix(fix)
}

/// Whether the ports of the second rule are all that the pods declare: then the first one,
/// on every port, has no sense of its own.
fn is_all_that_listens(
    context: &Context<'_>,
    policy: &NetworkPolicy,
    direction: Direction,
    index: usize,
) -> bool {
    let Some(rule) = policy.rules(direction).and_then(|rules| rules.get(index)) else {
        return false;
    };
    let pods = context.subjects(policy);
    let listens = |pod: &&policy::Pod| context.cluster.listens.get(&pod.key).cloned();
    let declared: Vec<_> = pods.iter().map(listens).map(Option::unwrap_or_default).collect();
    direction == Direction::Ingress
        && !pods.is_empty()
        && pods.iter().zip(declared).all(|(pod, ports)| {
            let open = rule_ports(rule, Some(pod));
            let is_open = |&(protocol, port): &(Protocol, u16)| {
                open.contains(ProtocolPort::Port(protocol, port))
            };
            !ports.is_empty() && ports.iter().all(is_open)
        })
}
