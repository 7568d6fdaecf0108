//! A namespace that nobody has, beside one whose name is nearly the same.

use std::collections::BTreeSet;

use policy::{METADATA_NAME_LABEL, Operator};

use crate::check::context::{Context, is_sibling};
use crate::check::finding::{Edit, Finding, Fix};

const ID: &str = "namespace-unknown";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let known = known(context);
    let mut found = Vec::new();
    for policy in context.policies() {
        let written = &policy.key.namespace;
        if known.contains(&**written) {
            continue;
        }
        if let Some(meant) = near(written, &known) {
            let field = "metadata.namespace";
            let message = format!(
                "nothing here is in namespace {written} but policies; did you mean {meant}?"
            );
            let opens = Some(format!("what the policy allows, in namespace {meant}"));
            let fix = fix(context, policy, field, (written, meant), opens);
            found.push(context.finding(ID, policy, field, message).with_fix(fix));
        }
    }
    found.extend(selectors(context, &known));
    found
}

/// The namespaces that have an object or a pod.
fn known<'a>(context: &Context<'a>) -> BTreeSet<&'a str> {
    let names = context.cluster.snapshot.namespaces.keys().map(String::as_str);
    let written = names.filter(|name| context.knows_namespace(name));
    // Pods that are not on a further network have namespaces, too.
    let of_all_pods = context.cluster.listens.keys().map(|pod| &*pod.namespace);
    written.chain(context.pods().map(|pod| &*pod.key.namespace)).chain(of_all_pods).collect()
}

fn selectors(context: &Context<'_>, known: &BTreeSet<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rule, field, peer) in context.pod_peers() {
        let requirements = peer.namespaces.iter().flat_map(|selector| selector.requirements());
        for requirement in requirements.filter(|one| one.key == METADATA_NAME_LABEL) {
            let Operator::In(values) = &requirement.operator else { continue };
            for value in values.iter().filter(|value| !known.contains(&***value)) {
                let selector = format!("{field}.namespaceSelector");
                let path = format!("{selector}.matchLabels[{METADATA_NAME_LABEL}]");
                let is_written = context.cluster.places.field(&rule.policy.key, &path).is_some();
                let shown = if is_written { &path } else { &selector };
                let finding = |message| context.finding(ID, rule.policy, shown, message);
                match near(value, known) {
                    Some(meant) => {
                        let message =
                            format!("no namespace is called {value}; did you mean {meant}?");
                        let opens = Some(format!("what the rule says, for namespace {meant}"));
                        let fix = fix(context, rule.policy, &path, (value, meant), opens);
                        found.push(finding(message).with_fix(fix));
                    }
                    None if context.cluster.is_whole => {
                        found.push(finding(format!("there is no namespace {value} now")));
                    }
                    None => {}
                }
            }
        }
    }
    found
}

fn fix(
    context: &Context<'_>,
    policy: &policy::NetworkPolicy,
    field: &str,
    (old, new): (&str, &str),
    opens: Option<String>,
) -> Option<Fix> {
    let at = context.cluster.places.field(&policy.key, field)?.value.clone();
    let edits = vec![Edit { at, old: old.to_owned(), new: new.to_owned() }];
    Some(Fix { title: format!("write {new}"), opens, edits })
}

/// The known name that was probably meant.
fn near<'a>(written: &str, known: &BTreeSet<&'a str>) -> Option<&'a str> {
    let candidates = known.iter().copied().filter(|name| !is_sibling(written, name));
    watcher::suggest(written, candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_on_purpose_are_no_mistake() {
        let known = BTreeSet::from(["shop", "team-a", "stage1", "monitoring", "app-dev"]);
        for other in ["team-b", "stage2", "stage", "app-prd", "shop-2", "web"] {
            assert_eq!(near(other, &known), None, "{other}");
        }
        assert_eq!(near("shopp", &known), Some("shop"));
        assert_eq!(near("monitorng", &known), Some("monitoring"));
    }
}
