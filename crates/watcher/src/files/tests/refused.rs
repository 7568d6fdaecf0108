//! Values that the API server would refuse.

use super::*;

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
                r#"13:14: spec.ingress[0].ports[4].port: "80" in quotes is a name, and a name needs a letter; write the number 80"#,
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
                "13:23: spec.ingress[0].from[4].ipBlock.cidr: 010.244.1.3/24 is read as 10.244.1.0/24; write that instead (API servers refuse new ones like it from Kubernetes 1.36 on)",
                "14:7: spec.ingress[0].from[5]: has ipBlock beside podSelector or namespaceSelector and allows nothing; make them two items of the list",
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
            &["w 8:3: spec.ingress: has rules without effect, because policyTypes lacks Ingress"],
        ),
        (
            "egress without policyTypes",
            "  egress: [{}]\n",
            &[
                "w 6:1: spec.policyTypes: is missing, so the policy isolates ingress too and allows none; write policyTypes: [Egress] if only egress is meant",
            ],
        ),
        (
            "empty egress without policyTypes",
            "  egress: []\n",
            &[
                "w 7:3: spec.egress: is empty and policyTypes is missing, so egress is not isolated; write policyTypes: [Ingress, Egress] or [Egress] to deny it",
            ],
        ),
    ];
    for (name, spec, expected) in cases {
        check_spec(name, spec, expected);
    }
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
                "f:4:9: warning: Pod dev/web: status.podIPs: is empty; no rule applies to a pod without an address",
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
