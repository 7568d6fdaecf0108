//! NetworkPolicyPeer and IPBlock.
//!
//! In: the API's peer and its field path.
//! Out: the model's peer, or nothing if it cannot be used.
//! Never: a peer from only the usable parts. An ipBlock without one of its
//! excepts would allow more.

use k8s_openapi::api::networking::v1::{IPBlock as ApiIpBlock, NetworkPolicyPeer};
use policy::cidr::{self, CidrError};
use policy::{Diagnostic, IpBlock, Peer, PodPeer, Selector, Severity};

use super::report::Report;
use super::selector;

/// Reads an item of `from` or `to`; `None` if it cannot be used and therefore
/// allows nobody.
pub(super) fn convert(
    report: &mut Report<'_>,
    peer: &NetworkPolicyPeer,
    field: &str,
) -> Option<Peer> {
    if report.is_replaced(field) {
        return None;
    }
    let usable = !report.is_unreadable(field);
    let block =
        peer.ip_block.as_ref().map(|one| ip_block(report, one, &format!("{field}.ipBlock")));
    let mut select = |selector: &Option<_>, name: &str| {
        let field = format!("{field}.{name}");
        selector.as_ref().map(|one| selector::convert(report, one, &field))
    };
    let namespaces = select(&peer.namespace_selector, "namespaceSelector");
    let pods = select(&peer.pod_selector, "podSelector");
    let selects = namespaces.is_some() || pods.is_some();
    match block {
        Some(_) if selects => {
            report.error(
                field,
                "has ipBlock beside podSelector or namespaceSelector and allows nothing; make them \
                 two items of the list",
            );
            None
        }
        Some(block) => block.filter(|_| usable).map(Peer::IpBlock),
        None if !selects => {
            // If a field of it could not be read, that is already reported.
            if usable {
                report.error(
                    field,
                    "is empty and allows nothing; it needs podSelector, namespaceSelector or ipBlock",
                );
            }
            None
        }
        None => {
            let complete = |one: &Option<selector::Converted>| {
                one.as_ref().is_none_or(|converted| converted.complete)
            };
            (usable && complete(&namespaces) && complete(&pods)).then(|| {
                Peer::Pods(PodPeer {
                    namespaces: namespaces.map(|converted| converted.selector),
                    pods: pods.map_or_else(Selector::everything, |converted| converted.selector),
                })
            })
        }
    }
}

fn ip_block(report: &mut Report<'_>, block: &ApiIpBlock, field: &str) -> Option<IpBlock> {
    if report.is_replaced(field) {
        return None;
    }
    let cidr_field = format!("{field}.cidr");
    let net = if block.cidr.is_empty() {
        report.error(cidr_field, "is missing, such as 10.9.8.0/24 or 2001:db8::/64");
        None
    } else {
        parse(report, &block.cidr, &cidr_field)
    };
    let mut complete = !report.is_unreadable(field);
    let mut excepts = Vec::new();
    for (index, text) in block.except.iter().flatten().enumerate() {
        let field = format!("{field}.except[{index}]");
        let Some(except) = parse(report, text, &field) else {
            complete = false;
            continue;
        };
        // One by one, so that every wrong one is reported.
        match net.map(|net| IpBlock::new(net, [except])) {
            Some(Err(error)) => {
                report.error(field, outside(&error, text));
                complete = false;
            }
            Some(Ok(_)) => excepts.push(except),
            None => {}
        }
    }
    IpBlock::new(net?, excepts).ok().filter(|_| complete)
}

/// Whether API servers refuse new objects for what this warning is about, and keep the
/// stored ones: a CIDR with host bits or leading zeros, from Kubernetes 1.36 on
/// (k8s.io/kubernetes v1.36 pkg/apis/networking/validation/validation.go, `ValidateIPBlock`;
/// KEP-4858).
pub(crate) fn is_refused_when_new(warning: &Diagnostic) -> bool {
    let field = &warning.field;
    let is_of_a_cidr = field.ends_with(".ipBlock.cidr") || field.contains(".ipBlock.except[");
    warning.severity == Severity::Warning && is_of_a_cidr
}

fn outside(error: &CidrError, text: &str) -> String {
    match error {
        CidrError::ExceptOutside { cidr, .. } => {
            format!("{text} is not strictly within cidr {cidr}")
        }
        other => other.to_string(),
    }
}

fn parse(report: &mut Report<'_>, text: &str, field: &str) -> Option<ipnet::IpNet> {
    match cidr::parse(text) {
        Ok(net) => {
            if !cidr::is_canonical(text) {
                report.warning(field, format!("{text} is read as {net}; write that instead"));
            }
            Some(net)
        }
        Err(error) => {
            let mut message = error.to_string();
            if !text.contains('/')
                && let Some(address) = cidr::parse_address(text)
            {
                let length = if address.is_ipv4() { 32 } else { 128 };
                message =
                    format!("{text:?} is an address, not a CIDR; did you mean {text}/{length}?");
            } else if text.trim() != text && cidr::parse(text.trim()).is_ok() {
                message = format!("{text:?} has spaces around the CIDR");
            }
            report.error(field, message);
            None
        }
    }
}
