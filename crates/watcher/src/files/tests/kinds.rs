//! The kind of a document, and lists of documents.

use super::*;

#[test]
fn kinds_and_versions() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: dev}\n";
    let cases: &[(&str, &str, &[&str])] = &[
        ("a namespace", namespace, &[]),
        (
            "unknown kinds are skipped",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {foo: 1}\n",
            &[
                "f:2:7: warning: Deployment web: is skipped; only NetworkPolicy, Pod and Namespace are used",
            ],
        ),
        (
            "an old version",
            "apiVersion: extensions/v1beta1\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {}\n",
            &[
                r#"f:1:13: error: NetworkPolicy default/web: apiVersion: "extensions/v1beta1" does not serve NetworkPolicy; write networking.k8s.io/v1"#,
            ],
        ),
        (
            "a wrong version",
            "apiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {}\n",
            &[
                r#"f:1:13: error: NetworkPolicy default/web: apiVersion: "v1" does not serve NetworkPolicy; write networking.k8s.io/v1"#,
            ],
        ),
        (
            "somebody else's policy",
            "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: web}\nspec: {x: 1}\n",
            &[
                r#"f:1:13: warning: NetworkPolicy web: of "projectcalico.org/v3" is skipped; it is not the NetworkPolicy of Kubernetes itself"#,
            ],
        ),
        (
            "no version",
            "kind: Pod\nmetadata: {name: web}\n",
            &[
                "f:1:1: error: Pod default/web: apiVersion: is missing; write apiVersion: v1",
                "f:2:18: warning: Pod default/web: status.podIPs: is empty; no rule applies to a pod without an address",
            ],
        ),
        (
            "no kind",
            "apiVersion: v1\nkin: Pod\nmetadata: {name: web}\n",
            &[
                r#"f:1:1: error: kind: is missing; did you write "kin" instead? write kind: NetworkPolicy, Pod or Namespace"#,
            ],
        ),
        (
            "a kind in wrong case",
            "apiVersion: networking.k8s.io/v1\nkind: networkpolicy\nmetadata: {name: web}\nspec: {}\n",
            &[
                r#"f:2:7: error: NetworkPolicy default/web: kind: unknown kind "networkpolicy"; did you mean NetworkPolicy?"#,
            ],
        ),
        (
            "a slip in the kind, and in the group",
            "apiVersion: networking.k8s.oi/v1\nkind: NetworkPolciy\nmetadata: {name: web}\nspec: {}\n",
            &[
                r#"f:1:13: error: NetworkPolicy default/web: apiVersion: "networking.k8s.oi/v1" does not serve NetworkPolicy; write networking.k8s.io/v1"#,
                r#"f:2:7: error: NetworkPolicy default/web: kind: unknown kind "NetworkPolciy"; did you mean NetworkPolicy?"#,
            ],
        ),
        (
            "no object",
            "just text\n",
            &[
                r#"f:1:1: error: is the text "just text", not an object with apiVersion, kind and metadata"#,
            ],
        ),
        (
            "a list at the top",
            "- kind: Pod\n",
            &[
                r#"f:1:1: error: is a list; write objects one after another with "---" between them, or put them under items of kind: List"#,
            ],
        ),
        (
            "spec under metadata, name at the top",
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nname: web\nmetadata:\n  spec: {}\n  app: web\n",
            &[
                "f:1:1: warning: NetworkPolicy: spec: is missing, so the policy isolates every pod of its namespace for ingress",
                r#"f:3:1: error: NetworkPolicy: name: unknown field "name"; it belongs under metadata"#,
                "f:4:1: error: NetworkPolicy: metadata.name: is missing; every object needs a name",
                r#"f:5:3: error: NetworkPolicy: metadata.spec: unknown field "spec"; it belongs beside metadata, indented less"#,
                r#"f:6:3: error: NetworkPolicy: metadata.app: unknown field "app"; a label belongs under metadata.labels"#,
            ],
        ),
        (
            "names",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: my.ns, namespace: x, labels: {a: \"b c\"}}\n",
            &[
                r#"f:3:18: error: Namespace my.ns: metadata.name: "my.ns" is not a valid name: lower-case letters, digits and '-', beginning and ending with a letter or digit"#,
                "f:3:36: warning: Namespace my.ns: metadata.namespace: has no effect; a Namespace is in no namespace",
                r#"f:3:51: error: Namespace my.ns: metadata.labels[a]: "b c" is not a label value: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"#,
            ],
        ),
    ];
    for (name, text, expected) in cases {
        check(name, text, expected);
    }
}

#[test]
fn lists() {
    let text = "\
apiVersion: v1
kind: List
metadata: {resourceVersion: ''}
extra: 1
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: dev}
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicyList
  items:
  - metadata: {name: web, namespace: dev}
    spec: {podSelectr: {}}
  - metadata: {name: db, namespace: dev}
    spec: {}
- apiVersion: v1
  kind: PodList
  items: {}
";
    check(
        "lists in lists",
        text,
        &[
            r#"f:4:1: error: List: extra: unknown field "extra"; one of apiVersion, kind, metadata, items"#,
            r#"f:13:12: error: NetworkPolicy dev/web: spec.podSelectr: unknown field "podSelectr"; did you mean podSelector?"#,
            "f:18:3: error: PodList: items: must be a list, not an object; put a '-' before its first field",
        ],
    );
    let loaded = parse("f", text, Validation::Strict);
    let names: Vec<String> = loaded.objects.iter().map(|one| one.key().to_string()).collect();
    assert_eq!(names, ["/dev", "dev/web", "dev/db"]);
}
