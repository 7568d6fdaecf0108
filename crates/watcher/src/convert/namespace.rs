//! Namespace.
//!
//! In: the API's object. Out: its name, its labels, what it says of policies in it.
//! Never: a label that the object does not have.

use k8s_openapi::api::core::v1::Namespace as ApiNamespace;
use policy::{Diagnostic, Namespace};

use super::report::Report;
use super::{audit, names};
use crate::Kind;
use crate::decode::Unreadable;

pub(crate) fn convert(
    object: &ApiNamespace,
    unreadable: &Unreadable,
) -> (Namespace, Vec<Diagnostic>) {
    let metadata = &object.metadata;
    let mut report = Report::new(Kind::Namespace, metadata, unreadable);
    names::metadata(&mut report, metadata, names::dns_label);
    if metadata.namespace.as_deref().is_some_and(|text| !text.is_empty()) {
        // kubectl and the API server take it, and leave it out.
        report.warning("metadata.namespace", "has no effect; a Namespace is in no namespace");
    }
    let switch = audit::convert(&mut report, metadata);
    let namespace = Namespace {
        name: metadata.name.clone().unwrap_or_default(),
        labels: metadata.labels.clone().into_iter().flatten().collect(),
        is_ending: metadata.deletion_timestamp.is_some(),
        switch,
    };
    (namespace, report.finish())
}
