//! Findings in SARIF (OASIS, Static Analysis Results Interchange Format 2.1.0), for the code
//! scanning of forges.
//!
//! In: findings. Out: a log of one run. Never: a property that the standard does not have.
//!
//! Written as JSON, and not by a crate of its types: `serde-sarif` 0.8 makes them from the
//! schema whenever it is compiled, with a generator of code and nine crates more than we
//! have, for the thirty properties that are used here. The test `sarif_names_a_rule_for_each_result`
//! holds which properties there are; the output was validated with the OASIS schema.

use serde_json::{Value, json};

use crate::check::checks::{CHECKS, Check};
use crate::check::finding::{Finding, Fix, Level};

/// A log of one run.
pub fn sarif(findings: &[Finding]) -> String {
    let rules: Vec<Value> = CHECKS.iter().map(rule).collect();
    let results: Vec<Value> = findings.iter().map(result).collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "nftpol",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn rule(check: &Check) -> Value {
    json!({
        "id": check.id,
        "shortDescription": {"text": check.summary},
        "help": {"text": check.page, "markdown": check.page},
        "defaultConfiguration": {"level": level(check.level)},
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

fn result(finding: &Finding) -> Value {
    let mut text = format!("{}: {}", finding.subject(), finding.message);
    if let Some(help) = &finding.help {
        text += &format!("\n{help}");
    }
    let mut result = json!({
        "ruleId": finding.id,
        "level": level(finding.level),
        "message": {"text": text},
    });
    if let Some(at) = &finding.at {
        let region = json!({"startLine": at.line, "startColumn": at.column});
        let place = json!({"artifactLocation": {"uri": uri(&at.file)}, "region": region});
        result["locations"] = json!([{"physicalLocation": place}]);
    }
    if let Some(fix) = &finding.fix {
        result["fixes"] = json!([self::fix(fix)]);
    }
    result
}

fn fix(fix: &Fix) -> Value {
    let change = |edit: &crate::check::finding::Edit| {
        let (line, column) = (edit.at.line, edit.at.column);
        let end = column + edit.old.chars().count();
        json!({
            "artifactLocation": {"uri": uri(&edit.at.file)},
            "replacements": [{
                "deletedRegion": {"startLine": line, "startColumn": column, "endColumn": end},
                "insertedContent": {"text": edit.new},
            }],
        })
    };
    let changes: Vec<Value> = fix.edits.iter().map(change).collect();
    json!({"description": {"text": fix.title}, "artifactChanges": changes})
}

/// A path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.trim_start_matches("./").bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri
}
