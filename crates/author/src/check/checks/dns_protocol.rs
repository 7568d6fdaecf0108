//! DNS by one protocol alone: `port: 53` without a protocol is TCP, and resolvers ask by UDP
//! first; long answers come by TCP (RFC 7766).

use policy::{Direction, Port, PortNumbers, Ports, Protocol};

use super::dns;
use crate::PortSet;
use crate::check::context::{Context, RuleAt};
use crate::check::finding::{Edit, Finding, Fix, Level};
use crate::reach::rule_ports;

const ID: &str = "dns-protocol";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in context.policies() {
        let rules = policy.rules(Direction::Egress).unwrap_or_default();
        let all: PortSet = rules.iter().map(|rule| rule_ports(rule, None)).collect();
        for rule in context.rules(policy) {
            let Ports::Only(ports) = &rule.rule.ports else { continue };
            if rule.direction != Direction::Egress || !dns::has_dns_port(rule.rule) {
                continue;
            }
            for (at, port) in ports.iter().enumerate() {
                let PortNumbers::Range(53, 53) = port.numbers else { continue };
                found.extend(one(context, rule, at, port, &all));
            }
        }
    }
    found
}

fn one(
    context: &Context<'_>,
    rule: RuleAt<'_>,
    at: usize,
    port: &Port,
    all: &PortSet,
) -> Option<Finding> {
    let other = match port.protocol {
        Protocol::Tcp => Protocol::Udp,
        Protocol::Udp => Protocol::Tcp,
        Protocol::Sctp => return None,
    };
    if !PortSet::range(other, 53, 53).difference(all).is_empty() {
        let field = format!("{}.ports[{at}]", rule.field());
        let is_written = |name: &str| {
            context.cluster.places.field(&rule.policy.key, &format!("{field}.{name}")).is_some()
        };
        let (message, level) = match port.protocol {
            Protocol::Tcp if !is_written("protocol") => {
                ("port 53 without a protocol is TCP, and DNS is asked by UDP first", Level::Warning)
            }
            Protocol::Tcp | Protocol::Sctp => ("DNS is asked by UDP first", Level::Warning),
            Protocol::Udp => ("long answers of DNS come by TCP, which is not allowed", Level::Note),
        };
        let finding = context.finding(ID, rule.policy, &field, message).at_level(level);
        return Some(finding.with_fix(add_port(context, rule, &field, other)));
    }
    None
}

/// The other protocol before this port.
fn add_port(context: &Context<'_>, rule: RuleAt<'_>, field: &str, other: Protocol) -> Option<Fix> {
    let places = &context.cluster.places;
    let item = &places.field(&rule.policy.key, field)?.value;
    let line = places.line(&item.file, item.line)?;
    let before: String = line.chars().take(item.column - 1).collect();
    let dash = before.rfind('-')?;
    if before.trim() != "-" {
        return None;
    }
    let indent = " ".repeat(dash);
    let mut at = item.clone();
    at.column = dash + 1;
    let new = format!("- protocol: {other}\n{indent}  port: 53\n{indent}-");
    let edits = vec![Edit { at, old: "-".to_owned(), new }];
    let opens = Some(format!("53/{other} to the same peers"));
    Some(Fix { title: format!("add port 53 of {other}"), opens, edits })
}
