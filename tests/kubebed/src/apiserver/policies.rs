//! Turns policies of the model into API objects with the same meaning. Leaves out
//! defaults. The server fills them in.

use k8s_openapi::api::networking::v1::NetworkPolicy as ApiPolicy;
use k8s_openapi::jiff::Timestamp;
use policy::{
    NetworkPolicy, Operator, Peer, Peers, Port, PortNumbers, Ports, Requirement, Rule, Selector,
    Sorted, Switch,
};
use serde_json::{Value, json};

/// The object of a policy.
///
/// # Errors
/// When the API's types cannot represent it.
pub fn object(policy: &NetworkPolicy) -> serde_json::Result<ApiPolicy> {
    let mut types = Vec::new();
    let mut spec = json!({"podSelector": selector(&policy.pod_selector)});
    let directions = [
        ("Ingress", "ingress", "from", &policy.ingress),
        ("Egress", "egress", "to", &policy.egress),
    ];
    for (name, field, peers, rules) in directions {
        let Some(rules) = rules else { continue };
        types.push(name);
        spec[field] = rules.iter().map(|one| rule(one, peers)).collect();
    }
    spec["policyTypes"] = json!(types);
    let annotations = annotations(&policy.audit.written);
    let metadata = json!({
        "name": policy.key.name, "namespace": policy.key.namespace, "annotations": annotations,
    });
    serde_json::from_value(json!({"metadata": metadata, "spec": spec}))
}

/// The annotations that say this.
pub fn annotations(switch: &Switch) -> Value {
    let mut out = json!({});
    if let Some(mode) = switch.mode {
        out[Switch::MODE] = mode.name().into();
    }
    if let Some(until) = switch.until {
        let time = Timestamp::from_second(until).unwrap_or_default();
        out[Switch::UNTIL] = time.to_string().into();
    }
    out
}

fn rule(rule: &Rule, peers: &str) -> Value {
    let mut out = json!({});
    if let Peers::Only(only) = &rule.peers {
        out[peers] = only.iter().map(peer).collect();
    }
    if let Ports::Only(ports) = &rule.ports {
        out["ports"] = ports.iter().map(port).collect();
    }
    out
}

fn peer(peer: &Peer) -> Value {
    match peer {
        Peer::IpBlock(block) => {
            let except: Vec<String> = block.except().iter().map(ToString::to_string).collect();
            json!({"ipBlock": {"cidr": block.cidr().to_string(), "except": except}})
        }
        Peer::Pods(pods) => {
            let mut out = json!({"podSelector": selector(&pods.pods)});
            if let Some(namespaces) = &pods.namespaces {
                out["namespaceSelector"] = selector(namespaces);
            }
            out
        }
    }
}

fn port(port: &Port) -> Value {
    let protocol = port.protocol.to_string();
    match &port.numbers {
        PortNumbers::All => json!({"protocol": protocol}),
        PortNumbers::Range(first, last) if first == last => {
            json!({"protocol": protocol, "port": first})
        }
        PortNumbers::Range(first, last) => {
            json!({"protocol": protocol, "port": first, "endPort": last})
        }
        PortNumbers::Named(name) => json!({"protocol": protocol, "port": name}),
    }
}

fn selector(selector: &Selector) -> Value {
    let expressions: Vec<Value> = selector.requirements().map(expression).collect();
    json!({"matchExpressions": expressions})
}

fn listed(values: &Sorted<String>) -> Vec<&String> {
    values.iter().collect()
}

fn expression(Requirement { key, operator }: &Requirement) -> Value {
    match operator {
        Operator::In(values) => json!({"key": key, "operator": "In", "values": listed(values)}),
        Operator::NotIn(values) => {
            json!({"key": key, "operator": "NotIn", "values": listed(values)})
        }
        Operator::Exists => json!({"key": key, "operator": "Exists"}),
        Operator::DoesNotExist => json!({"key": key, "operator": "DoesNotExist"}),
    }
}
