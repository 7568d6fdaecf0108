//! Manifests as people write them, and the findings about them.

mod fields;
mod kinds;
mod refused;
mod review;
mod syntax;
mod unread;
mod warn;
mod ways;

use std::fmt::Write;

use super::*;
use crate::Kind;

/// The beginning of a policy. Its spec follows, from line 7.
const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: dev
spec:
";

/// The beginning of a pod. Its spec follows.
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

/// Compares the findings about a text with the expected lines.
#[track_caller]
fn check(name: &str, text: &str, expected: &[&str]) {
    let found = findings(text);
    let expected: String = expected.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(found, expected, "{name}\n{text}");
}

/// Like [`check`], for a policy's spec. An expected line has `L:C: ` in place of
/// `f:L:C: error: NetworkPolicy dev/web: `, and `w L:C: ` for a warning.
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
