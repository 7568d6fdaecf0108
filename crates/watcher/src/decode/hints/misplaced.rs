//! Fields that are in the wrong struct, and where they belong.
//!
//! In: a struct's name in the API (`NetworkPolicySpec`), and the field.
//! Out: the end of a sentence, or nothing if the right place is not clear.
//! Never: a guess by spelling alone. `hints` does that.

use crate::decode::node::{Entry, Node, Value};
use crate::spelling::suggest;

const SELECTOR: &[&str] = &["matchLabels", "matchExpressions"];
const PEER: &[&str] = &["podSelector", "namespaceSelector", "ipBlock"];
const BLOCK: &[&str] = &["cidr", "except"];
const PORT: &[&str] = &["port", "endPort", "protocol"];
const SPEC: &[&str] = &["podSelector", "policyTypes", "policyType", "ingress", "egress"];
const METADATA: &[&str] = &["name", "namespace", "labels", "annotations"];
const CONTAINER: &[&str] =
    &["image", "ports", "command", "args", "env", "resources", "volumeMounts"];
const POD_STATUS: &[&str] = &["podIP", "podIPs", "hostIP", "hostIPs", "phase"];

/// Where a field that this struct does not have belongs, if that is known.
pub(super) fn hint(name: &str, entry: &Entry, parent: &Node) -> Option<String> {
    let key = entry.key.as_str();
    let is = |keys: &[&str]| keys.contains(&key);
    let under = |place: &str| Some(format!("it belongs under {place}"));
    match name {
        "NetworkPolicy" if is(METADATA) => under("metadata"),
        "NetworkPolicy" if is(SELECTOR) => under("spec.podSelector"),
        "NetworkPolicy" if is(SPEC) => under("spec"),
        "NetworkPolicySpec" => in_spec(key, parent),
        "NetworkPolicyIngressRule" => in_rule(key, "from"),
        "NetworkPolicyEgressRule" => in_rule(key, "to"),
        "NetworkPolicyPeer" => in_peer(key),
        "NetworkPolicyPort" => in_port(key),
        "IPBlock" if is(PEER) => Some("it belongs in an item of its own beside ipBlock".to_owned()),
        "IPBlock" if key == "excepts" || key == "exclude" => did_you_mean("except"),
        "IPBlock" if matches!(key, "ip" | "address" | "block" | "cidrs") => did_you_mean("cidr"),
        "LabelSelector" => in_selector(entry),
        "LabelSelectorRequirement" if key == "value" => {
            Some("did you mean values, which is a list?".to_owned())
        }
        "ObjectMeta" if is(SPEC) || key == "spec" => {
            let place = if key == "spec" { "beside metadata" } else { "under spec" };
            Some(format!("it belongs {place}, indented less"))
        }
        "ObjectMeta" if SELECTOR.contains(&key) => under("spec.podSelector"),
        "ObjectMeta" if matches!(entry.value.value, Value::String(_)) && !is_near(key) => {
            Some("a label belongs under metadata.labels".to_owned())
        }
        "Pod" | "Namespace" if is(METADATA) => under("metadata"),
        "Pod" if is(CONTAINER) => under("spec.containers[]"),
        "Pod" if is(POD_STATUS) => under("status"),
        "Pod" if matches!(key, "containers" | "nodeName" | "hostNetwork") => under("spec"),
        "PodSpec" if is(CONTAINER) => under("an item of containers"),
        "PodSpec" if is(POD_STATUS) => under("status"),
        "PodSpec" if is(METADATA) => under("metadata"),
        _ => None,
    }
}

fn did_you_mean(field: &str) -> Option<String> {
    Some(format!("did you mean {field}?"))
}

/// Whether a key looks like a misspelt field of metadata.
fn is_near(key: &str) -> bool {
    suggest(key, METADATA.iter().copied()).is_some()
}

fn in_spec(key: &str, spec: &Node) -> Option<String> {
    if SELECTOR.contains(&key) {
        let is_empty = spec.get("podSelector").is_none_or(|selector| match &selector.value {
            Value::Mapping(entries) => entries.is_empty(),
            Value::Null => true,
            _ => false,
        });
        let as_written =
            if is_empty { ", which as written selects every pod of the namespace" } else { "" };
        return Some(format!("it belongs under podSelector{as_written}"));
    }
    match key {
        "from" => Some("it belongs in an item of ingress".to_owned()),
        "to" => Some("it belongs in an item of egress".to_owned()),
        _ if key == "ports" || PORT.contains(&key) => {
            Some("it belongs in an item of ingress or egress, beside from or to".to_owned())
        }
        "namespaceSelector" | "ipBlock" => {
            Some("it belongs in an item of from (under ingress) or of to (under egress)".to_owned())
        }
        _ if BLOCK.contains(&key) => Some("it belongs under ipBlock".to_owned()),
        _ if METADATA.contains(&key) => Some("it belongs under metadata".to_owned()),
        "selector" => did_you_mean("podSelector"),
        _ => None,
    }
}

fn in_rule(key: &str, peers: &str) -> Option<String> {
    let other = if peers == "from" { "to" } else { "from" };
    if key == other {
        let (this, that) =
            if peers == "from" { ("ingress", "egress") } else { ("egress", "ingress") };
        return Some(format!("an {this} rule has {peers}; {other} belongs to {that}"));
    }
    match key {
        _ if PEER.contains(&key) => Some(format!("it belongs in an item of {peers}")),
        _ if PORT.contains(&key) => Some("it belongs in an item of ports".to_owned()),
        _ if BLOCK.contains(&key) => {
            Some(format!("it belongs under ipBlock in an item of {peers}"))
        }
        _ if SELECTOR.contains(&key) => {
            Some(format!("it belongs under podSelector or namespaceSelector in an item of {peers}"))
        }
        _ if SPEC.contains(&key) => Some("it belongs under spec, indented less".to_owned()),
        _ => None,
    }
}

fn in_peer(key: &str) -> Option<String> {
    match key {
        _ if SELECTOR.contains(&key) => {
            Some("it belongs under podSelector or namespaceSelector, indented more".to_owned())
        }
        _ if BLOCK.contains(&key) => Some("it belongs under ipBlock".to_owned()),
        _ if key == "ports" || PORT.contains(&key) => {
            Some("it belongs to the rule, as an item of ports beside from or to".to_owned())
        }
        "namespace" | "namespaces" => Some(
            "a peer names a namespace by namespaceSelector with \
             matchLabels {kubernetes.io/metadata.name: NAME}"
                .to_owned(),
        ),
        "selector" => did_you_mean("podSelector"),
        _ => None,
    }
}

fn in_port(key: &str) -> Option<String> {
    match key {
        "name" | "number" | "targetPort" | "containerPort" => did_you_mean("port"),
        "from" | "to" => Some(format!("{key} belongs to the rule, beside ports")),
        _ => None,
    }
}

fn in_selector(entry: &Entry) -> Option<String> {
    let key = entry.key.as_str();
    match key {
        "operator" | "values" | "key" => {
            Some("it belongs in an item of matchExpressions".to_owned())
        }
        "matchLabel" | "labels" | "matchlabels" => did_you_mean("matchLabels"),
        _ if PEER.contains(&key) => {
            Some("it belongs beside this selector, indented less".to_owned())
        }
        _ if suggest(key, SELECTOR.iter().copied()).is_some() => None,
        _ => match entry.value.value {
            Value::Sequence(_) | Value::Mapping(_) => None,
            _ => Some("labels belong under matchLabels".to_owned()),
        },
    }
}
