//! A rule that allows everything beside others, or a `from: []` that means anyone.

use policy::{Direction, Peers, Ports};

use crate::check::context::{Context, RuleAt};
use crate::check::finding::{Finding, Level};

const ID: &str = "allows-everything";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    context.all_rules().into_iter().filter_map(|rule| one(context, rule)).collect()
}

fn one(context: &Context<'_>, rule: RuleAt<'_>) -> Option<Finding> {
    let policy = rule.policy;
    let (anyone, way) = match rule.direction {
        Direction::Ingress => ("from anyone", "ingress"),
        Direction::Egress => ("to everywhere", "egress"),
    };
    if rule.rule.peers == Peers::Anyone && is_written_empty(context, rule) && !is_dns(rule) {
        let message = format!(
            "an empty list is not nobody: it allows {way} {anyone}; leave the rule out to allow \
             nothing"
        );
        // With ports it is often meant, as for DNS.
        let level = if rule.rule.ports == Ports::All { Level::Warning } else { Level::Note };
        return Some(context.finding(ID, policy, rule.peers_field(), message).at_level(level));
    }
    let others = policy.rules(rule.direction).unwrap_or_default().len() > 1;
    if others && rule.rule.peers == Peers::Anyone && rule.rule.ports == Ports::All {
        let message =
            format!("this rule allows all {way}, so the other rules of the policy say nothing");
        return Some(context.finding(ID, policy, rule.field(), message));
    }
    None
}

/// Whether all ports are those of DNS, which may be anywhere.
fn is_dns(rule: RuleAt<'_>) -> bool {
    match &rule.rule.ports {
        Ports::All => false,
        Ports::Only(ports) => ports.iter().all(super::dns::is_dns_port),
    }
}

/// Whether `from: []` or `to: []` is written out.
fn is_written_empty(context: &Context<'_>, rule: RuleAt<'_>) -> bool {
    let places = &context.cluster.places;
    let Some(place) = places.field(&rule.policy.key, &rule.peers_field()) else { return false };
    let line = places.line(&place.value.file, place.value.line).unwrap_or_default();
    let rest: String = line.chars().skip(place.value.column - 1).collect();
    // Nothing at all is told by another check.
    rest.trim_start().starts_with('[')
}
