//! A rule that allows everything beside others, or a `from: []` that means anyone.

use policy::{Direction, Peers, Ports};

use crate::check::context::{Context, RuleAt};
use crate::check::finding::Finding;

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
    // With ports, people mean it: a port that is open to anyone.
    let all_ports = rule.rule.peers == Peers::Anyone && rule.rule.ports == Ports::All;
    if all_ports && is_written_empty(context, rule) && !is_named_so(&policy.key.name) {
        let message = format!(
            "an empty list is not nobody: it allows {way} {anyone}; leave the rule out to allow \
             nothing"
        );
        return Some(context.finding(ID, policy, rule.peers_field(), message));
    }
    let others = policy.rules(rule.direction).unwrap_or_default().len() > 1;
    if others && all_ports {
        let message =
            format!("this rule allows all {way}, so the other rules of the policy say nothing");
        return Some(context.finding(ID, policy, rule.field(), message));
    }
    None
}

/// Whether a name says that anyone is meant, as `web-allow-external` does.
fn is_named_so(name: &str) -> bool {
    /// Words for anyone.
    const ANYONE: [&str; 10] = [
        "all",
        "any",
        "anyone",
        "everyone",
        "everything",
        "everywhere",
        "external",
        "internet",
        "public",
        "world",
    ];
    let mut words = name.split(['-', '.']);
    words.clone().any(|word| ANYONE.contains(&word)) && !words.any(|word| word == "deny")
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
