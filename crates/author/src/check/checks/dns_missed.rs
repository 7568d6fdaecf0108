//! A rule has the port of DNS, and its peers are not the cluster's DNS.

use super::dns::{self, Dns};
use crate::check::context::{Context, some};
use crate::check::finding::Finding;

const ID: &str = "dns-missed";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for policy in context.policies() {
        if dns::of(context, policy) != Dns::Missed {
            continue;
        }
        let rules = policy.egress.as_deref().unwrap_or_default();
        // The rule that means it may be one of another policy, which is told of itself.
        let of_dns = |rule: &policy::Rule| match &rule.ports {
            policy::Ports::All => false,
            policy::Ports::Only(ports) => ports.iter().any(dns::is_dns_port),
        };
        let Some(index) = rules.iter().position(of_dns) else { continue };
        let servers = context.dns();
        let names = some(servers.iter().map(|pod| context.name(pod)));
        let listens: Vec<String> = servers.first().map_or_else(Vec::new, |pod| {
            dns::ports(context, pod).iter().map(ToString::to_string).collect()
        });
        let labels = servers.first().map(|pod| {
            let labels = pod.labels.iter().map(|(key, value)| format!("{key}={value}"));
            labels.take(3).collect::<Vec<_>>().join(",")
        });
        let message = format!(
            "this rule for DNS does not reach the cluster's DNS, {names}: labels {}, port {}",
            labels.unwrap_or_default(),
            listens.join(", ")
        );
        found.push(context.finding(ID, policy, format!("spec.egress[{index}]"), message).with_help(
            "select the DNS pods by their own labels and namespace, on the port that they listen on",
        ));
    }
    found
}
