//! Selectors that mean pods in their node's network, which no policy and no selector matches.

use policy::Pod;

use super::api_server_peer;
use crate::check::context::{Context, is_alive, some};
use crate::check::finding::Finding;

const ID: &str = "host-network-pod";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = peers(context);
    for policy in context.policies().filter(|one| !one.pod_selector.is_everything()) {
        let mut pods = context.pods_in(&policy.key.namespace);
        pods.retain(|pod| is_alive(pod) && policy.pod_selector.matches(&pod.labels));
        let hosts: Vec<&Pod> = pods.into_iter().filter(|pod| pod.host_network).collect();
        if let (Some(pod), true) = (hosts.first(), context.subjects(policy).is_empty()) {
            let message = format!(
                "{} is in its node's network (hostNetwork), where no policy applies",
                context.name(pod)
            );
            found.push(context.finding(ID, policy, "spec.podSelector", message));
        }
    }
    found
}

fn peers(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rule, field, peer) in context.pod_peers() {
        let hosts = context.selected(rule.policy, peer, true);
        if hosts.is_empty() || !context.selected(rule.policy, peer, false).is_empty() {
            continue;
        }
        let names = some(hosts.iter().map(|pod| context.name(pod)));
        let message = format!(
            "{names} {} in the node's network (hostNetwork), where no selector matches; from its \
             own node it always passes",
            if hosts.len() == 1 { "is" } else { "are" }
        );
        let is_api = hosts.iter().any(|pod| pod.labels.get("component") == Some("kube-apiserver"));
        let help =
            if is_api { api_server_peer::help(context) } else { by_address(context, &hosts) };
        found.push(context.finding(ID, rule.policy, field, message).with_help(help));
    }
    found
}

/// The addresses of their nodes, as far as they are known.
fn by_address(context: &Context<'_>, pods: &[&Pod]) -> String {
    let mut known = Vec::new();
    for pod in pods.iter().filter(|pod| !context.cluster.symbolic.contains(&pod.key)) {
        known.extend(
            pod.host_addresses
                .iter()
                .chain(&pod.addresses)
                .map(|address| format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })),
        );
    }
    match known.is_empty() {
        true => "name the addresses of the nodes by ipBlock".to_owned(),
        false => format!("name the node instead: ipBlock {}", some(known)),
    }
}
