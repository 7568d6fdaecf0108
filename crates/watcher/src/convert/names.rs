//! Names, label keys and label values as the API server checks them.
//!
//! Each check takes a text and returns what is wrong with it, if anything
//! (k8s.io/apimachinery v0.36 pkg/util/validation).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::report::Report;

/// Longest DNS-1123 subdomain: names of most objects, prefixes of label keys.
const SUBDOMAIN_MAX: usize = 253;
/// Longest DNS-1123 label (namespaces), label value, label key's name part.
const LABEL_MAX: usize = 63;
/// Longest port name (RFC 6335, section 5.1).
const PORT_NAME_MAX: usize = 15;

/// A check of one text; the error says what is wrong.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// Checks `metadata.name`, `namespace` and `labels`.
pub(super) fn metadata(report: &mut Report<'_>, metadata: &ObjectMeta, name: Check) {
    match metadata.name.as_deref() {
        None | Some("") if metadata.generate_name.is_some() => report.error(
            "metadata.name",
            "is missing; generateName is only for creating objects on an API server",
        ),
        None | Some("") => report.error("metadata.name", "is missing; every object needs a name"),
        Some(text) => fail(report, "metadata.name", name(text)),
    }
    if let Some(text) = metadata.namespace.as_deref().filter(|text| !text.is_empty()) {
        fail(report, "metadata.namespace", dns_label(text));
    }
    for (key, value) in metadata.labels.iter().flatten() {
        let field = format!("metadata.labels[{key}]");
        if let Err(message) = label_key(key).and_then(|()| label_value(value)) {
            report.error(field, message);
        }
    }
}

fn fail(report: &mut Report<'_>, field: &str, result: Result<(), String>) {
    if let Err(message) = result {
        report.error(field, message);
    }
}

/// Whether an object can be identified by this name, valid or not. It must be
/// printable and not longer than any valid name.
pub(crate) fn is_addressable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= SUBDOMAIN_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Names of policies and pods: dot-separated DNS labels.
pub(super) fn dns_subdomain(text: &str) -> Result<(), String> {
    if text.len() > SUBDOMAIN_MAX {
        return Err(too_long("name", text, SUBDOMAIN_MAX));
    }
    if text.split('.').all(is_dns_part) {
        return Ok(());
    }
    Err(bad_name(text, "lower-case letters, digits, '-' and '.'", true))
}

/// Names of namespaces.
pub(super) fn dns_label(text: &str) -> Result<(), String> {
    if text.len() > LABEL_MAX {
        return Err(too_long("namespace", text, LABEL_MAX));
    }
    if is_dns_part(text) {
        return Ok(());
    }
    Err(bad_name(text, "lower-case letters, digits and '-'", false))
}

/// A label's key: an optional DNS prefix, a slash, a name.
pub(super) fn label_key(text: &str) -> Result<(), String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if let Some(prefix) = prefix {
        dns_subdomain(prefix)
            .map_err(|message| format!("prefix of label key {text:?}: {message}"))?;
    }
    if name.is_empty() || !is_qualified(name) {
        return Err(format!(
            "{text:?} is not a label key: an optional DNS prefix with a slash, then at most \
             {LABEL_MAX} letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"
        ));
    }
    Ok(())
}

/// A label's value; the empty one is valid.
pub(super) fn label_value(text: &str) -> Result<(), String> {
    if text.is_empty() || is_qualified(text) {
        return Ok(());
    }
    Err(format!(
        "{text:?} is not a label value: at most {LABEL_MAX} letters, digits, '-', '_' or '.', \
         beginning and ending with a letter or digit"
    ))
}

/// A container port's name (`IANA_SVC_NAME`, RFC 6335).
pub(super) fn port_name(text: &str) -> Result<(), String> {
    if text.parse::<u32>().is_ok() {
        return Err(format!(
            "{text:?} in quotes is a name, and a name needs a letter; write the number {text}"
        ));
    }
    let valid = !text.is_empty()
        && text.len() <= PORT_NAME_MAX
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    if valid {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    let hint = if lower != text && port_name(&lower).is_ok() {
        format!("; did you mean {lower:?}?")
    } else {
        String::new()
    };
    Err(format!(
        "{text:?} is not a port name: at most {PORT_NAME_MAX} lower-case letters, digits and '-', \
         with a letter{hint}"
    ))
}

fn is_dns_part(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_qualified(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= LABEL_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}

fn too_long(what: &str, text: &str, limit: usize) -> String {
    format!("the {what} has {} characters, at most {limit} are valid", text.len())
}

fn bad_name(text: &str, allowed: &str, dots: bool) -> String {
    let lower = text.to_lowercase().replace('_', "-");
    let valid = if dots { lower.split('.').all(is_dns_part) } else { is_dns_part(&lower) };
    if lower != text && valid {
        let what = if text.contains(char::is_uppercase) { "a capital letter" } else { "a '_'" };
        return format!("{text:?} has {what}, which no name may have; did you mean {lower:?}?");
    }
    format!("{text:?} is not a valid name: {allowed}, beginning and ending with a letter or digit")
}
