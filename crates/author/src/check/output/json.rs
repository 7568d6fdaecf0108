//! Findings as one JSON object.

use serde_json::{Value, json};

use crate::check::finding::{Edit, Finding};

/// `{"findings": [...]}`.
pub fn json(findings: &[Finding]) -> String {
    let findings: Vec<Value> = findings.iter().map(one).collect();
    format!("{:#}\n", json!({"findings": findings}))
}

fn one(finding: &Finding) -> Value {
    let Finding { id, level, kind, object, field, at, message, label, help, fix } = finding;
    let fix = fix.as_ref().map(|fix| {
        let edits: Vec<Value> = fix.edits.iter().map(edit).collect();
        json!({"title": fix.title, "opens": fix.opens, "edits": edits})
    });
    json!({
        "id": id,
        "level": level.to_string(),
        "kind": kind,
        "namespace": object.as_ref().map(|key| key.namespace.to_string()),
        "name": object.as_ref().map(|key| key.name.to_string()),
        "field": field,
        "file": at.as_ref().map(|at| &at.file),
        "line": at.as_ref().map(|at| at.line),
        "column": at.as_ref().map(|at| at.column),
        "message": message,
        "label": label,
        "help": help,
        "fix": fix,
    })
}

fn edit(edit: &Edit) -> Value {
    let Edit { at, old, new } = edit;
    json!({"file": at.file, "line": at.line, "column": at.column, "old": old, "new": new})
}
