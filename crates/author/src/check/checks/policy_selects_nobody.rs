//! `spec.podSelector` matches no pod of the namespace now.

use policy::{NetworkPolicy, Selector};

use super::selector_contradiction::contradiction;
use crate::check::context::{Context, Nearest, counted, is_alive, nearest};
use crate::check::finding::{Edit, Finding, Fix};

const ID: &str = "policy-selects-nobody";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    context.policies().filter_map(|policy| one(context, policy)).collect()
}

fn one(context: &Context<'_>, policy: &NetworkPolicy) -> Option<Finding> {
    let namespace = &policy.key.namespace;
    let mut pods = context.pods_in(namespace);
    pods.retain(|pod| is_alive(pod));
    let selects = |pod: &&&policy::Pod| policy.pod_selector.matches(&pod.labels);
    if policy.pod_selector.is_everything()
        || contradiction(&policy.pod_selector).is_some()
        || pods.iter().any(|pod| selects(&pod))
        || (pods.is_empty() && !context.cluster.is_whole)
    {
        return None;
    }
    let field = "spec.podSelector";
    if let Some(workload) = on_workload(context, policy) {
        let message = format!(
            "{} is a label of {workload} itself; its pods have the labels of spec.template, and \
             no pod matches",
            policy.pod_selector
        );
        return Some(
            context
                .finding(ID, policy, field, message)
                .with_help("select a label of the pod template, or put this one there, too"),
        );
    }
    let near = nearest(&policy.pod_selector, &context.known_of(policy));
    Some(match near {
        Some(near) => about_nearest(context, policy, field, &near, pods.len(), namespace),
        // Files may leave out the very pods.
        None if !context.cluster.is_whole => return None,
        None => {
            let message = format!(
                "{} is on no pod of namespace {namespace} now, so the policy does nothing",
                policy.pod_selector
            );
            context.finding(ID, policy, field, message)
        }
    })
}

fn about_nearest(
    context: &Context<'_>,
    policy: &NetworkPolicy,
    field: &str,
    near: &Nearest,
    pods: usize,
    namespace: &str,
) -> Finding {
    let Nearest { key, value, meant: (meant_key, meant_value) } = near;
    let message = format!(
        "{key}={value} is on no pod of namespace {namespace} ({}); did you mean \
         {meant_key}={meant_value}?",
        counted(pods, "pod")
    );
    let path = format!("{field}.matchLabels[{key}]");
    let fix = fix_label(context, policy, &path, near).map(|fix| Fix { opens: None, ..fix });
    let shown =
        if context.cluster.places.field(&policy.key, &path).is_some() { &path } else { field };
    context
        .finding(ID, policy, shown, message)
        .labelled("as written the policy isolates nobody")
        .with_fix(fix)
}

/// Writes the label that was probably meant.
pub(super) fn fix_label(
    context: &Context<'_>,
    policy: &NetworkPolicy,
    path: &str,
    near: &Nearest,
) -> Option<Fix> {
    let place = context.cluster.places.field(&policy.key, path)?;
    let Nearest { key, value, meant: (meant_key, meant_value) } = near;
    let (at, old, new) = match key == meant_key {
        true => (place.value.clone(), value.clone(), meant_value.clone()),
        false => (place.key.clone()?, key.clone(), meant_key.clone()),
    };
    let title = format!("write {meant_key}: {meant_value}");
    let opens = Some(format!("what the rule says, for pods with {meant_key}={meant_value}"));
    Some(Fix { title, opens, edits: vec![Edit { at, old, new }] })
}

/// A workload whose own labels match, while no pod's do.
fn on_workload(context: &Context<'_>, policy: &NetworkPolicy) -> Option<String> {
    let templates = context.cluster.templates.values();
    let in_namespace = templates.filter(|one| one.workload.key.namespace == policy.key.namespace);
    of_labels(in_namespace, &policy.pod_selector)
}

/// The first workload whose own labels match.
pub(super) fn of_labels<'a>(
    templates: impl Iterator<Item = &'a watcher::related::WorkloadTemplate>,
    selector: &Selector,
) -> Option<String> {
    let mut found = templates.filter(|one| selector.matches(&one.labels));
    found.next().map(|one| format!("{} {}", one.workload.kind, one.workload.key))
}
