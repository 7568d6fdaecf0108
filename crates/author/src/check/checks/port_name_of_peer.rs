//! A port by name in an egress rule to pods of other namespaces: they say which number it is.

use policy::{Direction, Peer, Peers, PortNumbers, Ports};

use crate::check::context::{Context, RuleAt};
use crate::check::finding::Finding;

const ID: &str = "port-name-of-peer";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in context.all_rules() {
        let Ports::Only(ports) = &rule.rule.ports else { continue };
        if rule.direction != Direction::Egress || !is_about_others(rule) {
            continue;
        }
        for (at, port) in ports.iter().enumerate() {
            let PortNumbers::Named(name) = &port.numbers else { continue };
            let field = format!("{}.ports[{at}].port", rule.field());
            let message = format!(
                "which number {name:?} is, each pod of the peers says for itself; a number cannot \
                 be changed by others"
            );
            found.push(context.finding(ID, rule.policy, field, message));
        }
    }
    found
}

/// Whether peers are pods of other namespaces.
fn is_about_others(rule: RuleAt<'_>) -> bool {
    match &rule.rule.peers {
        Peers::Anyone => true,
        Peers::Only(peers) => peers.iter().any(|peer| match peer {
            Peer::Pods(pods) => pods.namespaces.is_some(),
            Peer::IpBlock(_) => false,
        }),
    }
}
