//! Pods that a MultiNetworkPolicy selects, or means as peers, and that are not on its networks.

use policy::{NetworkPolicy, Pod};

use crate::check::context::{Context, counted, is_alive, some};
use crate::check::finding::Finding;
use crate::check::further::Further;

const ID: &str = "not-on-network";

/// See the page.
pub fn check(context: &Context<'_>, further: &Further<'_>) -> Vec<Finding> {
    // Where nobody is on a network, nothing tells who is not.
    if further.networks.is_disjoint(further.known) || context.pods().next().is_none() {
        return Vec::new();
    }
    let policies = context.policies().filter_map(|policy| subjects(context, further, policy));
    let peers = context.pod_peers().into_iter().filter_map(|(rule, field, peer)| {
        let policy = rule.policy;
        let selects = |pod: &Pod| {
            let snapshot = &further.whole.snapshot;
            snapshot.peer_selects(peer, &policy.key.namespace, pod)
        };
        let missing = missing(context, further, selects)?;
        let message = format!("{missing}: as a peer of this policy it means nobody");
        Some(context.finding(ID, policy, format!("{field}.podSelector"), message))
    });
    policies.chain(peers).collect()
}

fn subjects(
    context: &Context<'_>,
    further: &Further<'_>,
    policy: &NetworkPolicy,
) -> Option<Finding> {
    let selects = |pod: &Pod| further.whole.snapshot.selects(policy, pod);
    let missing = missing(context, further, selects)?;
    let message = format!("{missing}: the policy does nothing for it");
    Some(context.finding(ID, policy, "spec.podSelector", message))
}

/// Says which pods a selector matches, if it matches some, and none that is on the networks.
fn missing(
    context: &Context<'_>,
    further: &Further<'_>,
    selects: impl Fn(&Pod) -> bool,
) -> Option<String> {
    if context.pods().any(&selects) {
        return None;
    }
    let all = further.whole.snapshot.pods.values().map(|pod| &**pod);
    let meant: Vec<&Pod> = all.filter(|pod| is_alive(pod) && selects(pod)).collect();
    let first = meant.first()?;
    let networks = some(further.networks.iter().map(ToString::to_string));
    let whom = match meant.len() {
        1 => context.name(first),
        count => format!("none of {}, such as {},", counted(count, "pod"), context.name(first)),
    };
    let verb = if meant.len() == 1 { "is not" } else { "is" };
    Some(format!("{whom} {verb} on network {networks}"))
}
