//! A Service's port where the pods listen on another one.

use std::collections::BTreeSet;

use policy::{Pod, PortNumbers, Ports, Protocol};

use super::port_name_unknown::destinations;
use crate::check::context::{Context, RuleAt};
use crate::check::finding::{Edit, Finding, Fix};
use crate::cluster::TargetPort;

const ID: &str = "service-port";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in context.all_rules() {
        let Ports::Only(ports) = &rule.rule.ports else { continue };
        let pods = destinations(context, rule);
        for (at, port) in ports.iter().enumerate() {
            let PortNumbers::Range(number, last) = port.numbers else { continue };
            if number == last && !pods.is_empty() {
                found.extend(one(context, rule, at, (port.protocol, number), &pods));
            }
        }
    }
    found
}

fn one(
    context: &Context<'_>,
    rule: RuleAt<'_>,
    at: usize,
    (protocol, number): (Protocol, u16),
    pods: &[&Pod],
) -> Option<Finding> {
    let listens = |pod: &&Pod| {
        let ports = context.cluster.listens.get(&pod.key);
        ports.is_some_and(|ports| ports.contains(&(protocol, number)))
    };
    if pods.iter().any(listens) {
        return None;
    }
    let mut service = None;
    let mut targets = BTreeSet::new();
    for (key, one) in &context.cluster.services {
        let Some(selector) = &one.selector else { continue };
        let behind: Vec<_> = pods
            .iter()
            .filter(|pod| pod.key.namespace == key.namespace && selector.matches(&pod.labels))
            .collect();
        for port in one.ports.iter().filter(|port| port.protocol == protocol) {
            for pod in &behind {
                let numbers = match &port.target {
                    TargetPort::Number(number) => vec![*number],
                    TargetPort::Name(name) => pod.named_ports(name, protocol),
                };
                // Somebody listens there after all.
                if numbers.contains(&number) {
                    return None;
                }
                if port.port == number {
                    service = service.or(Some((key, port)));
                    targets.extend(numbers);
                }
            }
        }
    }
    let (key, port) = service?;
    let target = targets.iter().next().filter(|_| targets.len() == 1)?;
    let name = match &port.target {
        TargetPort::Name(name) => format!(" ({name})"),
        TargetPort::Number(_) => String::new(),
    };
    let field = format!("{}.ports[{at}].port", rule.field());
    let message = format!("port {number} is Service {key}'s; its pods listen on {target}{name}");
    let place = context.cluster.places.field(&rule.policy.key, &field);
    let fix = place.map(|place| Fix {
        title: format!("write {target}"),
        opens: Some(format!("port {target}, and shuts {number}")),
        edits: vec![Edit {
            at: place.value.clone(),
            old: number.to_string(),
            new: target.to_string(),
        }],
    });
    Some(
        context
            .finding(ID, rule.policy, field, message)
            .labelled("rules see the port of the pod")
            .with_fix(fix),
    )
}
