//! What is worth saying about policies that only the whole cluster shows.
//!
//! In: a policy and the cluster. Out: warnings. Never: an effect on rules.

use policy::{Diagnostic, NetworkPolicy, PortNumbers, Ports, Severity};

use crate::Cluster;

/// Port names of ingress rules that no pod has which the policy selects.
pub(crate) fn port_names_of_nobody(
    policy: &NetworkPolicy,
    cluster: &Cluster<'_>,
) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (rule_index, rule) in policy.ingress.iter().flatten().enumerate() {
        let Ports::Only(ports) = &rule.ports else { continue };
        for port in ports {
            let PortNumbers::Named(name) = &port.numbers else { continue };
            let mut selected = cluster.selected_by(policy);
            if selected.any(|pod| !pod.named_ports(name, port.protocol).is_empty()) {
                continue;
            }
            diagnostics.push(Diagnostic {
                severity: Severity::Warning,
                kind: "NetworkPolicy",
                object: policy.key.clone(),
                field: format!("spec.ingress[{rule_index}].ports"),
                message: format!(
                    "no pod that the policy selects has a port named {name}/{}: it allows nothing",
                    port.protocol
                ),
            });
        }
    }
    diagnostics
}
