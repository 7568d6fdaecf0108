//! No input makes the reader panic, and every finding is at a line of the file.

use proptest::prelude::*;
use watcher::files::{Validation, parse};

/// Manifests to mutate. Together they have every struct that the reader converts.
const SEEDS: [&str; 3] = [
    include_str!("fixtures/corrected/3-allow-myapp-ingress.yaml"),
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: &m {name: a, labels: {a: b}, creationTimestamp: 2026-01-01T00:00:00Z}\n  spec:\n    containers:\n    - {name: c, ports: [{name: http, containerPort: 80, protocol: TCP}], resources: {limits: {cpu: 1}}}\n  status: {podIPs: [{ip: 10.0.0.1}], phase: Running}\n- {apiVersion: v1, kind: Namespace, metadata: *m}\n",
    "{\"apiVersion\": \"networking.k8s.io/v1\", \"kind\": \"NetworkPolicy\",\n \"metadata\": {\"name\": \"a\", \"managedFields\": [{\"fieldsV1\": {\"f:a\": {}}}]},\n \"spec\": {\"podSelector\": {\"matchExpressions\": [{\"key\": \"a\", \"operator\": \"In\", \"values\": [\"\\ud83d\\ude00\"]}]},\n  \"egress\": [{\"to\": [{\"namespaceSelector\": {}}], \"ports\": [{\"port\": \"dns\", \"protocol\": \"UDP\"}]}]}}\n",
];

/// Pieces with a meaning in YAML.
const PIECES: [&str; 28] = [
    "{", "}", "[", "]", "- ", ": ", "\n", "\n  ", "\t", "&a ", "*a", "<<: ", "|", ">-", "\"", "'",
    "---\n", "...\n", "# ", "!!int ", "? ", "%", "@", "~", "yes", "0x", "\\u", "\u{feff}",
];

fn check(text: &str) {
    for validation in [Validation::Strict, Validation::Warn] {
        let loaded = parse("f", text, validation);
        for finding in &loaded.findings {
            let line = finding.location.line;
            // A single CR also ends a line (YAML 1.2.2, section 5.4).
            let lines = text.split(['\n', '\r']).count();
            assert!((1..=lines).contains(&line), "{finding}\nof {lines} lines\n{text:?}");
            assert!(!finding.to_string().contains('\n'), "{finding:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC*") {
        check(&text);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn pieces_of_yaml(pieces in proptest::collection::vec((0..PIECES.len(), "[a-z]{0,3}"), 0..60)) {
        let text: String =
            pieces.iter().map(|(piece, word)| format!("{}{word}", PIECES[*piece])).collect();
        check(&text);
    }

    #[test]
    fn mutated_manifests(
        seed in 0..SEEDS.len(),
        edits in proptest::collection::vec(
            (any::<proptest::sample::Index>(), 0..4usize, 0..PIECES.len(), 0..12usize),
            0..6,
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
        check(&text.into_iter().collect::<String>());
    }
}
