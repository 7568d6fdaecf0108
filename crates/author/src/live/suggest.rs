//! The smallest policies that would allow what was denied.
//!
//! In: packets that were denied, or would have been. Out: YAML with comments, a policy for each isolated pod and
//! direction. Never: a policy that is applied, or that allows what nobody tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::protocol::{Denied, End};
use super::text::plain;

/// What was tried, by whose policies denied it.
type Wanted = BTreeMap<Subject, BTreeMap<Peer, BTreeSet<(String, Option<u16>)>>>;

/// The pods that a policy selects, and the direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    namespace: String,
    labels: Vec<(String, String)>,
    pod: String,
    is_egress: bool,
}

/// The other end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Pods { namespace: String, labels: Vec<(String, String)> },
    Block(String),
}

/// The policies as YAML. `only`: for the pods of this namespace, or for this
/// `namespace/pod`, whose name may be followed by more (`shop/cart` is `shop/cart-5c6b-a2`).
pub fn policies(packets: &[Denied], only: Option<&str>) -> String {
    let wanted = wanted(packets, only);
    if wanted.is_empty() {
        return "# Nothing was denied that a policy could allow.\n".to_owned();
    }
    let mut yaml = String::from(
        "# Proposed from packets that were denied. Read it first: it allows everybody who \
         tried.\n",
    );
    for (number, (subject, peers)) in wanted.iter().enumerate() {
        policy(&mut yaml, number, subject, peers);
    }
    yaml
}

fn wanted(packets: &[Denied], only: Option<&str>) -> Wanted {
    let mut wanted = Wanted::new();
    for packet in packets {
        let is_egress = packet.direction == "egress";
        let (own, other) = match is_egress {
            true => (&packet.source, &packet.destination),
            false => (&packet.destination, &packet.source),
        };
        let (Some(namespace), Some(pod)) = (&own.namespace, &own.pod) else { continue };
        // Only what opens a connection: an answer is allowed with its question.
        let opens = packet.tcp_flags.as_deref().is_none_or(|flags| flags == "SYN");
        let has_ports = matches!(packet.protocol.as_str(), "TCP" | "UDP" | "SCTP");
        if !opens || !has_ports || !only.is_none_or(|only| is_meant(only, namespace, pod)) {
            continue;
        }
        let subject = Subject {
            namespace: namespace.clone(),
            labels: own.labels.clone(),
            pod: pod.clone(),
            is_egress,
        };
        // Pods that a label names are one subject, whatever their names.
        let subject = match subject.labels.is_empty() {
            true => subject,
            false => Subject { pod: String::new(), ..subject },
        };
        let port = (packet.protocol.clone(), packet.destination.port);
        wanted.entry(subject).or_default().entry(peer(other)).or_default().insert(port);
    }
    wanted
}

fn is_meant(only: &str, namespace: &str, pod: &str) -> bool {
    match only.split_once('/') {
        None => only == namespace,
        Some((of, name)) => {
            let rest = pod.strip_prefix(name);
            of == namespace && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        }
    }
}

fn peer(end: &End) -> Peer {
    match &end.namespace {
        Some(namespace) if end.pod.is_some() && !end.labels.is_empty() => {
            Peer::Pods { namespace: namespace.clone(), labels: end.labels.clone() }
        }
        _ => {
            Peer::Block(format!("{}/{}", end.address, if end.address.is_ipv4() { 32 } else { 128 }))
        }
    }
}

/// Writing to a String does not fail.
fn policy(
    yaml: &mut String,
    number: usize,
    subject: &Subject,
    peers: &BTreeMap<Peer, BTreeSet<(String, Option<u16>)>>,
) {
    let (kind, rules, side) = match subject.is_egress {
        true => ("Egress", "egress", "to"),
        false => ("Ingress", "ingress", "from"),
    };
    let remark = match subject.labels.is_empty() {
        true => format!("   # all pods: {} has no labels", plain(&subject.pod)),
        false => String::new(),
    };
    let _ = writeln!(
        yaml,
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  \
         name: allow-denied-{rules}-{number}\n  namespace: {}\nspec:\n  \
         podSelector: {}{remark}\n  policyTypes: [{kind}]\n  {rules}:",
        quoted(&subject.namespace),
        selector(&subject.labels),
    );
    for (peer, ports) in peers {
        let _ = writeln!(yaml, "    - {side}:");
        let _ = match peer {
            Peer::Block(block) => {
                let block = quoted(block);
                writeln!(yaml, "        - ipBlock: {{cidr: {block}}}   # no pod with labels")
            }
            Peer::Pods { namespace, labels } if *namespace == subject.namespace => {
                writeln!(yaml, "        - podSelector: {}", selector(labels))
            }
            Peer::Pods { namespace, labels } => {
                let name = [("kubernetes.io/metadata.name".to_owned(), namespace.clone())];
                let (namespace, pods) = (selector(&name), selector(labels));
                let indent = "          ";
                writeln!(
                    yaml,
                    "        - namespaceSelector: {namespace}\n{indent}podSelector: {pods}"
                )
            }
        };
        let _ = writeln!(yaml, "      ports:");
        for (protocol, port) in ports {
            let port = port.map(|port| format!(", port: {port}")).unwrap_or_default();
            let _ = writeln!(yaml, "        - {{protocol: {}{port}}}", plain(protocol));
        }
    }
}

fn selector(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return "{}".to_owned();
    }
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{}: {}", quoted(key), quoted(value))).collect();
    format!("{{matchLabels: {{{}}}}}", labels.join(", "))
}

/// A text as YAML takes it, which takes JSON (YAML 1.2).
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_word = !matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    match starts && is_word && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests;
