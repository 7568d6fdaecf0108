//! A selector that no labels can match: "nobody ever".

use policy::{Operator, Selector};

use crate::check::context::Context;
use crate::check::finding::Finding;

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut look = |policy, field: String, selector: &Selector| {
        if let Some((one, other)) = contradiction(selector) {
            let message = format!("{one} and {other} are never both true, so nobody ever matches");
            found.push(context.finding("selector-contradiction", policy, field, message));
        }
    };
    for policy in context.policies() {
        look(policy, "spec.podSelector".to_owned(), &policy.pod_selector);
    }
    for (rule, field, peer) in context.pod_peers() {
        look(rule.policy, format!("{field}.podSelector"), &peer.pods);
        if let Some(namespaces) = &peer.namespaces {
            look(rule.policy, format!("{field}.namespaceSelector"), namespaces);
        }
    }
    found
}

/// Two requirements about one key that exclude each other.
pub(super) fn contradiction(selector: &Selector) -> Option<(String, String)> {
    let all: Vec<_> = selector.requirements().collect();
    for (at, one) in all.iter().enumerate() {
        for other in all[at + 1..].iter().filter(|other| other.key == one.key) {
            if exclude(&one.operator, &other.operator) {
                return Some((one.to_string(), other.to_string()));
            }
        }
    }
    None
}

/// Whether no value, and no missing one, fits both.
fn exclude(one: &Operator, other: &Operator) -> bool {
    use Operator::{DoesNotExist, Exists, In, NotIn};
    match (one, other) {
        (In(one), In(other)) => !one.iter().any(|value| other.contains(value)),
        (In(values), NotIn(not)) | (NotIn(not), In(values)) => {
            values.iter().all(|value| not.contains(value))
        }
        (In(_) | Exists, DoesNotExist) | (DoesNotExist, In(_) | Exists) => true,
        (In(_) | Exists, Exists)
        | (Exists, In(_))
        | (NotIn(_) | DoesNotExist, NotIn(_) | DoesNotExist)
        | (NotIn(_), Exists)
        | (Exists, NotIn(_)) => false,
    }
}
