//! What is known here, in the words of the protocol.

use std::time::Instant;

use author::live::protocol::{
    Asked, ConditionStatus, Denied, End, LeftOut, Line, NodeStatus, PolicyStatus,
};
use author::live::status::digest;
use author::live::text::plain;
use policy::{Direction, Mode, ObjectKey, Pod};

use super::Behind;
use crate::drops::{Entry, Packet, Reason, Who};
use crate::view::Shown;

/// Labels that a controller makes for one pod or one version of its pods
/// (kubernetes.io, "Well-Known Labels, Annotations and Taints").
const GENERATED: [&str; 8] = [
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "batch.kubernetes.io/job-completion-index",
];
/// Labels that name what a pod is; one of them is enough. The first is the recommended one.
const NAMING: [&str; 3] = ["app.kubernetes.io/name", "app", "k8s-app"];
/// The flags of a TCP header (RFC 9293, 3.1; RFC 3168), from the lowest bit.
const TCP_FLAGS: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
/// The longest chain that is shown of a log that is not ours.
const FOREIGN_CHAIN: usize = 128;

/// An entry as a line.
pub fn line(entry: &Entry, node: &str) -> Line {
    match entry {
        Entry::Denied(packet) => Line::Denied(denied(packet, node)),
        Entry::LeftOut(one) => Line::LeftOut(LeftOut {
            time_ms: one.time_ms,
            node: node.to_owned(),
            packets: one.packets,
            pod: match &one.pod {
                Who::Pod(pod) => Some(pod.key.to_string()),
                Who::Node(_) | Who::Unknown => None,
            },
            reason: match one.reason {
                Reason::RateLimit => "rate_limit".to_owned(),
                Reason::NobodyRead => "nobody_read".to_owned(),
            },
        }),
    }
}

/// Whether the isolated pod of an entry is in a namespace. What is about no pod is in each.
pub(super) fn is_in(entry: &Entry, namespace: &str) -> bool {
    let is_there = |who: &Who| matches!(who, Who::Pod(pod) if pod.key.namespace == namespace);
    match entry {
        Entry::LeftOut(one) => one.pod == Who::Unknown || is_there(&one.pod),
        Entry::Denied(packet) => match packet.signature.as_ref().map(|one| one.direction) {
            Some(Direction::Egress) => is_there(&packet.source),
            Some(Direction::Ingress) => is_there(&packet.destination),
            None => is_there(&packet.source) || is_there(&packet.destination),
        },
    }
}

/// A packet.
pub fn denied(packet: &Packet, node: &str) -> Denied {
    let headers = &packet.headers;
    let direction = packet.signature.as_ref().map(|signature| signature.direction);
    let (from, to) = headers.ports.map_or((None, None), |(from, to)| (Some(from), Some(to)));
    let chain: String = plain(&packet.chain).chars().take(FOREIGN_CHAIN).collect();
    Denied {
        time_ms: packet.time_ms,
        node: node.to_owned(),
        verdict: match packet.signature.as_ref().map_or(Mode::Enforce, |one| one.mode) {
            Mode::Enforce => Denied::DENIED.to_owned(),
            Mode::Audit => Denied::WOULD_DENY.to_owned(),
        },
        direction: match direction {
            Some(Direction::Egress) => "egress".to_owned(),
            Some(Direction::Ingress) => "ingress".to_owned(),
            None => "unknown".to_owned(),
        },
        source: end(headers.source, from, &packet.source),
        destination: end(headers.destination, to, &packet.destination),
        protocol: protocol(headers.protocol),
        tcp_flags: headers.tcp_flags.map(tcp_flags),
        icmp: headers.icmp,
        asked: packet.asked.map(|(address, port)| Asked { address, port, service: None }),
        policies: packet.signature.as_ref().map_or_else(Vec::new, |signature| {
            signature.policies.iter().map(ToString::to_string).collect()
        }),
        chain,
        hint: hint(headers.protocol, to, direction),
    }
}

fn end(address: std::net::IpAddr, port: Option<u16>, who: &Who) -> End {
    let mut end = End { address, port, namespace: None, pod: None, labels: Vec::new(), node: None };
    match who {
        Who::Pod(pod) => {
            end.namespace = Some(pod.key.namespace.clone());
            end.pod = Some(pod.key.name.clone());
            end.labels = naming_labels(pod);
        }
        Who::Node(node) => end.node = Some(node.to_string()),
        Who::Unknown => {}
    }
    end
}

/// The labels by which a policy would select a pod and others like it.
fn naming_labels(pod: &Pod) -> Vec<(String, String)> {
    let all = (0..pod.labels.len()).filter_map(|index| pod.labels.pair(index));
    let own: Vec<_> = all.filter(|(key, _)| !GENERATED.contains(key)).collect();
    let naming = NAMING.iter().find_map(|name| own.iter().find(|(key, _)| key == name));
    let chosen = naming.map_or_else(|| own.clone(), |one| vec![*one]);
    chosen.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        number => format!("protocol {number}"),
    }
}

fn tcp_flags(flags: u8) -> String {
    let set = TCP_FLAGS.iter().enumerate().filter(|(bit, _)| flags & (1 << bit) != 0);
    let names: Vec<&str> = set.map(|(_, name)| *name).collect();
    // SYN,ACK as people write it.
    if names.is_empty() { "no flags".to_owned() } else { names.join(",") }
}

fn hint(protocol: u8, port: Option<u16>, direction: Option<Direction>) -> Option<String> {
    let is_dns = port == Some(53) && matches!(protocol, 6 | 17);
    (is_dns && direction == Some(Direction::Egress)).then(|| "no rule allows DNS".to_owned())
}

/// Whether this node enforces, and a policy.
pub(super) fn status(behind: &Behind, policy: Option<&str>) -> NodeStatus {
    let shown = behind.view.look();
    let enforced = shown.enforced.as_ref();
    let known = enforced.map_or(&shown.cluster.policies, |enforced| &enforced.policies);
    let isolates = |key: &ObjectKey| {
        enforced.is_some_and(|enforced| {
            let judging = enforced.signatures.values();
            judging.filter(|one| one.mode == Mode::Enforce).any(|one| one.policies.contains(key))
        })
    };
    let proofs = enforced.map(|enforced| enforced.proofs);
    let proofs = proofs.filter(|proofs| proofs.equal + proofs.failed > 0);
    let remarkable = behind.status.remarkable().into_iter();
    NodeStatus {
        node: behind.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: behind.status.is_ready(),
        conditions: remarkable
            .map(|(condition, holds, text)| {
                let name = condition.name().to_owned();
                ConditionStatus { name, holds, text }
            })
            .collect(),
        contact_age_seconds: behind.metrics.contact_age(),
        running_seconds: behind.started.elapsed().as_secs_f64(),
        policies: (known.len(), isolating(&shown)),
        proofs: proofs.map(|proofs| (proofs.equal, proofs.failed)),
        proof_age_seconds: enforced
            .and_then(|enforced| enforced.proved)
            .map(|proved: Instant| proved.elapsed().as_secs_f64()),
        policy: policy.map(|name| of_policy(&shown, name, isolates)),
    }
}

/// How many policies isolate a pod of this node.
fn isolating(shown: &Shown) -> usize {
    let signatures = shown.enforced.iter().flat_map(|enforced| enforced.signatures.values());
    let signatures = signatures.filter(|signature| signature.mode == Mode::Enforce);
    let policies: std::collections::BTreeSet<&ObjectKey> =
        signatures.flat_map(|signature| &signature.policies).collect();
    policies.len()
}

fn of_policy(shown: &Shown, name: &str, isolates: impl Fn(&ObjectKey) -> bool) -> PolicyStatus {
    let Some((namespace, name)) = name.split_once('/') else { return PolicyStatus::default() };
    let key = ObjectKey::new(namespace, name);
    let Some(policy) = shown.cluster.policies.get(&key) else { return PolicyStatus::default() };
    let enforced = shown.enforced.as_ref();
    let is_aside = enforced.is_some_and(|enforced| enforced.set_aside.contains(&key));
    PolicyStatus {
        uid: policy.uid.clone(),
        digest: digest(policy),
        in_force: enforced.and_then(|enforced| enforced.policies.get(&key)) == Some(policy),
        since_ms: enforced.and_then(|enforced| enforced.since_ms.get(&key)).copied(),
        isolates: isolates(&key),
        in_audit: !policy.is_enforced(),
        problem: is_aside
            .then(|| "the kernel refuses it: it isolates its pods and allows nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named() {
        assert_eq!([0x02, 0x12, 0x00].map(tcp_flags), ["SYN", "SYN,ACK", "no flags"]);
    }

    #[test]
    fn only_the_question_to_a_name_server_is_a_hint() {
        assert!(hint(17, Some(53), Some(Direction::Egress)).is_some());
        assert!(hint(17, Some(53), Some(Direction::Ingress)).is_none());
        assert!(hint(132, Some(53), Some(Direction::Egress)).is_none());
    }
}
