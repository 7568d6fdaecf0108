//! Reads a label selector as kubectl takes it.
//!
//! In: `app=web,tier notin (a,b),!x`. Out: a [`Selector`]. Never: a selector that
//! means less than what was written.

use policy::{Operator, Requirement, Selector};

use super::InvalidValue;

/// Reads a selector of at least one requirement.
pub(super) fn parse(text: &str) -> Result<Selector, InvalidValue> {
    let requirements: Result<Vec<_>, _> = parts(text).into_iter().map(requirement).collect();
    Ok(Selector::new(requirements?))
}

/// Splits at the commas that are not between parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

fn requirement(text: &str) -> Result<Requirement, InvalidValue> {
    let listed = |word: &str| {
        let (key, values) = text.split_once(word)?;
        let values = values.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some((key.trim(), values.split(',').map(|value| value.trim().to_owned()).collect()))
    };
    let one = |sign: &str| {
        let (key, value) = text.split_once(sign)?;
        Some((key.trim(), value.trim().trim_start_matches('=').trim_start().to_owned()))
    };
    let (key, operator) = if let Some((key, values)) = listed(" notin ") {
        (key, Operator::NotIn(values))
    } else if let Some((key, values)) = listed(" in ") {
        (key, Operator::In(values))
    } else if let Some((key, value)) = one("!=") {
        (key, Operator::NotIn([value].into()))
    } else if let Some((key, value)) = one("=") {
        (key, Operator::In([value].into()))
    } else if let Some(key) = text.strip_prefix('!') {
        (key.trim(), Operator::DoesNotExist)
    } else {
        (text, Operator::Exists)
    };
    let values_are_valid = match &operator {
        Operator::In(values) | Operator::NotIn(values) => values.iter().all(|value| is_name(value)),
        Operator::Exists | Operator::DoesNotExist => true,
    };
    let (prefix, name) = key.split_once('/').unwrap_or(("x", key));
    if name.is_empty() || !is_name(name) || prefix.is_empty() || !is_name(prefix) {
        return Err(invalid(text));
    }
    match values_are_valid {
        true => Ok(Requirement { key: key.to_owned(), operator }),
        false => Err(invalid(text)),
    }
}

/// Whether this can be a part of a label's key, or a value.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn invalid(text: &str) -> InvalidValue {
    InvalidValue(format!(
        "{text:?} is not a label requirement; give KEY=VALUE, KEY!=VALUE, KEY, !KEY, \
         \"KEY in (A,B)\" or \"KEY notin (A,B)\""
    ))
}
