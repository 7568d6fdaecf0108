//! The mistakes that reading finds, under ids.
//!
//! In: a finding of [`watcher::files`]. Out: a [`Finding`].
//! Never: another judgement.

use policy::Severity;
use watcher::files;

use super::finding::{Edit, Finding, Fix, Level};

/// A mistake of syntax or validation.
pub fn finding(read: &files::Finding) -> Finding {
    let files::Finding { location, severity, kind, object, field, message } = read;
    // What an API server has is in no file.
    let at = (location.file != crate::input::CLUSTER).then(|| location.clone());
    let level = match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
    };
    Finding {
        id: id(read),
        level,
        kind: kind.clone(),
        object: object.clone().filter(|key| !key.name.is_empty()),
        field: field.clone(),
        fix: at.as_ref().and_then(|at| fix(read, at)),
        at,
        message: message.clone(),
        label: None,
        help: None,
    }
}

/// Whether an API server refuses it, although its meaning is clear: a CIDR with host bits.
pub fn is_only_refused(read: &files::Finding) -> bool {
    is_about_the_form_of_a_cidr(read)
}

fn is_about_the_form_of_a_cidr(read: &files::Finding) -> bool {
    read.message.contains(" is read as ") && read.field.contains(".ipBlock.")
}

fn id(read: &files::Finding) -> &'static str {
    if is_about_the_form_of_a_cidr(read) {
        return "cidr-form";
    }
    match read.severity {
        Severity::Error => "invalid",
        Severity::Warning if read.message.contains("policyTypes") => "policy-types",
        Severity::Warning if read.message.contains("the name says the opposite") => {
            "name-contradicts"
        }
        Severity::Warning if read.message.starts_with("has no value") => "empty-value",
        Severity::Warning if read.message.starts_with("is an empty item") => "empty-value",
        Severity::Warning => "unusual",
    }
}

/// The repair that the message names: the right spelling of a key, or the CIDR as it is read.
fn fix(read: &files::Finding, at: &files::Location) -> Option<Fix> {
    let edit = |old: &str, new: &str| Edit {
        at: at.clone(),
        old: old.to_owned(),
        new: new.to_owned(),
    };
    if is_about_the_form_of_a_cidr(read) {
        let (old, rest) = read.message.split_once(" is read as ")?;
        let (new, _) = rest.split_once(';')?;
        let title = format!("write {new}");
        return Some(Fix { title, opens: None, edits: vec![edit(old, new)] });
    }
    let rest = read.message.strip_prefix("unknown field \"")?;
    let (old, rest) = rest.split_once("\"; did you mean ")?;
    let (new, _) = rest.split_once('?')?;
    let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_name(old) || !is_name(new) {
        return None;
    }
    let title = format!("write {new}");
    // Whether it is the whole policy or a rule that takes effect by it: it was refused.
    let opens = Some("what the field says; the API server refuses the object without".to_owned());
    let opens = opens.filter(|_| !matches!(new, "metadata" | "podSelector" | "policyTypes"));
    Some(Fix { title, opens, edits: vec![edit(old, new)] })
}
