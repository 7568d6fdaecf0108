//! LabelSelector.
//!
//! In: the API's selector and its field path.
//! Out: the usable requirements, and whether these are all.
//! Never: a decision what an incomplete selector means. The caller decides.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use policy::{Operator, Requirement, Selector};

use super::names;
use super::report::Report;
use crate::spelling::suggest;

/// The operators of `matchExpressions`.
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// The usable part of a selector.
pub(super) struct Converted {
    /// The usable requirements.
    pub selector: Selector,
    /// Whether these are all requirements.
    pub complete: bool,
}

/// Reads a selector at a field path. Unusable requirements are left out, and
/// `complete` is then false. The caller decides what allows less.
pub(super) fn convert(report: &mut Report<'_>, selector: &LabelSelector, field: &str) -> Converted {
    let mut complete = !report.is_replaced(field);
    let mut requirements = Vec::new();
    let labels_field = format!("{field}.matchLabels");
    complete &= !report.is_replaced(&labels_field);
    for (key, value) in selector.match_labels.iter().flatten() {
        let field = format!("{labels_field}[{key}]");
        let valid = names::label_key(key).and_then(|()| names::label_value(value));
        match valid {
            Ok(()) if !report.is_unreadable(&field) => {
                requirements.push(Requirement::equals(key, value));
            }
            Ok(()) => complete = false,
            Err(message) => {
                report.error(field, message);
                complete = false;
            }
        }
    }
    let list_field = format!("{field}.matchExpressions");
    complete &= !report.is_replaced(&list_field);
    for (index, item) in selector.match_expressions.iter().flatten().enumerate() {
        match requirement(report, item, &format!("{list_field}[{index}]")) {
            Some(requirement) => requirements.push(requirement),
            None => complete = false,
        }
    }
    Converted { selector: Selector::new(requirements), complete }
}

fn requirement(
    report: &mut Report<'_>,
    item: &LabelSelectorRequirement,
    field: &str,
) -> Option<Requirement> {
    let mut usable = !report.is_unreadable(field);
    if report.is_replaced(field) {
        return None;
    }
    let mut error = |field: String, message: String| {
        report.error(field, message);
        usable = false;
    };
    if item.key.is_empty() {
        error(format!("{field}.key"), "is missing".to_owned());
    } else if let Err(message) = names::label_key(&item.key) {
        error(format!("{field}.key"), message);
    }
    let values = item.values.as_deref().unwrap_or_default();
    for (index, value) in values.iter().enumerate() {
        if let Err(message) = names::label_value(value) {
            error(format!("{field}.values[{index}]"), message);
        }
    }
    let set = || values.iter().cloned().collect();
    let operator = match item.operator.as_str() {
        "In" => Some(Operator::In(set())),
        "NotIn" => Some(Operator::NotIn(set())),
        "Exists" => Some(Operator::Exists),
        "DoesNotExist" => Some(Operator::DoesNotExist),
        _ => None,
    };
    match &operator {
        None => error(format!("{field}.operator"), unknown_operator(&item.operator)),
        Some(Operator::In(_) | Operator::NotIn(_)) if values.is_empty() => error(
            format!("{field}.values"),
            format!("is empty; operator {} needs at least one value", item.operator),
        ),
        Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => error(
            format!("{field}.values"),
            format!("must be left out; operator {} looks at the key alone", item.operator),
        ),
        Some(_) => {}
    }
    operator.filter(|_| usable).map(|operator| Requirement { key: item.key.clone(), operator })
}

fn unknown_operator(text: &str) -> String {
    if text.is_empty() {
        return format!("is missing; one of {}", OPERATORS.join(", "));
    }
    let meant = match text {
        "=" | "==" | "Equals" | "Equal" | "Eq" => Some("In"),
        "!=" | "NotEquals" | "NotEqual" => Some("NotIn"),
        "NotExists" | "NotExist" | "DoesNotExists" | "!" => Some("DoesNotExist"),
        _ => suggest(text, OPERATORS),
    };
    match meant {
        Some(meant) => format!("unknown operator {text:?}; did you mean {meant}?"),
        None => format!("unknown operator {text:?}; one of {}", OPERATORS.join(", ")),
    }
}
