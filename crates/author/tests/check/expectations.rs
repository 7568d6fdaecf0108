//! `--expect`: a unit test for policies.

use super::support::{Folder, check, fixtures, stderr, stdout};

const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: cart}}}]
    ports: [{port: 5432}]
";

fn judged(lines: &str, extra: &[&str]) -> (Option<i32>, String) {
    let folder = Folder::new();
    folder.write("p.yaml", POLICY);
    folder.write("expect", lines);
    let cluster = fixtures().join("cluster.yaml").display().to_string();
    let files = ["-f", "p.yaml", "-f", &cluster, "--expect", "expect"];
    let output = check(folder.path(), &[&files, extra].concat());
    (output.status.code(), stdout(&output) + &stderr(&output))
}

#[test]
fn what_holds_is_counted() {
    let lines = "allow shop/cart -> shop/db:5432\ndeny shop/front -> shop/db\n# a comment\n";
    let (code, said) = judged(lines, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 2 expectations hold"), "{said}");
}

#[test]
fn what_fails_is_an_error_at_its_line_in_every_form() {
    let lines = "deny shop/front -> shop/db\n\nallow shop/front -> shop/db:5432\n";
    let (code, said) = judged(lines, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--> expect:3:1"), "{said}");
    assert!(said.contains("1 of 2 expectations hold"), "{said}");
    let (code, said) = judged(lines, &["-o", "github"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("::error file=expect,line=3,col=1,title=nftpol expectation::"), "{said}");
}

#[test]
fn what_names_nothing_cannot_be_told() {
    let (code, said) = judged("allow shop/crat -> shop/db:5432\n", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("expect:1:1:"), "{said}");
}
