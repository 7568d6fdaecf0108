//! What is worth saying about policies that only the whole cluster shows.
//!
//! In: a policy and the cluster. Out: warnings. Never: an effect on rules.

use policy::{Diagnostic, NetworkPolicy, PortNumbers, Ports, Severity};

use crate::ClusterIndex;

/// Port names of ingress rules that no pod has which the policy selects.
pub(crate) fn port_names_of_nobody(
    policy: &NetworkPolicy,
    cluster: &ClusterIndex,
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use policy::{
        Labels, NamedPort, ObjectKey, Peers, Phase, Pod, Port, Protocol, Rule, Selector, Snapshot,
    };

    use super::*;
    use crate::{Engine, Options};

    fn pod(number: u8, port: &str) -> Pod {
        Pod {
            key: ObjectKey::new("dev", format!("p{number}")),
            labels: Labels::new(),
            node: None,
            addresses: vec![Ipv4Addr::new(10, 0, 0, number).into()],
            host_addresses: Vec::new(),
            host_network: false,
            phase: Phase::Running,
            created: 0,
            ports: vec![NamedPort { name: port.to_owned(), protocol: Protocol::Tcp, port: 80 }],
        }
    }

    fn policy(name: &str, port: &str) -> NetworkPolicy {
        let numbers = PortNumbers::Named(port.to_owned());
        let ports = Ports::Only(vec![Port { protocol: Protocol::Tcp, numbers }]);
        NetworkPolicy {
            key: ObjectKey::new("dev", name),
            uid: String::new(),
            pod_selector: Selector::everything(),
            ingress: Some(vec![Rule { peers: Peers::Anyone, ports }]),
            egress: None,
        }
    }

    /// The three pods have chains of their own, and two have not the name.
    #[test]
    fn a_port_name_that_no_selected_pod_has_is_said_once() {
        let policies = [policy("one", "http"), policy("two", "htpp"), policy("three", "dns")];
        let pods = [pod(1, "http"), pod(2, "dns"), pod(3, "other")];
        let mut engine = Engine::new(Options::default());
        let compiled = engine.update(&Snapshot::new(policies, pods, []));
        let said: Vec<String> = compiled.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["warning: NetworkPolicy dev/two: spec.ingress[0].ports: no pod that the policy \
              selects has a port named htpp/TCP: it allows nothing"]
        );
    }
}
