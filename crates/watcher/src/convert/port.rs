//! NetworkPolicyPort, and the protocols and numbers of container ports.
//!
//! In: the API's port and its field path.
//! Out: the model's port, or nothing if it cannot be used.
//! Never: a port from only the usable parts.

use k8s_openapi::api::networking::v1::NetworkPolicyPort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use policy::{Port, PortNumbers, Protocol};

use super::names;
use super::report::Report;
use crate::spelling::suggest;

/// The valid protocols.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Reads an item of `ports`; `None` if it cannot be used.
pub(super) fn convert(
    report: &mut Report<'_>,
    port: &NetworkPolicyPort,
    field: &str,
) -> Option<Port> {
    let usable = !report.is_unreadable(field);
    if report.is_replaced(field) {
        return None;
    }
    let protocol = match port.protocol.as_deref() {
        None => Some(Protocol::Tcp),
        Some(text) => protocol(report, text, &format!("{field}.protocol")),
    };
    let numbers = numbers(report, port, field);
    usable.then_some(Port { protocol: protocol?, numbers: numbers? })
}

fn numbers(report: &mut Report<'_>, port: &NetworkPolicyPort, field: &str) -> Option<PortNumbers> {
    let port_field = format!("{field}.port");
    let end_field = format!("{field}.endPort");
    match (&port.port, port.end_port) {
        (None, None) => Some(PortNumbers::All),
        (None, Some(_)) => {
            report.error(end_field, "needs port, the first of the range");
            None
        }
        (Some(IntOrString::Int(first)), end) => {
            let first = number(report, *first, &port_field);
            let last = match end {
                None => first,
                Some(last) => number(report, last, &end_field),
            };
            let (first, last) = (first?, last?);
            if last < first {
                report.error(end_field, format!("{last} is below port {first}"));
                return None;
            }
            Some(PortNumbers::Range(first, last))
        }
        (Some(IntOrString::String(name)), end) => {
            let valid = names::port_name(name);
            if let Err(message) = &valid {
                report.error(port_field, message);
            }
            if end.is_some() {
                report.error(end_field, format!("needs a numeric port, and {name:?} is a name"));
                return None;
            }
            valid.ok().map(|()| PortNumbers::Named(name.clone()))
        }
    }
}

/// A port number, 1 to 65535.
pub(super) fn number(report: &mut Report<'_>, number: i32, field: &str) -> Option<u16> {
    let valid = u16::try_from(number).ok().filter(|&number| number > 0);
    if valid.is_none() {
        report.error(field, format!("{number} is not a port; 1 to 65535"));
    }
    valid
}

/// A protocol name; the API requires capitals.
pub(super) fn protocol(report: &mut Report<'_>, text: &str, field: &str) -> Option<Protocol> {
    let protocol = match text {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    };
    if protocol.is_none() {
        let message = match suggest(text, PROTOCOLS) {
            Some(meant) => format!("unknown protocol {text:?}; did you mean {meant}?"),
            None if text.to_ascii_uppercase().starts_with("ICMP") => format!(
                "unknown protocol {text:?}; ports are of TCP, UDP or SCTP, and only a rule \
                 without ports allows ICMP"
            ),
            None => format!("unknown protocol {text:?}; one of {}", PROTOCOLS.join(", ")),
        };
        report.error(field, message);
    }
    protocol
}
