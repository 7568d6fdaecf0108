//! Manifests as people write them, and what is said of them.

use std::fmt::Write;

use super::*;
use crate::Kind;

/// The head of a policy whose spec follows; spec fields begin in line 7.
const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: dev
spec:
";

/// The head of a pod whose spec follows.
const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: dev
";

fn findings(text: &str) -> String {
    let loaded = parse("f", text, Validation::Strict);
    loaded.findings.iter().fold(String::new(), |mut lines, finding| {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{finding}");
        lines
    })
}

/// Compares what is said of a text with the expected lines.
#[track_caller]
fn check(name: &str, text: &str, expected: &[&str]) {
    let found = findings(text);
    let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(found, expected, "{name}\n{text}");
}

/// Like [`check`] for a policy's spec; `f:L:C: error: NetworkPolicy dev/web: `
/// is left out of the expected lines but for `L:C`, and a warning has `w `
/// before it.
#[track_caller]
fn check_spec(name: &str, spec: &str, expected: &[&str]) {
    let found = findings(&format!("{POLICY}{spec}"));
    let short: String = found
        .lines()
        .map(|line| {
            let line = line.strip_prefix("f:").unwrap_or(line);
            let line = line.replacen(" error: NetworkPolicy dev/web: ", " ", 1);
            match line.contains(" warning: NetworkPolicy dev/web: ") {
                true => {
                    format!("w {}\n", line.replacen(" warning: NetworkPolicy dev/web: ", " ", 1))
                }
                false => format!("{line}\n"),
            }
        })
        .collect();
    let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(short, expected, "{name}\n{spec}");
}

#[test]
fn unknown_and_misplaced_fields() {
    type Case<'a> = (&'a str, &'a str, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        ("clean", "  podSelector: {}\n  policyTypes: [Ingress]\n", &[]),
        (
            "a slip",
            "  podSelectr: {}\n",
            &[r#"7:3: spec.podSelectr: unknown field "podSelectr"; did you mean podSelector?"#],
        ),
        (
            "capitals",
            "  podselector: {}\n",
            &[r#"7:3: spec.podselector: unknown field "podselector"; did you mean podSelector?"#],
        ),
        (
            "singular",
            "  podSelector: {}\n  policyType: [Ingress]\n",
            &[r#"8:3: spec.policyType: unknown field "policyType"; did you mean policyTypes?"#],
        ),
        (
            "no idea",
            "  podSelector: {}\n  zzzzzz: 1\n",
            &[
                r#"8:3: spec.zzzzzz: unknown field "zzzzzz"; one of egress, ingress, podSelector, policyTypes"#,
            ],
        ),
        (
            "labels beside the selector, which has some",
            "  podSelector:\n    matchLabels: {a: b}\n  matchLabels: {app: web}\n",
            &[
                r#"9:3: spec.matchLabels: unknown field "matchLabels"; it belongs under podSelector"#,
            ],
        ),
        (
            "from and ports under spec",
            "  podSelector: {}\n  from: []\n  to: []\n  ports: []\n",
            &[
                r#"8:3: spec.from: unknown field "from"; it belongs in an item of ingress"#,
                r#"9:3: spec.to: unknown field "to"; it belongs in an item of egress"#,
                r#"10:3: spec.ports: unknown field "ports"; it belongs in an item of ingress or egress, beside from or to"#,
            ],
        ),
        (
            "to in an ingress rule, from in an egress rule",
            "  podSelector: {}\n  ingress: [{to: []}]\n  egress: [{from: []}]\n",
            &[
                r#"8:14: spec.ingress[0].to: unknown field "to"; an ingress rule has from; to belongs to egress"#,
                r#"9:13: spec.egress[0].from: unknown field "from"; an egress rule has to; from belongs to ingress"#,
            ],
        ),
        (
            "cidr without ipBlock, selector without from, port without ports",
            "  ingress:\n  - from:\n    - cidr: 10.0.0.0/8\n  - podSelector: {}\n    port: 80\n",
            &[
                r#"9:7: spec.ingress[0].from[0].cidr: unknown field "cidr"; it belongs under ipBlock"#,
                r#"10:5: spec.ingress[1].podSelector: unknown field "podSelector"; it belongs in an item of from"#,
                r#"11:5: spec.ingress[1].port: unknown field "port"; it belongs in an item of ports"#,
            ],
        ),
        (
            "matchLabels indented too little",
            "  ingress:\n  - from:\n    - podSelector:\n      matchLabels: {app: web}\n",
            &[
                "w 9:7: spec.ingress[0].from[0].podSelector: has no value and counts as absent; write {} for all of them",
                r#"10:7: spec.ingress[0].from[0].matchLabels: unknown field "matchLabels"; it belongs under podSelector or namespaceSelector, indented more"#,
            ],
        ),
        (
            "labels straight in the selector",
            "  podSelector: {app: web}\n",
            &[
                r#"7:17: spec.podSelector.app: unknown field "app"; labels belong under matchLabels"#,
            ],
        ),
        (
            "ports in a peer, namespace in a peer",
            "  ingress:\n  - from:\n    - podSelector: {}\n      ports: []\n      namespace: prod\n",
            &[
                r#"10:7: spec.ingress[0].from[0].ports: unknown field "ports"; it belongs to the rule, as an item of ports beside from or to"#,
                r#"11:7: spec.ingress[0].from[0].namespace: unknown field "namespace"; a peer names a namespace by namespaceSelector with matchLabels {kubernetes.io/metadata.name: NAME}"#,
            ],
        ),
        (
            "value for values",
            "  podSelector: {matchExpressions: [{key: a, operator: In, value: b}]}\n",
            &[
                r#"7:59: spec.podSelector.matchExpressions[0].value: unknown field "value"; did you mean values, which is a list?"#,
            ],
        ),
        (
            "endport, name of a port",
            "  ingress: [{ports: [{port: 1, endport: 2}, {name: http}]}]\n",
            &[
                r#"7:32: spec.ingress[0].ports[0].endport: unknown field "endport"; did you mean endPort?"#,
                r#"7:46: spec.ingress[0].ports[1].name: unknown field "name"; did you mean port?"#,
            ],
        ),
        (
            "a key twice",
            "  podSelector: {}\n  podSelector: {}\n  ingress:\n  - ports: []\n    ports: []\n",
            &[
                "8:3: spec.podSelector: stands twice, first in line 7; a second peer is an item of its own, with a '-' before it",
                "11:5: spec.ingress[0].ports: stands twice, first in line 10; a second port is a further item of the first list",
            ],
        ),
        (
            "policyTypes in a rule",
            "  ingress:\n  - from: []\n    policyTypes: [Ingress]\n",
            &[
                r#"9:5: spec.ingress[0].policyTypes: unknown field "policyTypes"; it belongs under spec, indented less"#,
            ],
        ),
    ];
    for (name, spec, expected) in cases {
        check_spec(name, spec, expected);
    }
}

#[test]
fn values_of_the_wrong_type() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "unquoted scalars as labels, all of them named",
            "  podSelector:\n    matchLabels:\n      app: yes\n      n: 1\n      v: 1.0\n      o: 010\n      z: x\n",
            &[
                r#"9:12: spec.podSelector.matchLabels[app]: must be text, and unquoted this is the boolean yes; quote it: "yes""#,
                r#"w 10:7: spec.podSelector.matchLabels[false]: the unquoted key n is read as false; quote it: "n""#,
                r#"10:10: spec.podSelector.matchLabels[false]: must be text, and unquoted this is the number 1; quote it: "1""#,
                r#"11:10: spec.podSelector.matchLabels[v]: must be text, and unquoted this is the number 1.0; quote it: "1.0""#,
                r#"12:10: spec.podSelector.matchLabels[o]: must be text, and unquoted this is the number 010; quote it: "010""#,
            ],
        ),
        (
            "an object for a list, a text for a list",
            "  ingress:\n    from: []\n  policyTypes: Ingress\n",
            &[
                "7:3: spec.ingress: must be a list, not an object; put a '-' before its first field",
                r#"9:16: spec.policyTypes: must be a list, not the text "Ingress"; write [Ingress]"#,
            ],
        ),
        (
            "no blank after the dash",
            "  ingress:\n    -from: []\n",
            &["7:3: spec.ingress: must be a list, not an object; put a blank after the '-'"],
        ),
        (
            "a list for an object, texts for objects",
            "  podSelector:\n  - matchLabels: {}\n  ingress:\n  - from:\n    - ipBlock: 10.0.0.0/8\n    - podSelector: web\n    ports: [80]\n",
            &[
                "7:3: spec.podSelector: must be an object, not a list; leave out the '-'",
                r#"11:16: spec.ingress[0].from[0].ipBlock: must be an object, not the text "10.0.0.0/8"; write "cidr: 10.0.0.0/8" under it"#,
                r#"12:20: spec.ingress[0].from[1].podSelector: must be an object, not the text "web"; labels go under matchLabels"#,
                r#"13:13: spec.ingress[0].ports[0]: must be an object, not the number 80; write "- port: 80""#,
            ],
        ),
        (
            "numbers",
            "  ingress:\n  - ports:\n    - {port: 80, endPort: \"90\"}\n    - {port: 1.5}\n    - {port: 99999999999}\n    - {port: true}\n    - {port: 80.0}\n",
            &[
                r#"9:27: spec.ingress[0].ports[0].endPort: must be a number, not the text "90"; leave out the quotes"#,
                "10:14: spec.ingress[0].ports[1].port: must be a whole number, not the number 1.5",
                "11:14: spec.ingress[0].ports[2].port: must be between -2147483648 and 2147483647, not 99999999999",
                "12:14: spec.ingress[0].ports[3].port: must be a number or a name, not the boolean true",
            ],
        ),
        (
            "nothing where it matters",
            "  podSelector:\n  ingress:\n  - from:\n    ports:\n  -\n",
            &[
                "w 7:3: spec.podSelector: has no value and counts as absent; write {} for all of them",
                "w 9:5: spec.ingress[0].from: has no value, which counts as anyone",
                "w 10:5: spec.ingress[0].ports: has no value, which counts as every port",
                "w 11:4: spec.ingress[1]: is an empty item, which counts as {}",
            ],
        ),
        (
            "the whole spec",
            "- 1\n",
            &["6:1: spec: must be an object, not a list; leave out the '-'"],
        ),
    ];
    for (name, spec, expected) in cases {
        check_spec(name, spec, expected);
    }
}

#[test]
fn what_the_api_server_refuses() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "operators",
            "  podSelector:\n    matchExpressions:\n    - {key: a, operator: in, values: [b]}\n    - {key: a, operator: Exists, values: [b]}\n    - {key: a, operator: \"!=\", values: [b]}\n    - {operator: Foo}\n",
            &[
                r#"9:26: spec.podSelector.matchExpressions[0].operator: unknown operator "in"; did you mean In?"#,
                "10:34: spec.podSelector.matchExpressions[1].values: must be left out; operator Exists looks at the key alone",
                r#"11:26: spec.podSelector.matchExpressions[2].operator: unknown operator "!="; did you mean NotIn?"#,
                "12:7: spec.podSelector.matchExpressions[3].key: is missing",
                r#"12:18: spec.podSelector.matchExpressions[3].operator: unknown operator "Foo"; one of In, NotIn, Exists, DoesNotExist"#,
            ],
        ),
        (
            "label keys and values",
            "  podSelector:\n    matchLabels:\n      a b: c\n      d: \"e f\"\n",
            &[
                r#"9:12: spec.podSelector.matchLabels[a b]: "a b" is not a label key: an optional DNS prefix with a slash, then at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"#,
                r#"10:10: spec.podSelector.matchLabels[d]: "e f" is not a label value: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"#,
            ],
        ),
        (
            "ports",
            "  ingress:\n  - ports:\n    - {protocol: tcp, port: 80}\n    - {protocol: ICMP}\n    - {port: 0}\n    - {port: 65536}\n    - {port: \"80\"}\n    - {port: HTTP}\n    - {port: web, endPort: 90}\n    - {endPort: 90}\n    - {port: 90, endPort: 80}\n    - {port: 1, endPort: 65536}\n",
            &[
                r#"9:18: spec.ingress[0].ports[0].protocol: unknown protocol "tcp"; did you mean TCP?"#,
                r#"10:18: spec.ingress[0].ports[1].protocol: unknown protocol "ICMP"; ports are of TCP, UDP or SCTP, and only a rule without ports allows ICMP"#,
                "11:14: spec.ingress[0].ports[2].port: 0 is not a port; 1 to 65535",
                "12:14: spec.ingress[0].ports[3].port: 65536 is not a port; 1 to 65535",
                r#"13:14: spec.ingress[0].ports[4].port: "80" in quotes is a name without a letter; write the number 80"#,
                r#"14:14: spec.ingress[0].ports[5].port: "HTTP" is not a port name: at most 15 lower-case letters, digits and '-', with a letter; did you mean "http"?"#,
                r#"15:28: spec.ingress[0].ports[6].endPort: needs a numeric port, and "web" is a name"#,
                "16:17: spec.ingress[0].ports[7].endPort: needs port, the first of the range",
                "17:27: spec.ingress[0].ports[8].endPort: 80 is below port 90",
                "18:26: spec.ingress[0].ports[9].endPort: 65536 is not a port; 1 to 65535",
            ],
        ),
        (
            "blocks",
            "  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.1}\n    - ipBlock: {cidr: 10.0.0.0/33}\n    - ipBlock: {cidr: 10.244.0.0/16, except: [10.245.0.0/24, 10.244.0.0/16, x]}\n    - ipBlock: {}\n    - ipBlock: {cidr: 010.244.1.3/24}\n    - {ipBlock: {cidr: \"::/0\"}, podSelector: {}}\n    - {}\n",
            &[
                r#"9:23: spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.1" is an address, not a CIDR; did you mean 10.0.0.1/32?"#,
                r#"10:23: spec.ingress[0].from[1].ipBlock.cidr: "10.0.0.0/33" is not a CIDR, such as 10.9.8.0/24 or 2001:db8::/64"#,
                "11:47: spec.ingress[0].from[2].ipBlock.except[0]: 10.245.0.0/24 is not strictly within cidr 10.244.0.0/16",
                "11:62: spec.ingress[0].from[2].ipBlock.except[1]: 10.244.0.0/16 is not strictly within cidr 10.244.0.0/16",
                r#"11:77: spec.ingress[0].from[2].ipBlock.except[2]: "x" is not a CIDR, such as 10.9.8.0/24 or 2001:db8::/64"#,
                "12:7: spec.ingress[0].from[3].ipBlock.cidr: is missing, such as 10.9.8.0/24 or 2001:db8::/64",
                "w 13:23: spec.ingress[0].from[4].ipBlock.cidr: 010.244.1.3/24 is read as 10.244.1.0/24; write it so",
                "14:7: spec.ingress[0].from[5]: has ipBlock beside a selector; make them two items of the list (an ipBlock may not stand with podSelector or namespaceSelector), this one allows nothing",
                "15:7: spec.ingress[0].from[6]: is empty and allows nothing; it needs podSelector, namespaceSelector or ipBlock",
            ],
        ),
        (
            "policy types",
            "  policyTypes: [ingress, Both, Egress]\n",
            &[
                "7:3: spec.policyTypes: has more than two items; Ingress, Egress or both",
                r#"7:17: spec.policyTypes[0]: unknown policy type "ingress"; did you mean Ingress?"#,
                r#"7:26: spec.policyTypes[1]: unknown policy type "Both"; Ingress or Egress"#,
            ],
        ),
        ("the same type twice is valid", "  policyTypes: [Ingress, Ingress]\n", &[]),
        (
            "dead letters",
            "  policyTypes: [Egress]\n  ingress: [{}]\n",
            &["w 8:3: spec.ingress: has rules that do nothing: policyTypes lacks Ingress"],
        ),
        (
            "egress without policyTypes",
            "  egress: [{}]\n",
            &[
                "w 6:1: spec.policyTypes: is missing: the policy isolates ingress too and allows none; write policyTypes: [Egress] if only egress is meant",
            ],
        ),
        (
            "empty egress without policyTypes",
            "  egress: []\n",
            &[
                "w 7:3: spec.egress: is empty and policyTypes is missing: egress is not isolated; write policyTypes: [Ingress, Egress] or [Egress] to deny it",
            ],
        ),
    ];
    for (name, spec, expected) in cases {
        check_spec(name, spec, expected);
    }
}

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
                "f:2:18: warning: Pod default/web: status.podIPs: is empty: without an address no rule concerns the pod",
            ],
        ),
        (
            "no kind",
            "apiVersion: v1\nkin: Pod\nmetadata: {name: web}\n",
            &[
                r#"f:1:1: error: kind: is missing; is "kin" in its place? write kind: NetworkPolicy, Pod or Namespace"#,
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
                "f:1:1: warning: NetworkPolicy: spec: is missing: the policy isolates every pod of its namespace for ingress",
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
                "f:3:36: error: Namespace my.ns: metadata.namespace: must be left out; a Namespace stands in none",
                r#"f:3:51: error: Namespace my.ns: metadata.labels[a]: "b c" is not a label value: at most 63 letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"#,
            ],
        ),
    ];
    for (name, text, expected) in cases {
        check(name, text, expected);
    }
}

#[test]
fn long_names() {
    let policy =
        |name: &str| format!("{}spec: {{}}\n", POLICY.replace("web", name).replace("spec:\n", ""));
    check("253 characters", &policy(&"a".repeat(253)), &[]);
    let found = findings(&policy(&"a".repeat(254)));
    assert!(
        found.contains("metadata.name: the name has 254 characters, at most 253 are valid"),
        "{found}"
    );
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

#[test]
fn pods() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "clean",
            "spec:\n  containers:\n  - name: c\n    image: i\n    resources: {limits: {cpu: 1, memory: 64Mi}}\nstatus: {podIP: 10.0.0.1}\n",
            &[],
        ),
        (
            "addresses, phase, ports",
            "spec:\n  containers:\n  - ports: [{name: HTTP, containerPort: 0}, {containerPort: 80, protocol: tcp}]\nstatus:\n  phase: running\n  podIPs: [{ip: 10.0.0.1}, {ip: 10.0.0.2}, {ip: x}]\n",
            &[
                r#"f:8:20: error: Pod dev/web: spec.containers[0].ports[0].name: "HTTP" is not a port name: at most 15 lower-case letters, digits and '-', with a letter; did you mean "http"?"#,
                "f:8:41: error: Pod dev/web: spec.containers[0].ports[0].containerPort: 0 is not a port; 1 to 65535",
                r#"f:8:75: error: Pod dev/web: spec.containers[0].ports[1].protocol: unknown protocol "tcp"; did you mean TCP?"#,
                r#"f:10:10: error: Pod dev/web: status.phase: unknown phase "running"; did you mean Running?"#,
                "f:11:3: error: Pod dev/web: status.podIPs: 10.0.0.2 is a second address of its family; at most one of each is valid",
                r#"f:11:49: error: Pod dev/web: status.podIPs[2].ip: "x" is not an IP address"#,
            ],
        ),
        (
            "no address",
            "spec: {containers: []}\n",
            &[
                "f:4:9: warning: Pod dev/web: status.podIPs: is empty: without an address no rule concerns the pod",
            ],
        ),
        ("no address, ended", "status: {phase: Succeeded}\n", &[]),
        (
            "a time that is none",
            "status: {podIP: 10.0.0.1, startTime: today}\n",
            &[
                r#"f:6:38: error: Pod dev/web: status.startTime: must be a time such as 2026-01-02T15:04:05Z, not the text "today""#,
            ],
        ),
        (
            "a field of a container in the spec",
            "spec: {ports: [], nodeNme: x}\nstatus: {podIP: 10.0.0.1}\n",
            &[
                r#"f:6:8: error: Pod dev/web: spec.ports: unknown field "ports"; it belongs under an item of containers"#,
                r#"f:6:19: error: Pod dev/web: spec.nodeNme: unknown field "nodeNme"; did you mean nodeName?"#,
            ],
        ),
    ];
    for (name, rest, expected) in cases {
        check(name, &format!("{POD}{rest}"), expected);
    }
}

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
            "f:9:18: warning: Pod default/old: status.podIPs: 10.0.0.1 is the address of Pod default/new too, in f:4, which is newer and has it",
        ],
    );
    check(
        "one object twice",
        &format!("{new}{new}"),
        &["f:9:18: error: Pod default/new: metadata.name: the same object stands in f:4"],
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
fn syntax() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "tab",
            "a:\n\tb: 1\n",
            "2:2: error: not valid YAML: a tab indents this line; YAML is indented by blanks",
        ),
        (
            "template",
            "a: 1\n{{ if x }}\n",
            "2:1: error: not valid YAML: this is a template; render it first",
        ),
        (
            "conflict",
            "<<<<<<< HEAD\na: 1\n",
            "2:2: error: not valid YAML: a merge conflict stands in the file",
        ),
        (
            "under a value",
            "a: 1\n  b: 2\n",
            "2:3: error: not valid YAML: b is indented under \"a: 1\", whose value is complete; indent both lines alike",
        ),
        (
            "under a value with a comment",
            "a: 1 # c\n  b: 2\n",
            "1:6: error: not valid YAML: the next line is indented as if it went on with this value",
        ),
        (
            "under a finished list",
            "a: []\n  - b\n",
            "2:3: error: not valid YAML: - b is indented under the finished value [] of a; it belongs inside a, without the []",
        ),
        (
            "odd indentation",
            "a:\n  b: 1\n c: 2\n",
            "3:2: error: not valid YAML: c is indented by 1, where 0 or 2 would fit",
        ),
        (
            "field among items",
            "a:\n  - b\n  c: 2\n",
            "3:3: error: not valid YAML: c stands where an item of the list above is expected; indent it to belong to the item, or less to end the list",
        ),
        (
            "item among fields",
            "a:\n  b: 1\n  - c\n",
            "3:3: error: not valid YAML: a list item stands among the fields of a; the name of its list is missing before it",
        ),
        (
            "no blank after the colon",
            "a:b\nc: 1\n",
            "2:2: error: not valid YAML: a blank is missing after the ':' of \"a:b\"",
        ),
        (
            "no colon",
            "a: 1\nfoo\nb: 2\n",
            "3:1: error: not valid YAML: \"foo\" has no ':' after it",
        ),
        (
            "two colons",
            "a: b: c\n",
            "1:5: error: not valid YAML: a second ':' stands in this line; quote the value, or begin a new line",
        ),
        (
            "open quote",
            "a: \"x\nb: 1\n",
            "1:4: error: not valid YAML: a quote that begins here is not closed",
        ),
        (
            "behind a quote",
            "{\"a\" 1}\n",
            "1:6: error: not valid YAML: something stands right behind a closing quote",
        ),
        (
            "unknown escape",
            "a: \"\\q\"\n",
            "1:4: error: not valid YAML: YAML does not know this '\\' escape; write \"\\\\\" or use single quotes",
        ),
        (
            "open bracket",
            "a: [1, 2\n",
            "1:1: error: not valid YAML: a ',' is missing before here, or a '[' or '{' is not closed or closed twice",
        ),
        (
            "no comma in JSON",
            "{\"a\": 1\n \"b\": 2}\n",
            "2:5: error: not valid YAML: a ',' is missing before here, or a '[' or '{' is not closed or closed twice",
        ),
        (
            "reserved",
            "a: @x\n",
            "1:4: error: not valid YAML: a value cannot begin with @; quote it: \"@x\"",
        ),
        (
            "unknown alias",
            "a: *x\n",
            "1:4: error: not valid YAML: *x is an alias, and nothing has that name; quote it: \"*x\"",
        ),
        (
            "two JSON values",
            "{kind: x}\n{kind: y}\n",
            "2:1: error: not valid YAML: a second value follows the first; put \"---\" between them, or a List around them",
        ),
        (
            "deep in brackets",
            &"[".repeat(1000),
            "1:256: error: not valid YAML: values are nested too deep",
        ),
        (
            "deep in dashes",
            &"- ".repeat(1000),
            "1:203: error: values are nested more than 100 levels deep",
        ),
    ];
    for (name, text, expected) in cases {
        let found = findings(text);
        // What came before the error is looked at in other tests.
        let found: Vec<&str> = found
            .lines()
            .filter_map(|line| line.strip_prefix("f:"))
            .filter(|line| line.contains("YAML") || line.contains("nested"))
            .collect();
        assert_eq!(found, [*expected], "{name}\n{text}");
    }
}

#[test]
fn one_bad_document_loses_no_other() {
    let text = "\
# a comment
---
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
kind: [
---
apiVersion: v1
kind: Namespace
metadata: {name: b}
--- # the last
apiVersion: v1
kind: Namespace
metadata: {name: c, lables: {}}
";
    let loaded = parse("f", text, Validation::Strict);
    let names: Vec<String> = loaded.objects.iter().map(|one| one.key().name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    check(
        "lines are those of the file",
        text,
        &[
            "f:7:1: error: not valid YAML: a value is missing here, or a '[' or '{' is not closed before",
            r#"f:15:21: error: Namespace c: metadata.lables: unknown field "lables"; did you mean labels?"#,
        ],
    );
}

#[test]
fn texts_of_all_sorts() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    check("byte order mark", &format!("\u{feff}{namespace}"), &[]);
    check("CRLF", &namespace.replace('\n', "\r\n"), &[]);
    check("nothing", "", &[]);
    check("comments and empty documents", "# a\n---\n# b\n---\n...\n", &[]);
    check("directive", &format!("%YAML 1.2\n---\n{namespace}"), &[]);
    check("NUL", "a: 1\nb\0: 2\n", &["f:2:2: error: is not text (a NUL byte)"]);
    check(
        "JSON with tabs, a trailing comma and surrogates",
        "{\"apiVersion\":\"v1\",\n\t\"kind\":\"Namespace\",\"metadata\":{\"name\":\"a\",\"annotations\":{\"a\":\"\\ud83d\\ude00\\/\"},},}\n",
        &[],
    );
    check(
        "anchors and merge keys",
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  labels: &l {a: b, c: d}\n  annotations: {<<: *l, a: e}\n",
        &[],
    );
    let loaded = parse("f", &String::from_utf8_lossy(b"kind: Pod\xff"), Validation::Strict);
    assert!(loaded.has_errors());
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
fn warn_keeps_what_has_a_name() {
    let text = format!(
        "{POLICY}  foo: 1\n---\n{}---\n{}---\n{}---\n{}",
        POLICY.replace("name: web", "name: Web"),
        POLICY.replace("name: web", "nam: web"),
        POLICY.replace("name: web", "name: 5"),
        POLICY.replace("namespace: dev", "namespace: [dev]"),
    );
    let loaded = parse("f", &text, Validation::Warn);
    let kept: Vec<(Kind, String)> =
        loaded.objects.iter().map(|one| (one.kind(), one.key().to_string())).collect();
    assert_eq!(
        kept,
        [
            (Kind::NetworkPolicy, "dev/web".to_owned()),
            (Kind::NetworkPolicy, "dev/Web".to_owned()),
            (Kind::Namespace, "/dev".to_owned()),
        ]
    );
    let left_out = loaded.findings.iter().filter(|one| one.message.starts_with("is left out"));
    assert_eq!(left_out.count(), 3);
}

/// What an unknown or repeated field was meant to narrow stays shut.
#[test]
fn warn_allows_nothing_by_a_part_with_an_unknown_field() {
    let cases = [
        ("a misspelt from", "ingress: [{form: [{podSelector: {}}]}]", "[nobody]"),
        ("a misspelt ports", "ingress: [{port: [{port: 80}]}]", "[nobody]"),
        ("a misspelt peer", "ingress: [{from: [{podSelectr: {}}, {podSelector: {}}]}]", "[1 peer]"),
        (
            "a label beside matchLabels",
            "ingress: [{from: [{podSelector: {app: web}}]}]",
            "[0 peers]",
        ),
        ("ports twice", "ingress: [{ports: [{port: 80}], ports: [{port: 81}]}]", "[nobody]"),
        ("a misplaced matchLabels", "matchLabels: {app: web}\n  ingress: [{}]", "no rule"),
        ("a misspelt policyTypes", "policyType: [Egress]\n  ingress: [{}]", "no rule"),
    ];
    for (name, spec, expected) in cases {
        let text = format!("{POLICY}  podSelector: {{}}\n  {spec}\n");
        let loaded = parse("f", &text, Validation::Warn);
        let policy = loaded.objects.iter().find_map(|object| match object {
            Object::NetworkPolicy(policy) => Some(policy),
            _ => None,
        });
        let rules = policy.and_then(|policy| policy.ingress.as_deref()).unwrap();
        let seen: Vec<String> = rules
            .iter()
            .map(|rule| match (&rule.peers, &rule.ports) {
                (policy::Peers::Only(peers), policy::Ports::Only(ports))
                    if peers.is_empty() && ports.is_empty() =>
                {
                    "nobody".to_owned()
                }
                (policy::Peers::Only(peers), _) if peers.len() == 1 => "1 peer".to_owned(),
                (policy::Peers::Only(peers), _) => format!("{} peers", peers.len()),
                (policy::Peers::Anyone, _) => "anyone".to_owned(),
            })
            .collect();
        let seen = match seen.is_empty() {
            true => "no rule".to_owned(),
            false => format!("[{}]", seen.join(", ")),
        };
        assert_eq!(seen, expected, "{name}");
    }
}
