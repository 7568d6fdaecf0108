//! `--fix`: what it writes into files.

use super::support::{Folder, check, fixtures, stderr, stdout};

fn policy(spec: &str) -> String {
    format!(
        "# kept\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, \
         namespace: shop}}   # kept, too\nspec:\n{spec}"
    )
}

/// Repairs a policy beside the cluster.
fn repaired(spec: &str, fix: &[&str]) -> (String, String) {
    let folder = Folder::new();
    folder.write("p.yaml", &policy(spec));
    let cluster = fixtures().join("cluster.yaml").display().to_string();
    let output = check(folder.path(), &[&["-f", "p.yaml", "-f", &cluster], fix].concat());
    (folder.read("p.yaml"), stderr(&output) + &stdout(&output))
}

const TWO_PEERS: &str = "  podSelector: {}\n  ingress:\n  - from:\n    - namespaceSelector: {matchLabels: {purpose: monitoring}} # a\n    - podSelector: {matchLabels: {app: prometheus}} # b\n";

#[test]
fn a_repair_that_opens_nothing_is_made_and_keeps_comments() {
    let (text, said) = repaired(TWO_PEERS, &["--fix"]);
    assert_eq!(text, policy(&TWO_PEERS.replace("    - podSelector", "      podSelector")));
    assert!(said.contains("fixed: p.yaml:10:5: leave out the '-' [two-peers]"), "{said}");
    assert!(!said.contains("warning[two-peers]"), "{said}");
}

const SERVICE_PORT: &str = "  podSelector: {matchLabels: {app: cart}}\n  ingress:\n  - ports:\n    - port: \"80\"\n    - port: 80 # http\n";

#[test]
fn a_repair_that_opens_something_waits_for_its_name() {
    let spec = SERVICE_PORT.replace("    - port: \"80\"\n", "");
    let (text, said) = repaired(&spec, &["--fix"]);
    assert_eq!(text, policy(&spec));
    assert!(
        said.contains("would open port 8080, and shuts 80; --fix service-port does it"),
        "{said}"
    );
    let (text, said) = repaired(&spec, &["--fix", "service-port"]);
    assert_eq!(text, policy(&spec.replace("80 #", "8080 #")));
    assert!(said.contains("(opens port 8080, and shuts 80)"), "{said}");
}

#[test]
fn a_rule_for_dns_is_added_before_the_first_one() {
    let spec = "  podSelector: {matchLabels: {app: cart}}\n  policyTypes: [Egress]\n  egress:\n  - to: # the database\n    - podSelector: {matchLabels: {app: db}}\n";
    let (text, said) = repaired(spec, &["--fix", "egress-without-dns"]);
    assert!(said.contains("(opens egress to the DNS of kube-system)"), "{said}");
    assert!(!said.contains("[dns"), "{said}");
    let rule = "  - to:\n    - namespaceSelector:\n        matchLabels:\n          kubernetes.io/metadata.name: kube-system\n      podSelector:\n        matchLabels:\n          k8s-app: kube-dns\n    ports:\n    - protocol: UDP\n      port: 53\n    - protocol: TCP\n      port: 53\n  - to: # the database\n";
    assert_eq!(text, policy(&spec.replace("  - to: # the database\n", rule)));
}

#[test]
fn the_seed_policies_are_corrected_as_far_as_that_is_mechanical() {
    let broken = fixtures().join("../../../crates/watcher/tests/fixtures/broken");
    let corrected = broken.join("../corrected");
    // Each file, and the one that it becomes, if a person need not decide anything.
    let files = [
        ("1-deny-all-ingress.yaml", Some("1-deny-all-ingress.yaml")),
        ("2-all-ingress.yaml", Some("2-all-ingress.yaml")),
        ("3-allow-myapp-ingress.yaml", None),
        ("3b-allow-myapp-ingress.yaml", None),
        ("4-deny-all-Egress.yaml", Some("4-deny-all-egress.yaml")),
        ("5-deny-all-Egress.yaml", Some("4-deny-all-egress.yaml")),
        // Which rule `- {}` is meant to be, and which of name and rule is right.
        ("6-deny-all-Egress.yaml", None),
    ];
    for (file, becomes) in files {
        let folder = Folder::new();
        let read = |path: &std::path::Path| std::fs::read_to_string(path).expect("a fixture");
        folder.write("p.yaml", &read(&broken.join(file)));
        let output = check(folder.path(), &["-f", "p.yaml", "--fix", "invalid"]);
        let said = stderr(&output) + &stdout(&output);
        let text = folder.read("p.yaml");
        if let Some(becomes) = becomes {
            assert_eq!(text, read(&corrected.join(becomes)), "{file}: {said}");
        }
        let code = if file.starts_with('6') { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{file}: {said}\n{text}");
        if file.starts_with('3') {
            let kept = "    matchLabels:\n      app: myapp\n";
            assert!(text.contains(&format!("  podSelector:\n{kept}")), "{file}: {text}");
            assert_eq!(text.matches("ports:").count(), 1, "{file}: {text}");
        }
    }
}

#[test]
fn standard_input_is_not_repaired_and_a_cluster_neither() {
    let folder = Folder::new();
    let output = check(folder.path(), &["--fix"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("name them with -f"), "{}", stderr(&output));
    let output = check(folder.path(), &["-f", "p.yaml", "--fix", "two-peer"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean two-peers?"), "{}", stderr(&output));
}

#[test]
fn line_ends_stay_as_they_are() {
    let folder = Folder::new();
    let spec = "  podSelector: {}\n  egress:\n  - ports:\n    - port: 53\n";
    folder.write("p.yaml", &policy(spec).replace('\n', "\r\n"));
    let output = check(folder.path(), &["-f", "p.yaml", "--fix", "dns-protocol"]);
    let repaired = spec.replace("    - port", "    - protocol: UDP\n      port: 53\n    - port");
    let expected = policy(&repaired).replace('\n', "\r\n");
    assert_eq!(folder.read("p.yaml"), expected, "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn a_link_stays_a_link_and_rights_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = Folder::new();
    folder.write(
        "real.txt",
        &policy(
            TWO_PEERS
                .replace("purpose: monitoring", "kubernetes.io/metadata.name: kube-system")
                .replace("app: prometheus", "k8s-app: kube-dns")
                .as_str(),
        ),
    );
    let real = folder.path().join("real.txt");
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).expect("rights");
    symlink("real.txt", folder.path().join("p.yaml")).expect("a link");
    let output = check(folder.path(), &["-f", "p.yaml", "--fix"]);
    assert!(stderr(&output).contains("leave out the '-'"), "{}", stderr(&output));
    assert!(folder.path().join("p.yaml").is_symlink());
    assert!(!folder.read("real.txt").contains("- podSelector"));
    let mode = std::fs::metadata(&real).expect("rights").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
