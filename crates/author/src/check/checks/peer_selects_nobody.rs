//! A peer that matches no pod now, although there are pods where it looks.

use policy::{Direction, PodPeer};

use super::policy_selects_nobody::{fix_label, of_labels};
use super::selector_contradiction::contradiction;
use crate::check::context::{Context, Nearest, RuleAt, nearest, some};
use crate::check::finding::Finding;

const ID: &str = "peer-selects-nobody";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let peers = context.pod_peers();
    peers.into_iter().filter_map(|(rule, field, peer)| one(context, rule, &field, peer)).collect()
}

fn one(context: &Context<'_>, rule: RuleAt<'_>, field: &str, peer: &PodPeer) -> Option<Finding> {
    let policy = rule.policy;
    let is_contradictory = contradiction(&peer.pods).is_some()
        || peer.namespaces.as_ref().is_some_and(|one| contradiction(one).is_some());
    if is_contradictory
        || !context.selected(policy, peer, false).is_empty()
        // Another check tells of these.
        || !context.selected(policy, peer, true).is_empty()
    {
        return None;
    }
    let namespaces = context.namespaces(policy, peer);
    if let (Some(selector), true) = (&peer.namespaces, namespaces.is_empty()) {
        return no_namespace(context, rule, field, selector);
    }
    let pods: Vec<_> = namespaces.iter().flat_map(|name| context.pods_in(name)).collect();
    if pods.is_empty() && !context.cluster.is_whole {
        return None;
    }
    let place = some(namespaces.iter().map(|name| (*name).to_owned()));
    let field = format!("{field}.podSelector");
    let templates = context.cluster.templates.values();
    let near_workloads = templates.filter(|one| namespaces.contains(&*one.workload.key.namespace));
    if let Some(workload) = of_labels(near_workloads, &peer.pods) {
        let message = format!(
            "{} is a label of {workload} itself; its pods have the labels of spec.template, and \
             no pod matches",
            peer.pods
        );
        return Some(
            context
                .finding(ID, policy, field, message)
                .with_help("select a label of the pod template, or put this one there, too"),
        );
    }
    let nobody = consequence(context, rule);
    Some(match nearest(&peer.pods, &context.known(&namespaces)) {
        Some(near) => {
            let Nearest { key, value, meant: (meant_key, meant_value) } = &near;
            let count = pods.iter().filter(|pod| pod.labels.get(meant_key) == Some(meant_value));
            let count = crate::check::context::counted(count.count(), "pod");
            let message = format!(
                "{key}={value} is on no pod of namespace {place}; did you mean \
                 {meant_key}={meant_value} ({count})?"
            );
            let path = format!("{field}.matchLabels[{key}]");
            let shown = match context.cluster.places.field(&policy.key, &path) {
                Some(_) => path.clone(),
                None => field,
            };
            context
                .finding(ID, policy, shown, message)
                .labelled(nobody)
                .with_fix(fix_label(context, policy, &path, &near))
        }
        // Files may leave out the very pods.
        None if !context.cluster.is_whole => return None,
        None => {
            let what = if peer.pods.is_everything() {
                format!("namespace {place} has no pod now")
            } else {
                format!("{} is on no pod of namespace {place} now", peer.pods)
            };
            context.finding(ID, policy, field, what).labelled(nobody)
        }
    })
}

/// What the peer's absence means.
fn consequence(context: &Context<'_>, rule: RuleAt<'_>) -> String {
    let others = rule.has_several_peers();
    let pods = context.subjects(rule.policy);
    let whom = match pods.first() {
        Some(pod) => context.name(pod),
        None => "the policy's pods".to_owned(),
    };
    match (rule.direction, others) {
        (_, true) => "as written this peer is nobody".to_owned(),
        (Direction::Ingress, false) => format!("as written nobody reaches {whom} by this rule"),
        (Direction::Egress, false) => format!("as written {whom} reaches nobody by this rule"),
    }
}

/// No namespace matches: a finding where the labels of namespaces are known.
fn no_namespace(
    context: &Context<'_>,
    rule: RuleAt<'_>,
    field: &str,
    selector: &policy::Selector,
) -> Option<Finding> {
    let mut all = context.cluster.snapshot.namespaces.values();
    let is_any_known = all.any(|one| context.knows_namespace(&one.name));
    // Other checks tell of a name.
    let is_by_name = selector
        .requirements()
        .any(|one| matches!(&*one.key, "kubernetes.io/metadata.name" | "name"));
    if !is_any_known || is_by_name {
        return None;
    }
    let path = format!("{field}.namespaceSelector");
    let nobody = consequence(context, rule);
    match nearest(selector, context.known_namespaces()) {
        Some(near) => {
            let Nearest { key, value, meant: (meant_key, meant_value) } = &near;
            let message =
                format!("no namespace has {key}={value}; did you mean {meant_key}={meant_value}?");
            let label = format!("{path}.matchLabels[{key}]");
            let shown = match context.cluster.places.field(&rule.policy.key, &label) {
                Some(_) => label.clone(),
                None => path,
            };
            let fix = fix_label(context, rule.policy, &label, &near);
            Some(context.finding(ID, rule.policy, shown, message).labelled(nobody).with_fix(fix))
        }
        None if context.cluster.is_whole => {
            let message = format!("no namespace has {selector} now");
            Some(context.finding(ID, rule.policy, path, message).labelled(nobody))
        }
        None => None,
    }
}
