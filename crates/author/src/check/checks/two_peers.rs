//! `namespaceSelector` and `podSelector` as two peers, where one was probably meant.

use policy::{NetworkPolicy, Peer, PodPeer, Selector};

use crate::check::context::{Context, RuleAt, counted, some};
use crate::check::finding::{Edit, Finding, Fix};

const ID: &str = "two-peers";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in context.all_rules() {
        let peers = rule.peers();
        for pair in peers.windows(2) {
            let [(_, Peer::Pods(one)), (field, Peer::Pods(other))] = pair else { continue };
            if let Some((namespaces, pods)) = halves(one, other) {
                found.extend(judge(context, rule, field, namespaces, pods));
            }
        }
    }
    found
}

/// The namespaceSelector of the one and the podSelector of the other, if each has only that.
fn halves<'a>(one: &'a PodPeer, other: &'a PodPeer) -> Option<(&'a Selector, &'a Selector)> {
    match (&one.namespaces, &other.namespaces) {
        (Some(namespaces), None) if one.pods.is_everything() => Some((namespaces, &other.pods)),
        (None, Some(namespaces)) if other.pods.is_everything() => Some((namespaces, &one.pods)),
        _ => None,
    }
}

fn judge(
    context: &Context<'_>,
    rule: RuleAt<'_>,
    field: &str,
    namespaces: &Selector,
    pods: &Selector,
) -> Option<Finding> {
    let policy = rule.policy;
    if pods.is_everything() {
        return None;
    }
    let peer = |namespaces: Option<&Selector>, pods: &Selector| PodPeer {
        namespaces: namespaces.cloned(),
        pods: pods.clone(),
    };
    let own = context.selected(policy, &peer(None, pods), false);
    let both = context.selected(policy, &peer(Some(namespaces), pods), false);
    let every = context.selected(policy, &peer(Some(namespaces), &Selector::everything()), false);
    let is_dns_elsewhere = is_dns(pods) && policy.key.namespace != "kube-system";
    // Both halves mean something: then both are meant, as far as anybody can see.
    if !own.is_empty() || (both.is_empty() && !is_dns_elsewhere) {
        return None;
    }
    let mut message =
        format!("two peers where one was probably meant: every pod of the namespaces {namespaces}");
    if !every.is_empty() {
        message += &format!(" ({})", counted(every.len(), "pod"));
    }
    message += &format!(", and pods {pods} of namespace {}", policy.key.namespace);
    let nobody_here = !context.pods_in(&policy.key.namespace).is_empty();
    if nobody_here {
        message += " (0 pods)";
    }
    let merged = match both.is_empty() {
        true => "without it: the one and the other together".to_owned(),
        false => format!("without it: {}", some(both.iter().map(|pod| context.name(pod)))),
    };
    Some(
        context
            .finding(ID, policy, field, message)
            .labelled(format!("the '-' makes it a second peer; {merged}"))
            .with_fix(without_dash(context, policy, field)),
    )
}

/// The labels of the cluster's DNS, which is in no other namespace (Kubernetes' CoreDNS and
/// kube-dns manifests, cluster/addons/dns).
fn is_dns(pods: &Selector) -> bool {
    let dns = |value: &str| matches!(value, "kube-dns" | "coredns");
    pods.requirements().any(|one| match &one.operator {
        policy::Operator::In(values) => {
            matches!(&*one.key, "k8s-app" | "app.kubernetes.io/name")
                && values.iter().any(|v| dns(v))
        }
        policy::Operator::NotIn(_) | policy::Operator::Exists | policy::Operator::DoesNotExist => {
            false
        }
    })
}

/// Puts a space in place of the dash before an item.
pub(super) fn without_dash(
    context: &Context<'_>,
    policy: &NetworkPolicy,
    field: &str,
) -> Option<Fix> {
    let places = &context.cluster.places;
    let item = &places.field(&policy.key, field)?.value;
    let line = places.line(&item.file, item.line)?;
    let before: String = line.chars().take(item.column - 1).collect();
    // Block style, with the dash and the first field on one line.
    let dash = before.rfind('-')?;
    if before.trim() != "-" {
        return None;
    }
    let mut at = item.clone();
    at.column = dash + 1;
    let edit = Edit { at, old: "-".to_owned(), new: " ".to_owned() };
    Some(Fix { title: "leave out the '-'".to_owned(), opens: None, edits: vec![edit] })
}
