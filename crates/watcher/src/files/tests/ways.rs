//! Objects read without a tree, and documents read as one tree, are the same and
//! have the same findings.

use std::path::Path;

use proptest::prelude::*;

use super::super::document::Counts;
use super::*;

/// Manifests in which nothing is wrong, in every way in which lists and documents
/// are written, and some in which much is.
const SEEDS: [&str; 12] = [
    include_str!("../../../tests/fixtures/corrected/3-allow-myapp-ingress.yaml"),
    include_str!("../../../tests/fixtures/broken/3b-allow-myapp-ingress.yaml"),
    // As `kubectl get -o json` writes it.
    r#"{
    "apiVersion": "v1",
    "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "b", "labels": {"a": "b"}, "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"fieldsV1": {"f:a": {}}}]},
         "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}], "resources": {"limits": {"cpu": 1}}, "livenessProbe": {"httpGet": {"port": "http"}}}]},
         "status": {"podIPs": [{"ip": "10.0.0.1"}], "phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null}]}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}
    ],
    "kind": "List",
    "metadata": {"resourceVersion": ""}
}
"#,
    // As `kubectl get -o yaml` writes it.
    "apiVersion: v1\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata:\n    name: a\n    namespace: b\n  spec:\n    egress:\n    - ports:\n      - port: 53\n        protocol: UDP\n    podSelector: {}\n    policyTypes:\n    - Egress\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: b\nkind: List\nmetadata:\n  resourceVersion: \"\"\n",
    // As the API server writes it, and sorted.
    r#"{"kind":"NamespaceList","apiVersion":"v1","metadata":{},"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}"#,
    r#"{"apiVersion":"v1","items":[{"metadata":{"name":"a"}},{"kind":"Namespace","metadata":{"name":"b"}}],"kind":"NamespaceList"}"#,
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: &m {name: a, labels: {a: b}}\n  spec: {containers: []}\n- {apiVersion: v1, kind: Namespace, metadata: *m}\n- {<<: {kind: Namespace}, apiVersion: v1, metadata: {name: c}}\n",
    "kind: List\nitems: [1]\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\nmore: 1\n---\nkind: Secret\nitems: [a]\n---\n- a\n---\nkind: Pod\nitems: []\napiVersion: v1\n",
    "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n...\n{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n---\n~\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, ports: [{containerPort: 80}, {containerPort: 8080}]}]}\nstatus: {podIP: 10.0.0.1}\n",
    "{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\",\n \"metadata\": {\"name\": \"allow-ingress\"},\n \"spec\": {\"podSelector\": {\"matchExpressions\": [{\"key\": \"a\", \"operator\": \"In\", \"values\": [\"\\ud83d\\ude00\"]}]},\n  \"ingress\": [], \"egress\": [{\"to\": [{\"namespaceSelector\": {}}], \"ports\": [{\"port\": \"dns\", \"protocol\": \"UDP\"}]}]}}\n",
    // As `kubectl get --show-managed-fields` writes it, with a repeated key that nobody reads.
    r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"a","managedFields":[{"manager":"m","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:a":{},"f:a":[1,{"b":null}]}},{"fieldsV1":[]}]},"spec":{"podSelector":{}}}"#,
    "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  managedFields:\n  - fieldsV1:\n      f:a: [&x {b: c}, d]\n      f:b: *x\n    manager: m\n  - fieldsV1: &y {a: 1}\n  - fieldsV1: *y\n",
];

/// Pieces with a meaning in YAML or in the API.
const PIECES: [&str; 56] = [
    "{",
    "}",
    "[",
    "]",
    "- ",
    ": ",
    "\n",
    "\n  ",
    "\t",
    "&a ",
    "*a",
    "<<: ",
    "|",
    ">-",
    "\"",
    "'",
    "---\n",
    "...\n",
    "# ",
    "!!int ",
    "? ",
    "%",
    "@",
    "~",
    "yes",
    "0x",
    "\\u",
    "\u{feff}",
    "null",
    "\\n",
    "\\/",
    "\\u00e9",
    "\u{e9}",
    "\u{85}",
    "\u{2028}",
    "\u{7f}",
    "\r\n",
    "\r",
    "\t",
    "1e3",
    "-0",
    "010",
    "\"a\": 1, ",
    "kind",
    "items",
    "items: [",
    "name",
    "metadata: ",
    "List",
    "Pod",
    "80",
    "80.0",
    ", ",
    "a: 1\n",
    "fieldsV1",
    "\"fieldsV1\": {",
];

fn read(text: &str, validation: Validation, only_trees: bool) -> (Loaded, Counts) {
    let mut reading = Reading::new(validation);
    reading.reader.only_trees = only_trees;
    reading.bytes("f", text.as_bytes());
    let counts = reading.reader.counts;
    (reading.finish(), counts)
}

/// Reads in both ways. Returns how the objects were read.
#[track_caller]
fn compare(text: &str) -> Counts {
    let (warned, _) = read(text, Validation::Warn, false);
    assert_eq!(warned, read(text, Validation::Warn, true).0, "{text}");
    let (loaded, counts) = read(text, Validation::Strict, false);
    let (expected, trees) = read(text, Validation::Strict, true);
    assert_eq!(loaded, expected, "{text}");
    assert_eq!(trees.plain, 0);
    counts
}

#[test]
fn objects_without_a_mistake_need_no_tree() {
    let read = |text: &str| {
        let Counts { plain, trees } = compare(text);
        (plain, trees)
    };
    // The fields of a list beside its items are a tree. The sixth is read twice.
    let expected = [
        (1, 0),
        (0, 1),
        (2, 1),
        (2, 1),
        (2, 1),
        (2, 3),
        (0, 4),
        (0, 7),
        (3, 0),
        (0, 1),
        (1, 0),
        (0, 1),
    ];
    assert_eq!(SEEDS.map(read), expected);
}

/// `fieldsV1` is a field only where it is a key.
#[test]
fn a_value_after_the_text_fields_v1_is_read() {
    let head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n";
    for from in [
        "[fieldsV1, {podSelector: {matchLabels: {a: b}}}]",
        "[{podSelector: {matchLabels: {fieldsV1: fieldsV1, c: {a: b}}}}]",
        "[{podSelector: {matchLabels: {a: fieldsV1}}, fieldsV1: {a: b}}]",
        "[{[fieldsV1, {a: b}]: fieldsV1, {a: b}: 1}]",
    ] {
        compare(&format!("{head}spec: {{podSelector: {{}}, ingress: [{{from: {from}}}]}}\n"));
    }
}

#[test]
fn the_fixtures_are_the_same_in_both_ways() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let (mut plain, mut trees) = (0, 0);
    for folder in ["golden", "packets"] {
        for file in std::fs::read_dir(fixtures.join(folder)).expect("fixtures") {
            let path = file.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                let counts = compare(&std::fs::read_to_string(&path).expect("a fixture"));
                (plain, trees) = (plain + counts.plain, trees + counts.trees);
            }
        }
    }
    assert!(plain > 10 * trees, "{plain} objects without a tree, {trees} trees");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_manifests_are_the_same_in_both_ways(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec(
            (any::<proptest::sample::Index>(), 0..4usize, 0..PIECES.len(), 0..12usize),
            0..4,
        ),
    ) {
        let mut text: Vec<char> = SEEDS[seed].chars().collect();
        for (place, what, piece, length) in edits {
            if text.is_empty() {
                break;
            }
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            let new: Vec<char> = match what {
                0 => Vec::new(),
                1 => PIECES[piece].chars().collect(),
                2 => text[start..end].iter().chain(&text[start..end]).copied().collect(),
                _ => text[start..end].iter().rev().copied().collect(),
            };
            text.splice(start..end, new);
        }
        compare(&text.into_iter().collect::<String>());
    }

    #[test]
    fn pieces_of_yaml_are_the_same_in_both_ways(
        pieces in proptest::collection::vec((0..PIECES.len(), "[a-z]{0,3}"), 0..60),
    ) {
        let text: String =
            pieces.iter().map(|(piece, word)| format!("{}{word}", PIECES[*piece])).collect();
        compare(&text);
    }
}
