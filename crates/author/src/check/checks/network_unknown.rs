//! A MultiNetworkPolicy for a network that nothing has.

use policy::{NetworkPolicy, ObjectKey, POLICY_FOR};

use crate::check::context::{Context, some};
use crate::check::finding::{Edit, Finding, Fix};
use crate::check::further::Further;

const ID: &str = "network-unknown";

/// See the page.
pub fn check(context: &Context<'_>, further: &Further<'_>) -> Vec<Finding> {
    let Further { networks, known, .. } = further;
    if known.is_empty() || further.whole.lacks_networks {
        return Vec::new();
    }
    let unknown = || networks.difference(known);
    let of = |policy| unknown().filter_map(move |network| one(context, further, policy, network));
    context.policies().flat_map(of).collect()
}

fn one(
    context: &Context<'_>,
    further: &Further<'_>,
    policy: &NetworkPolicy,
    network: &ObjectKey,
) -> Option<Finding> {
    let field = format!("metadata.annotations[{POLICY_FOR}]");
    let names: Vec<String> = further.known.iter().map(ToString::to_string).collect();
    let meant = watcher::suggest(&network.to_string(), names.iter().map(String::as_str));
    // The right name, in another namespace than the policy's own.
    let elsewhere = || names.iter().find(|name| name.ends_with(&format!("/{}", network.name)));
    let meant = meant.or_else(|| elsewhere().map(String::as_str));
    let message = match meant {
        Some(meant) => format!("there is no network {network}; did you mean {meant}?"),
        // Files may leave out the very network.
        None if !context.cluster.is_whole => return None,
        None => format!(
            "no pod is on network {network}, and there is no NetworkAttachmentDefinition of it; \
             those that there are: {}",
            some(names.iter().cloned())
        ),
    };
    let finding =
        context.finding(ID, policy, field.as_str(), message).labelled("nobody is on this network");
    let place = context.cluster.places.field(&policy.key, &field);
    let alone = further.networks.len() == 1;
    let fix = place.zip(meant).filter(|_| alone).and_then(|(place, meant)| {
        let written = written(network, &policy.key.namespace);
        let line = context.cluster.places.line(&place.value.file, place.value.line)?;
        let old = written.into_iter().find(|old| line.contains(old.as_str()))?;
        let edits = vec![Edit { at: place.value.clone(), old, new: meant.to_owned() }];
        Some(Fix { title: format!("write {meant}"), opens: None, edits })
    });
    Some(finding.with_fix(fix))
}

/// How a network may have been written, the longest first.
fn written(network: &ObjectKey, namespace: &str) -> Vec<String> {
    let whole = network.to_string();
    match network.namespace == namespace {
        true => vec![whole, network.name.clone()],
        false => vec![whole],
    }
}
