//! A port by a name that none of the pods has.

use std::collections::BTreeSet;

use policy::{Direction, Peer, Peers, Pod, PortNumbers, Ports};

use crate::check::context::{Context, RuleAt};
use crate::check::finding::{Edit, Finding, Fix};

const ID: &str = "port-name-unknown";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in context.all_rules() {
        let Ports::Only(ports) = &rule.rule.ports else { continue };
        let pods = destinations(context, rule);
        for (at, port) in ports.iter().enumerate() {
            let PortNumbers::Named(name) = &port.numbers else { continue };
            let has = |pod: &&Pod| !pod.named_ports(name, port.protocol).is_empty();
            if pods.is_empty() || pods.iter().any(has) {
                continue;
            }
            let field = format!("{}.ports[{at}].port", rule.field());
            found.push(finding(context, rule, &field, name, port.protocol, &pods));
        }
    }
    found
}

fn finding(
    context: &Context<'_>,
    rule: RuleAt<'_>,
    field: &str,
    name: &str,
    protocol: policy::Protocol,
    pods: &[&Pod],
) -> Finding {
    let names: BTreeSet<&str> = pods
        .iter()
        .flat_map(|pod| &pod.ports)
        .filter(|port| port.protocol == protocol)
        .map(|port| &*port.name)
        .collect();
    let whose = crate::check::context::some(pods.iter().map(|pod| context.name(pod)));
    let mut message = format!("{whose} has no {protocol} port called {name}");
    if names.is_empty() {
        message += "; its ports have no names";
    } else {
        let all: Vec<&str> = names.iter().copied().collect();
        message += &format!("; there is {}", all.join(", "));
    }
    let meant = watcher::suggest(name, names.iter().copied());
    let place = context.cluster.places.field(&rule.policy.key, field);
    let fix = meant.zip(place).map(|(meant, place)| Fix {
        title: format!("write {meant}"),
        opens: Some(format!("what the rule says, on port {meant}")),
        edits: vec![Edit { at: place.value.clone(), old: name.to_owned(), new: meant.to_owned() }],
    });
    context
        .finding(ID, rule.policy, field, message)
        .labelled("as written this port is none")
        .with_fix(fix)
}

/// The pods whose ports the rule means, as far as its peers are pods.
pub(super) fn destinations<'a>(context: &Context<'a>, rule: RuleAt<'a>) -> Vec<&'a Pod> {
    match rule.direction {
        Direction::Ingress => context.subjects(rule.policy),
        Direction::Egress => {
            let Peers::Only(peers) = &rule.rule.peers else { return Vec::new() };
            let mut pods = Vec::new();
            for peer in peers {
                match peer {
                    Peer::Pods(peer) => pods.extend(context.selected(rule.policy, peer, false)),
                    // Whose address it is, is not known.
                    Peer::IpBlock(_) => return Vec::new(),
                }
            }
            pods
        }
    }
}
