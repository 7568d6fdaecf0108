//! Fields that are unknown, misplaced, repeated or of the wrong type.

use super::*;

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
                "8:3: spec.podSelector: is given twice (first on line 7); a second peer is an item of its own, with a '-' before it",
                "11:5: spec.ingress[0].ports: is given twice (first on line 10); a second port is a further item of the first list",
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
                r#"9:12: spec.podSelector.matchLabels[app]: must be text, not the boolean yes; quote it: "yes""#,
                r#"w 10:7: spec.podSelector.matchLabels[false]: the unquoted key n is read as false; quote it: "n""#,
                r#"10:10: spec.podSelector.matchLabels[false]: must be text, not the number 1; quote it: "1""#,
                r#"11:10: spec.podSelector.matchLabels[v]: must be text, not the number 1.0; quote it: "1.0""#,
                r#"12:10: spec.podSelector.matchLabels[o]: must be text, not the number 010; quote it: "010""#,
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
            &["7:3: spec.ingress: must be a list, not an object; put a space after the '-'"],
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
