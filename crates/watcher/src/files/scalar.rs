//! The value of a plain scalar, by YAML 1.1 as kubectl reads it.
//!
//! In: the text of a plain (unquoted) scalar.
//! Out: null, boolean, number or text, by the table of sigs.k8s.io/yaml
//! v1.6 goyaml.v2/resolve.go.
//! Never: timestamps. That library passes them on as text.

use crate::decode::node::Value;
use crate::decode::token::Scalar;

/// The value of a plain scalar.
pub(super) fn resolve(text: &str) -> Value {
    let text = text.to_owned();
    match meaning(&text) {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool { value, text },
        Scalar::Int(value) => Value::Int { value, text },
        Scalar::Float(value) => Value::Float { value, text },
        Scalar::Text => Value::String(text),
    }
}

/// What a plain scalar means.
pub(super) fn meaning(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return Scalar::Text;
    }
    let plain = text.replace('_', "");
    if let Some(value) = integer(&plain) {
        return Scalar::Int(value);
    }
    float(&plain).map_or(Scalar::Text, Scalar::Float)
}

/// An integer as Go's `strconv.ParseInt(text, 0, 64)` reads it: 0x, 0o and 0b
/// prefixes, and a leading zero for octal.
fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts = unsigned.strip_prefix('.').unwrap_or(unsigned);
    let numeric = starts.starts_with(|first: char| first.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if numeric { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_kubectl_reads() {
        let cases = [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("nULL", "text"),
            ("y", "true"),
            ("Yes", "true"),
            ("ON", "true"),
            ("yEs", "text"),
            ("n", "false"),
            ("off", "false"),
            ("0", "0"),
            ("-7", "-7"),
            ("+7", "7"),
            ("010", "8"),
            ("0o10", "8"),
            ("-010", "-8"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("089", "89.0"),
            ("9223372036854775808", "9.223372036854776e18"),
            ("1.", "1.0"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("1e", "text"),
            ("-", "text"),
            ("+-1", "text"),
            ("0x", "text"),
            (".inf", "inf"),
            ("inf", "text"),
            ("infinity", "text"),
            ("10.0.0.1", "text"),
            ("10.0.0.0/8", "text"),
            ("2026-01-01", "text"),
            ("1:30", "text"),
            ("true", "true"),
            ("truely", "text"),
        ];
        for (text, expected) in cases {
            let shown = match resolve(text) {
                Value::Null => "null".to_owned(),
                Value::Bool { value, .. } => value.to_string(),
                Value::Int { value, .. } => value.to_string(),
                Value::Float { value, .. } => format!("{value:?}"),
                _ => "text".to_owned(),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
