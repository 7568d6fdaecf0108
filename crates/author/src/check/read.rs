//! The mistakes that reading finds, under ids.
//!
//! In: a finding of [`watcher::files`]. Out: a [`Finding`].
//! Never: another judgement.

use policy::{POLICY_FOR, Severity};
use watcher::files::{self, Location};

use super::finding::{Edit, Finding, Fix, Level};
use crate::cluster::Places;

/// A mistake of syntax or validation.
pub fn finding(places: &Places, read: &files::Finding) -> Finding {
    let files::Finding { location, severity, kind, object, field, message } = read;
    // What an API server has is in no file.
    let at = (location.file != crate::input::CLUSTER).then(|| location.clone());
    let level = match severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
    };
    let id = id(read);
    Finding {
        id,
        level,
        kind: kind.clone(),
        object: object.clone().filter(|key| !key.name.is_empty()),
        field: field.clone(),
        fix: at.as_ref().and_then(|at| fix(places, read, at)),
        at,
        message: match id {
            // The place need not show which annotation it is.
            "policy-for" | "policy-for-ignored" => format!("annotation {POLICY_FOR} {message}"),
            _ => message.clone(),
        },
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
    let is_of_networks = read.field == format!("metadata.annotations[{POLICY_FOR}]");
    match read.severity {
        Severity::Warning if is_of_networks && read.kind == "NetworkPolicy" => "policy-for-ignored",
        Severity::Warning if is_of_networks => "policy-for",
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
fn fix(places: &Places, read: &files::Finding, at: &Location) -> Option<Fix> {
    if is_about_the_form_of_a_cidr(read) {
        let (old, rest) = read.message.split_once(" is read as ")?;
        let (new, _) = rest.split_once(';')?;
        return Some(replace(at, old, new));
    }
    let is_name = read.field == "metadata.name" || read.field == "metadata.namespace";
    if let Some((old, rest)) = read.message.split_once("\" has a ").filter(|_| is_name) {
        let (_, new) = rest.split_once("did you mean \"")?;
        let new = new.strip_suffix("\"?")?;
        return Some(replace(at, old.strip_prefix('"')?, new));
    }
    misspelt(read, at).or_else(|| super::reindent::fix(places, read, at))
}

fn replace(at: &Location, old: &str, new: &str) -> Fix {
    let edit = Edit { at: at.clone(), old: old.to_owned(), new: new.to_owned() };
    Fix { title: format!("write {new}"), opens: None, edits: vec![edit] }
}

/// The name of a field.
fn misspelt(read: &files::Finding, at: &Location) -> Option<Fix> {
    let rest = read.message.strip_prefix("unknown field \"")?;
    let (old, rest) = rest.split_once("\"; did you mean ")?;
    let (new, _) = rest.split_once('?')?;
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_word(old) || !is_word(new) {
        return None;
    }
    // The server refuses the object as it is. With the right name a selector or a rule of it
    // takes effect.
    let is_harmless = matches!(new, "metadata" | "policyTypes" | "namespace" | "name" | "labels");
    let opens = "what the field says; as it is, the API server refuses the object";
    let opens = (!is_harmless).then(|| opens.to_owned());
    Some(Fix { opens, ..replace(at, old, new) })
}
