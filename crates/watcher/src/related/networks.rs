//! Which further networks a pod asks for, before it is attached to them.
//!
//! In: the annotation of a pod or a template. Out: names of NetworkAttachmentDefinitions.
//! Never: the networks that a pod is on. Its annotation `network-status` tells these.
//!
//! Kubernetes Network Custom Resource Definition De-facto Standard, version 1.3, 4.1.2: a list
//! with commas between `[NAMESPACE/]NAME[@INTERFACE]`, or a JSON list of objects with `name` and
//! perhaps `namespace`.

use std::collections::BTreeSet;

use policy::{ObjectKey, network_name};
use serde::Deserialize;

/// The annotation.
pub(crate) const ASKED: &str = "k8s.v1.cni.cncf.io/networks";

/// An item of the JSON list.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
}

/// The networks of an annotation. What can be no name is left out. `namespace`: the pod's.
pub(super) fn asked(text: &str, namespace: &str) -> BTreeSet<ObjectKey> {
    if text.trim_start().starts_with('[') {
        let all: Vec<Asked> = serde_json::from_str(text).unwrap_or_default();
        let of = |one: Asked| {
            let written = one.namespace.filter(|name| !name.is_empty());
            network_name(&one.name, written.as_deref().unwrap_or(namespace))
        };
        return all.into_iter().filter_map(of).collect();
    }
    let names = text.split(',').filter_map(|one| one.split('@').next());
    names.filter_map(|name| network_name(name.trim(), namespace)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let key = |namespace, name| ObjectKey::new(namespace, name);
        for (text, expected) in [
            ("", vec![]),
            ("net1", vec![key("dev", "net1")]),
            ("net1, nets/net2@eth1,", vec![key("dev", "net1"), key("nets", "net2")]),
            (r#"[{"name": "net1", "ips": ["10.9.0.2"]}]"#, vec![key("dev", "net1")]),
            (r#" [{"name": "net2", "namespace": "nets"}, {}]"#, vec![key("nets", "net2")]),
            (r#"[{"name": 1}]"#, vec![]),
            ("[", vec![]),
        ] {
            assert_eq!(asked(text, "dev"), expected.into_iter().collect(), "{text}");
        }
    }
}
