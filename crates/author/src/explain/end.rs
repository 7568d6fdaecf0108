//! The ends of a question, as people write them.
//!
//! In: a text such as `shop/deploy/cart:80`. Out: what it names and the port, or what is
//! wrong with it. Never: a look at the objects.

use std::fmt;
use std::net::IpAddr;

use policy::{ObjectKey, Operator, Protocol, Requirement, Selector, cidr};
use thiserror::Error;

/// One end, with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// As it was written, without the port.
    pub text: String,
    /// What it names.
    pub named: Named,
    /// The port, if one was written.
    pub port: Option<AskedPort>,
}

/// What an end names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// `internet`: every public address.
    Internet,
    /// An address.
    Address(IpAddr),
    /// `node/NAME`.
    Node(String),
    /// `svc/NAMESPACE/NAME`.
    Service(ObjectKey),
    /// `NAMESPACE/NAME`: a pod or a workload of that name.
    PodOrWorkload(ObjectKey),
    /// `NAMESPACE/KIND/NAME`; the kind as the API names it.
    Workload(&'static str, ObjectKey),
    /// `NAMESPACE/LABEL=VALUE`: the pods that a selector matches.
    Selected(String, Selector),
    /// `NAMESPACE/*`: all its pods.
    AllOf(String),
}

/// A port as it was written. Without a protocol it is TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPort {
    /// The protocol.
    pub protocol: Protocol,
    /// Number or name.
    pub port: NumberOrName,
}

/// A port's number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberOrName {
    /// A number.
    Number(u16),
    /// The name of a port of the pod or of the Service.
    Name(String),
}

/// A text that names no end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndError {
    /// Not one of the forms.
    #[error(
        "{0:?} names nothing; write namespace/pod, namespace/deploy/name, namespace/label=value, \
         svc/namespace/name, node/name, internet or an address"
    )]
    Form(String),
    /// A port that is none.
    #[error("{0:?} is no port; write a number from 1 to 65535 or a port's name, such as 53/UDP")]
    Port(String),
    /// A protocol without ports.
    #[error("{0:?} is no protocol with ports; there are TCP, UDP and SCTP")]
    Protocol(String),
    /// A kind that makes no pods.
    #[error(
        "{0:?} makes no pods; there are pod, deploy, sts, ds, rs, rc, job and cronjob, beside svc \
         and node"
    )]
    Kind(String),
    /// A selector that cannot be read.
    #[error("{0:?} is no selector; write label=value, joined by commas")]
    Selector(String),
}

/// The kinds that make pods, by kubectl's names for them.
const KINDS: [(&str, &[&str]); 8] = [
    ("Pod", &["pod", "pods", "po"]),
    ("Deployment", &["deploy", "deployment", "deployments"]),
    ("StatefulSet", &["sts", "statefulset", "statefulsets"]),
    ("DaemonSet", &["ds", "daemonset", "daemonsets"]),
    ("ReplicaSet", &["rs", "replicaset", "replicasets"]),
    ("ReplicationController", &["rc", "replicationcontroller", "replicationcontrollers"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cj", "cronjob", "cronjobs"]),
];

/// kubectl's short name of a kind, as the forms above have it.
pub fn short_kind(kind: &str) -> String {
    let known = KINDS.iter().find(|(name, _)| *name == kind);
    known.and_then(|(_, words)| words.first()).map_or(kind.to_lowercase(), |&word| word.to_owned())
}

impl End {
    /// Reads an end. `namespace` is where names without one are looked for.
    ///
    /// # Errors
    /// See [`EndError`].
    pub fn parse(text: &str, namespace: &str) -> Result<Self, EndError> {
        let (name, port) = split_port(text);
        let port = port.map(AskedPort::parse).transpose()?;
        let named = named(name, namespace)?;
        Ok(Self { text: name.to_owned(), named, port })
    }
}

impl AskedPort {
    /// Reads `80`, `53/UDP` or `http`.
    ///
    /// # Errors
    /// See [`EndError`].
    pub fn parse(text: &str) -> Result<Self, EndError> {
        let (port, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((port, protocol)) => (port, protocol_of(protocol)?),
        };
        let wrong = || EndError::Port(text.to_owned());
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port.parse() {
            Ok(0) => return Err(wrong()),
            Ok(number) => NumberOrName::Number(number),
            Err(_) if is_number || !is_port_name(port) => return Err(wrong()),
            Err(_) => NumberOrName::Name(port.to_owned()),
        };
        Ok(Self { protocol, port })
    }
}

fn protocol_of(text: &str) -> Result<Protocol, EndError> {
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let found = all.into_iter().find(|one| one.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| EndError::Protocol(text.to_owned()))
}

impl fmt::Display for AskedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            NumberOrName::Number(number) => write!(f, "{} {number}", self.protocol),
            NumberOrName::Name(name) => write!(f, "{} {name}", self.protocol),
        }
    }
}

/// The port after the last colon that is not part of an IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if let Some(inner) = text.strip_prefix('[') {
        return match inner.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, rest)) => (address, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => (text, None),
        };
    }
    match text.rsplit_once(':') {
        Some((name, _)) if name.contains(':') => (text, None),
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    }
}

fn named(text: &str, namespace: &str) -> Result<Named, EndError> {
    if text == "internet" {
        return Ok(Named::Internet);
    }
    if let Some(address) = cidr::parse_address(text) {
        return Ok(Named::Address(address));
    }
    let form = || EndError::Form(text.to_owned());
    // A label's key may have a slash and a dot, a namespace has neither.
    if let Some((first, rest)) = text.split_once('/').filter(|(first, _)| is_word(first))
        && rest.contains(['=', '!'])
    {
        return Ok(Named::Selected(first.to_owned(), selector(rest)?));
    }
    if text.contains(['=', '!']) {
        return Ok(Named::Selected(namespace.to_owned(), selector(text)?));
    }
    let parts: Vec<&str> = text.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(form());
    }
    let key = |namespace: &str, name: &str| ObjectKey::new(namespace, name);
    match parts[..] {
        [name] => Ok(Named::PodOrWorkload(key(namespace, name))),
        ["node" | "nodes" | "no", name] => Ok(Named::Node(name.to_owned())),
        [namespace, "*"] => Ok(Named::AllOf(namespace.to_owned())),
        ["svc" | "service" | "services", name] => Ok(Named::Service(key(namespace, name))),
        ["svc" | "service" | "services", namespace, name]
        | [namespace, "svc" | "service" | "services", name] => {
            Ok(Named::Service(key(namespace, name)))
        }
        [first, name] => match kind(first) {
            Some(kind) => Ok(Named::Workload(kind, key(namespace, name))),
            None => Ok(Named::PodOrWorkload(key(first, name))),
        },
        [first, second, name] => match (kind(first), kind(second)) {
            (_, Some(kind)) => Ok(Named::Workload(kind, key(first, name))),
            (Some(kind), None) => Ok(Named::Workload(kind, key(second, name))),
            (None, None) => Err(EndError::Kind(second.to_owned())),
        },
        _ => Err(form()),
    }
}

fn kind(word: &str) -> Option<&'static str> {
    KINDS.iter().find(|(_, words)| words.contains(&word)).map(|(kind, _)| *kind)
}

/// What the API takes as the name of a port. Of a container: up to 15 small letters, digits
/// and single dashes, with a letter (`IsValidPortName`); of a Service: a DNS label, which is
/// longer and may have two dashes (`IsDNS1123Label`; k8s.io/apimachinery v0.36.3
/// `pkg/util/validation/validation.go`). A number is no name here.
fn is_port_name(text: &str) -> bool {
    /// `DNS1123LabelMaxLength`.
    const LONGEST: usize = 63;
    let has_letter = text.bytes().any(|byte| byte.is_ascii_lowercase());
    let has_capital = text.bytes().any(|byte| byte.is_ascii_uppercase());
    is_word(text)
        && has_letter
        && !has_capital
        && text.len() <= LONGEST
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Letters, digits and dashes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// kubectl's `--selector`, but for its sets.
fn selector(text: &str) -> Result<Selector, EndError> {
    let all: Option<Vec<Requirement>> = text.split(',').map(requirement).collect();
    all.map(Selector::new).ok_or_else(|| EndError::Selector(text.to_owned()))
}

fn requirement(text: &str) -> Option<Requirement> {
    let text = text.trim();
    let (key, operator) = if let Some(key) = text.strip_prefix('!') {
        (key, Operator::DoesNotExist)
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, Operator::NotIn([value.to_owned()].into()))
    } else if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        (key, Operator::In([value.to_owned()].into()))
    } else {
        (text, Operator::Exists)
    };
    (!key.is_empty()).then(|| Requirement { key: key.to_owned(), operator })
}

#[cfg(test)]
mod tests;
