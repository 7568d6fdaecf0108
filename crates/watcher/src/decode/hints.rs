//! Messages about fields that are unknown, misplaced, repeated or of the wrong
//! type, with what was probably meant.
//!
//! In: the struct's name in the API, its fields, the written value.
//! Out: messages.
//! Never: an effect on the decoded object.

mod misplaced;

use super::field_path::FieldPath;
use super::node::{Entry, Node, Value, shorten};
use crate::spelling::suggest;

/// A field that the struct does not have. Only fields that are `missing` are
/// suggested, because the others are already there.
pub(crate) fn unknown_field(
    name: &str,
    fields: &[&str],
    missing: &[&str],
    entry: &Entry,
    parent: &Node,
) -> String {
    let key = &entry.key;
    let message = format!("unknown field {:?}", shorten(key));
    if let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(key)) {
        return format!("{message}; did you mean {field}?");
    }
    if let Some(hint) = misplaced::hint(name, entry, parent) {
        return format!("{message}; {hint}");
    }
    if let Some(field) = suggest(key, missing.iter().copied()) {
        return format!("{message}; did you mean {field}?");
    }
    if fields.len() <= 8 {
        return format!("{message}; one of {}", fields.join(", "));
    }
    message
}

/// A key that YAML does not read as text.
pub(super) fn key_is_not_text(written: &str, key: &str) -> String {
    format!("the unquoted key {written} is read as {key}; quote it: {written:?}")
}

/// A key that a merge key after it overrides.
pub(super) const OVERRIDDEN: &str = "is overridden by the merge key '<<' after it, as kubectl reads \
                                     it; write '<<' first, so that this value counts";

/// A key that is given twice.
pub(super) fn repeated(key: &str, first_line: usize) -> String {
    let hint = match key {
        "ports" => "; a second port is a further item of the first list",
        "from" | "to" => "; a second peer is a further item of the first list",
        "podSelector" | "namespaceSelector" | "ipBlock" => {
            "; a second peer is an item of its own, with a '-' before it"
        }
        "ingress" | "egress" => "; a second rule is a further item of the first list",
        _ => "",
    };
    format!("is given twice (first on line {first_line}){hint}")
}

/// A field without a value, if that means more than a reader may think.
pub(super) fn without_value(key: &str, is_struct: bool, parent: &FieldPath<'_>) -> Option<String> {
    if !is_struct {
        let is_labels = matches!(parent, FieldPath::Field(_, "labels" | "matchLabels"));
        return is_labels.then(|| "has no value, which counts as the empty text \"\"".to_owned());
    }
    let counts_as = match key {
        "from" => "anyone",
        "to" => "everywhere",
        "ports" => "every port",
        "podSelector" | "namespaceSelector" => {
            return Some("has no value and counts as absent; write {} for all of them".to_owned());
        }
        "ipBlock" => "absent",
        _ => return None,
    };
    Some(format!("has no value, which counts as {counts_as}"))
}

/// A value that is not an object, where the API has one.
pub(super) fn not_an_object(path: &FieldPath<'_>, value: &Value) -> String {
    let found = value.describe();
    match (path, value) {
        (FieldPath::Field(..), Value::Sequence(_)) => {
            format!("must be an object, not {found}; leave out the '-'")
        }
        (FieldPath::Index(FieldPath::Field(_, "ports"), _), Value::Int { text, .. }) => {
            format!("must be an object, not {found}; write \"- port: {text}\"")
        }
        (FieldPath::Field(_, "podSelector" | "namespaceSelector"), Value::String(_)) => {
            format!("must be an object, not {found}; labels go under matchLabels")
        }
        (FieldPath::Field(_, "ipBlock"), Value::String(text)) => {
            format!("must be an object, not {found}; write \"cidr: {text}\" under it")
        }
        _ => format!("must be an object, not {found}"),
    }
}

/// A value that is not a list, where the API has one.
pub(crate) fn not_a_list(value: &Value) -> String {
    let found = value.describe();
    match value {
        Value::Mapping(entries) if entries.first().is_some_and(|one| one.key.starts_with('-')) => {
            format!("must be a list, not {found}; put a space after the '-'")
        }
        Value::Mapping(_) => {
            format!("must be a list, not {found}; put a '-' before its first field")
        }
        Value::String(text) | Value::Int { text, .. } if text.len() < 64 => {
            format!("must be a list, not {found}; write [{text}]")
        }
        _ => format!("must be a list, not {found}"),
    }
}

/// A value that is not text, where the API has text.
pub(super) fn not_text(value: &Value) -> String {
    let found = value.describe();
    match value {
        Value::Bool { text, .. } | Value::Int { text, .. } | Value::Float { text, .. } => {
            format!("must be text, not {found}; quote it: \"{text}\"")
        }
        _ => format!("must be text, not {found}"),
    }
}

/// A value that is not a number, where the API has one.
pub(super) fn not_a_number(value: &Value) -> String {
    let found = value.describe();
    match value {
        Value::String(text) if text.parse::<i64>().is_ok() => {
            format!("must be a number, not {found}; leave out the quotes")
        }
        _ => format!("must be a whole number, not {found}"),
    }
}

/// A value that is not a boolean, where the API has one.
pub(super) fn not_a_boolean(value: &Value) -> String {
    let found = value.describe();
    match value {
        Value::String(text) if matches!(text.as_str(), "true" | "false") => {
            format!("must be true or false, not {found}; leave out the quotes")
        }
        _ => format!("must be true or false, not {found}"),
    }
}

/// Whether a struct of this name affects what a policy selects or allows.
pub(super) fn is_part_of_a_policy(name: &str) -> bool {
    name.starts_with("NetworkPolicy") || name.starts_with("LabelSelector") || name == "IPBlock"
}
