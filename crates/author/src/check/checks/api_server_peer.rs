//! The API server as a peer by its pods' labels: its pods are in their nodes' network.

use policy::{Operator, Selector};

use crate::check::context::Context;
use crate::check::finding::Finding;

const ID: &str = "api-server-peer";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rule, field, peer) in context.pod_peers() {
        // Where such pods are known, another check tells which nodes they are on.
        let is_known = !context.selected(rule.policy, peer, true).is_empty()
            || !context.selected(rule.policy, peer, false).is_empty();
        if is_api_server(&peer.pods) && !is_known {
            let message = format!(
                "{} are pods of the API server, which are in their node's network, so no selector \
                 matches them",
                peer.pods
            );
            let field = format!("{field}.podSelector");
            found.push(context.finding(ID, rule.policy, field, message).with_help(help(context)));
        }
    }
    found
}

/// How to name the API server instead.
pub fn help(context: &Context<'_>) -> String {
    let key = policy::ObjectKey::new("default", "kubernetes");
    match context.cluster.endpoints.get(&key) {
        Some(endpoints) if !endpoints.addresses.is_empty() => {
            let blocks = endpoints.addresses.iter().map(|address| {
                format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
            });
            let ports = endpoints.ports.iter().map(|(_, port)| port.to_string());
            format!(
                "name its endpoints: ipBlock {}, port {}",
                blocks.collect::<Vec<_>>().join(", "),
                ports.collect::<Vec<_>>().join(", ")
            )
        }
        _ => "name its endpoints by ipBlock: `kubectl get endpointslices -n default` lists addresses \
              and port (often 6443)"
            .to_owned(),
    }
}

/// Labels of the static pods that kubeadm makes (kubeadm, pkg phases/controlplane: `component`).
fn is_api_server(pods: &Selector) -> bool {
    pods.requirements().any(|one| match &one.operator {
        Operator::In(values) => {
            matches!(&*one.key, "component" | "k8s-app" | "app")
                && values.iter().any(|value| value == "kube-apiserver")
        }
        Operator::NotIn(_) | Operator::Exists | Operator::DoesNotExist => false,
    })
}
