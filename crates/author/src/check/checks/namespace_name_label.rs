//! `namespaceSelector: {matchLabels: {name: x}}`: no namespace has that label by itself.

use policy::{METADATA_NAME_LABEL, Operator};

use crate::check::context::Context;
use crate::check::finding::{Edit, Finding, Fix, Level};

const ID: &str = "namespace-name-label";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rule, field, peer) in context.pod_peers() {
        let requirements = peer.namespaces.iter().flat_map(|selector| selector.requirements());
        for requirement in requirements.filter(|one| one.key == "name") {
            let Operator::In(values) = &requirement.operator else { continue };
            let Some(value) = values.iter().next() else { continue };
            let mut all = context.cluster.snapshot.namespaces.values();
            if all.any(|one| requirement.matches(&one.labels)) {
                continue;
            }
            let selector = format!("{field}.namespaceSelector");
            let path = format!("{selector}.matchLabels[name]");
            let place = context.cluster.places.field(&rule.policy.key, &path);
            let is_known = context.knows_namespace(value);
            if !is_known && context.cluster.is_whole {
                // Another check says that there is no such namespace.
                continue;
            }
            let message = match is_known {
                true => format!(
                    "namespace {value} has no label `name`, so this matches nobody; every \
                     namespace has {METADATA_NAME_LABEL}"
                ),
                false => format!(
                    "no namespace has a label `name` unless somebody gave it one; every namespace \
                     has {METADATA_NAME_LABEL}"
                ),
            };
            let level = if is_known { Level::Warning } else { Level::Note };
            let fix = place.and_then(|place| place.key.clone()).map(|at| Fix {
                title: format!("write {METADATA_NAME_LABEL}: {value}"),
                opens: Some(format!("what the rule says, for namespace {value}")),
                edits: vec![Edit {
                    at,
                    old: "name".to_owned(),
                    new: METADATA_NAME_LABEL.to_owned(),
                }],
            });
            let shown = if place.is_some() { path } else { selector };
            let finding = context.finding(ID, rule.policy, shown, message).at_level(level);
            found.push(finding.with_fix(fix));
        }
    }
    found
}
