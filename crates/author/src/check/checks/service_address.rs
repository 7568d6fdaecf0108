//! A Service's address in an ipBlock: policies see the pods behind it.

use std::sync::Arc;

use policy::{Direction, ObjectKey, Peer};

use super::api_server_peer;
use crate::check::context::{Context, is_alive, some};
use crate::check::finding::Finding;
use crate::cluster::Service;

const ID: &str = "service-address";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (rule, field, peer) in context.all_peers() {
        let Peer::IpBlock(block) = peer else { continue };
        let cidr = block.cidr();
        if cidr.prefix_len() != cidr.max_prefix_len() {
            continue;
        }
        let of_service = context
            .cluster
            .services
            .iter()
            .find(|(_, service)| service.addresses.contains(&cidr.addr()));
        if let Some((key, service)) = of_service {
            let field = format!("{field}.ipBlock.cidr");
            let address = cidr.addr().to_string();
            let (message, help) = explain(context, rule.direction, (key, service), &address);
            found.push(context.finding(ID, rule.policy, field, message).with_help(help));
        }
    }
    found
}

fn explain(
    context: &Context<'_>,
    direction: Direction,
    (key, service): (&ObjectKey, &Service),
    address: &str,
) -> (String, String) {
    let is_api = key.namespace == "default" && key.name == "kubernetes";
    if direction == Direction::Ingress {
        let message =
            format!("{address} is Service {key}, and nobody sends from a Service's address");
        let help = "a pod sees the address of the client, or that of a node where kube-proxy \
                    replaces it (externalTrafficPolicy: Cluster); name those";
        return (message, help.to_owned());
    }
    let message =
        format!("{address} is Service {key}; rules see the pods behind it, never this address");
    if is_api {
        return (message, api_server_peer::help(context));
    }
    let Some(selector) = &service.selector else {
        let help = match context.cluster.endpoints.get(key) {
            Some(endpoints) => {
                format!(
                    "name its endpoints: {}",
                    some(endpoints.addresses.iter().map(|one| one.to_string()))
                )
            }
            None => "name its endpoints".to_owned(),
        };
        return (message, help);
    };
    let pods = context.cluster.snapshot.pods.values().map(Arc::as_ref).filter(|pod| {
        pod.key.namespace == key.namespace && selector.matches(&pod.labels) && is_alive(pod)
    });
    let pods: Vec<String> = pods
        .map(|pod| match pod.addresses.first() {
            Some(address) if !context.cluster.symbolic.contains(&pod.key) => {
                format!("{} ({address})", context.name(pod))
            }
            _ => context.name(pod),
        })
        .collect();
    let mut help = format!(
        "write podSelector {selector} with namespaceSelector kubernetes.io/metadata.name={}",
        key.namespace
    );
    if !pods.is_empty() {
        help += &format!(": {}", some(pods));
    }
    (message, help)
}
