//! Realistic mistakes: what an author reads, line by line.

use std::fs;

use super::support::{check, fixtures, stderr, stdout};

/// Each file, the check that must find its mistake, and the exit code.
const MISTAKES: [(&str, &str, i32); 12] = [
    ("01-egress-without-dns", "warning[egress-without-dns]", 0),
    ("02-two-peers", "warning[two-peers]", 0),
    ("03-policy-selects-nobody", "warning[policy-selects-nobody]", 0),
    ("04-port-name-unknown", "warning[port-name-unknown]", 0),
    ("05-policy-types", "warning[policy-types]", 0),
    ("06-peer-selects-nobody", "warning[peer-selects-nobody]", 0),
    ("07-cidr-form", "error[cidr-form]", 1),
    ("08-except-outside", "error[invalid]", 1),
    ("09-service-address", "warning[service-address]", 0),
    ("10-host-network-pod", "warning[host-network-pod]", 0),
    ("11-namespace-unknown", "warning[namespace-unknown]", 0),
    ("12-service-port", "warning[service-port]", 0),
];

/// The same about the networks beside the primary one, with the pods of `further.yaml`.
const OF_FURTHER_NETWORKS: [(&str, &str, i32); 8] = [
    ("13-policy-for", "warning[policy-for]", 0),
    ("14-policy-for-empty", "warning[policy-for]", 0),
    ("15-policy-for-ignored", "warning[policy-for-ignored]", 0),
    ("16-network-unknown", "warning[network-unknown]", 0),
    ("17-network-of-another-namespace", "warning[network-unknown]", 0),
    ("18-not-on-network", "warning[not-on-network]", 0),
    ("19-further-peer", "warning[peer-selects-nobody]", 0),
    ("20-further-namespace", "warning[namespace-unknown]", 0),
];

#[test]
fn the_twelve_mistakes_are_named_with_their_place_and_repair() {
    named_with_place_and_repair(&MISTAKES, "cluster.yaml");
}

#[test]
fn mistakes_about_further_networks_are_named_with_their_place_and_repair() {
    named_with_place_and_repair(&OF_FURTHER_NETWORKS, "further.yaml");
}

fn named_with_place_and_repair(mistakes: &[(&str, &str, i32)], cluster: &str) {
    let folder = fixtures();
    for &(name, finding, code) in mistakes {
        let file = format!("{name}.yaml");
        let output = check(&folder, &["-f", &file, "-f", cluster, "--color", "never"]);
        let text = stdout(&output);
        assert!(text.contains(finding), "{name}: {text}{}", stderr(&output));
        assert_eq!(output.status.code(), Some(code), "{name}");
        let strict = ["-f", &file, "-f", cluster, "--fail-on", "warning"];
        assert_eq!(check(&folder, &strict).status.code(), Some(1), "{name}");
        let golden = folder.join(format!("{name}.txt"));
        if std::env::var_os("NFTPOL_BLESS").is_some() {
            fs::write(&golden, &text).expect("writable");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(text, expected, "{}; `cargo xtask bless` accepts it", golden.display());
    }
}
