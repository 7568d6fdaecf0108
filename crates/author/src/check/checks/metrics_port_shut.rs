//! A port whose name says metrics is allowed to nobody, beside rules for others.

use std::collections::BTreeSet;

use policy::Direction;
use policy::spec::ProtocolPort;

use crate::check::context::Context;
use crate::check::finding::Finding;
use crate::reach::rule_ports;

const ID: &str = "metrics-port-shut";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    let is_metrics = |port: &&policy::NamedPort| port.name.contains("metrics");
    let pods = context.pods().filter(|pod| pod.is_subject());
    for pod in pods.filter(|pod| pod.ports.iter().any(|port| is_metrics(&port))) {
        let policies: Vec<_> = context
            .policies_in(&pod.key.namespace)
            .filter(|policy| context.cluster.snapshot.selects(policy, pod))
            .filter(|policy| policy.ingress.is_some())
            .collect();
        let rules = policies
            .iter()
            .flat_map(|policy| policy.rules(Direction::Ingress).unwrap_or_default())
            .collect::<Vec<_>>();
        let Some(policy) =
            policies.iter().find(|one| one.ingress.as_ref().is_some_and(|rules| !rules.is_empty()))
        else {
            // All is denied, and that is meant.
            continue;
        };
        for port in pod.ports.iter().filter(is_metrics) {
            let wanted = ProtocolPort::Port(port.protocol, port.port);
            let is_open = rules.iter().any(|rule| rule_ports(rule, Some(pod)).contains(wanted));
            let name = context.name(pod);
            if !is_open && told.insert((policy.key.clone(), name.clone(), port.port)) {
                let message = format!(
                    "nobody may read port {} ({}) of {name}; who collects its metrics?",
                    port.name, port.port
                );
                found.push(context.finding(ID, policy, "spec.ingress", message));
            }
        }
    }
    found
}
