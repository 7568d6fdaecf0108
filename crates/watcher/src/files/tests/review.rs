//! Findings about an object as a whole, or about several.

use super::*;

#[test]
fn between_objects() {
    let pod = |name: &str, time: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, creationTimestamp: {time}}}\nstatus: {{podIPs: [{{ip: 10.0.0.1}}]}}\n"
        )
    };
    let old = pod("old", "2026-01-01T00:00:00Z");
    let new = pod("new", "2026-01-02T00:00:00Z");
    check(
        "one address on two pods",
        &format!("{new}{old}"),
        &[
            "f:9:18: warning: Pod default/old: status.podIPs: 10.0.0.1 is also the address of Pod default/new in f:4, which is newer: policies that allow a peer mean that one, and if either is isolated on a node that has both, so is the address",
        ],
    );
    check(
        "one object twice",
        &format!("{new}{new}"),
        &["f:9:18: error: Pod default/new: metadata.name: the same object is also defined in f:4"],
    );
    let space = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {b: c}}\n";
    check("a Namespace twice and equal", &format!("{space}{space}"), &[]);
    check(
        "a Namespace twice and different",
        &format!("{space}{}", space.replace("b: c", "b: d")),
        &["f:8:18: error: Namespace a: metadata.name: the same object is also defined in f:4"],
    );
    let ended = new.replace("status: {", "status: {phase: Failed, ");
    check("an ended pod's address", &format!("{ended}{old}"), &[]);
}

#[test]
fn names_that_say_the_opposite() {
    let policy = |name: &str, spec: &str| {
        format!("{}{spec}", POLICY.replace("name: web", &format!("name: {name}")))
    };
    let all_egress = "  policyTypes: [Egress]\n  egress: [{}]\n";
    check(
        "denies by name",
        &policy("deny-all-egress", all_egress),
        &[
            "f:4:9: warning: NetworkPolicy dev/deny-all-egress: metadata.name: the name says the opposite of what the policy does: it allows all egress",
        ],
    );
    check("denies the other direction", &policy("deny-ingress", all_egress), &[]);
    check(
        "allows by name",
        &policy("allow-all-egress", "  policyTypes: [Egress]\n"),
        &[
            "f:4:9: warning: NetworkPolicy dev/allow-all-egress: metadata.name: the name says the opposite of what the policy does: it allows no egress",
        ],
    );
    check("says both", &policy("deny-ingress-allow-egress", all_egress), &[]);
}

#[test]
fn namespaces_are_made_up_where_they_are_missing() {
    let text = format!(
        "{POLICY}  podSelector: {{}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: prod, labels: {{a: b}}}}\n"
    );
    let loaded = parse("f", &text, Validation::Strict);
    let namespaces: Vec<&policy::Namespace> = loaded
        .objects
        .iter()
        .filter_map(|object| match object {
            Object::Namespace(namespace) => Some(&**namespace),
            _ => None,
        })
        .collect();
    let labels = |namespace: &policy::Namespace| format!("{:?}", namespace.labels);
    assert_eq!(
        namespaces.into_iter().map(labels).collect::<Vec<_>>(),
        [
            r#"{"a": "b", "kubernetes.io/metadata.name": "prod"}"#,
            r#"{"kubernetes.io/metadata.name": "dev"}"#,
        ]
    );
}

#[test]
fn findings_beyond_what_anybody_reads_are_counted() {
    let loaded = parse("f", &"---\na\n".repeat(10_005), Validation::Strict);
    let last: Vec<String> = loaded.findings.iter().rev().take(2).map(ToString::to_string).collect();
    assert_eq!(
        last,
        [
            "f:20000:1: error: 5 further mistakes are not shown",
            "f:20000:1: error: is the text \"a\", not an object with apiVersion, kind and metadata",
        ]
    );
}
