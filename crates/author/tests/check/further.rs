//! Policies of further networks: what is right is not reported, and nothing is where the input
//! does not tell.

use std::collections::BTreeSet;

use super::support::{Folder, findings, fixtures};

/// The checks that find something in a MultiNetworkPolicy with this annotation and spec.
fn found(annotation: &str, spec: &str, with: bool) -> BTreeSet<String> {
    let folder = Folder::new();
    let text = format!(
        "apiVersion: k8s.cni.cncf.io/v1beta2\nkind: MultiNetworkPolicy\nmetadata: {{name: p, \
         namespace: shop, annotations: {{{annotation}}}}}\nspec: {spec}\n"
    );
    folder.write("p.yaml", &text);
    let further = fixtures().join("further.yaml").display().to_string();
    let files: &[&str] = if with { &["p.yaml", &further] } else { &["p.yaml"] };
    let found = findings(folder.path(), files);
    let of_policy = found.iter().filter(|one| one["kind"] == "MultiNetworkPolicy");
    of_policy.filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
}

const ON: &str = "k8s.v1.cni.cncf.io/policy-for: storage/macvlan";
const RIGHT: &str = "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: \
                     [{from: [{podSelector: {matchLabels: {app: backup}}}, {namespaceSelector: \
                     {matchLabels: {purpose: monitoring}}}], ports: [{port: sql}]}]}";

#[test]
fn what_is_right_is_not_reported() {
    assert_eq!(found(ON, RIGHT, true), BTreeSet::new());
    // Nothing tells which networks there are, and who is on them.
    assert_eq!(found(ON, RIGHT, false), BTreeSet::new());
    let elsewhere = "k8s.v1.cni.cncf.io/policy-for: storage/macvaln";
    assert_eq!(found(elsewhere, RIGHT, false), BTreeSet::new());
    // A policy for two networks means the pods of both, and files may leave out a network.
    let both = "k8s.v1.cni.cncf.io/policy-for: 'storage/macvlan, elsewhere/fabric'";
    assert_eq!(found(both, RIGHT, true), BTreeSet::new());
}

#[test]
fn each_mistake_is_found() {
    let only = |id: &str| BTreeSet::from([id.to_owned()]);
    assert_eq!(found("", RIGHT, false), only("policy-for"));
    let misspelt = "k8s.v1.cni.cncf.io/policy-fro: storage/macvlan";
    assert_eq!(found(misspelt, RIGHT, false), only("policy-for"));
    assert_eq!(
        found("k8s.v1.cni.cncf.io/policy-for: macvlan", RIGHT, true),
        only("network-unknown")
    );
    for (right, wrong, id) in [
        ("app: db", "app: front", "not-on-network"),
        ("app: backup", "app: front", "not-on-network"),
        ("app: db", "app: bakcup", "policy-selects-nobody"),
        ("app: backup", "app: bakcup", "peer-selects-nobody"),
        ("purpose: monitoring", "purpose: monitorng", "peer-selects-nobody"),
        ("purpose: monitoring", "kubernetes.io/metadata.name: monitorng", "namespace-unknown"),
        ("port: sql", "port: slq", "port-name-unknown"),
    ] {
        let ids = found(ON, &RIGHT.replace(right, wrong), true);
        assert!(ids.contains(id), "{wrong}: {ids:?}");
    }
}
