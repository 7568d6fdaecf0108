//! A dash before `ports` makes two rules of one: these peers on every port, and anyone on
//! these ports.

use policy::{Direction, NetworkPolicy, Peers, Ports, Rule};

use super::two_peers::without_dash;
use crate::check::context::Context;
use crate::check::finding::Finding;

const ID: &str = "split-rule";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in context.policies() {
        for direction in Direction::BOTH {
            for (index, pair) in policy.rules(direction).unwrap_or_default().windows(2).enumerate()
            {
                let [one, other] = pair else { continue };
                if is_split(one, other) {
                    found.push(finding(context, policy, direction, index));
                }
            }
        }
    }
    found
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
    let (word, whom) = match direction {
        Direction::Ingress => ("from", "anyone"),
        Direction::Egress => ("to", "everywhere"),
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
    context
        .finding(ID, policy, field, message)
        .labelled(format!("the '-' makes it a second rule, {word} {whom}"))
        .with_fix(fix)
}
