//! Kubernetes YAML for the pods of the range, with only the fields that policies
//! depend on.

use std::net::Ipv4Addr;

/// Namespace of every object.
const NAMESPACE: &str = "fire";

/// Joins several texts into one with many documents.
pub fn list(texts: &[&str]) -> String {
    texts.join("---\n")
}

/// A running pod. Write `labels` as between the braces of a YAML flow mapping.
/// `born` is in seconds, 0 to 59. Of two pods with one address, the younger has it.
pub fn pod(name: &str, labels: &str, address: Ipv4Addr, born: u8) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {NAMESPACE}
  labels: {{{labels}}}
  creationTimestamp: \"2026-01-01T00:00:{born:02}Z\"
spec:
  containers: [{{name: main, image: example.org/main:1}}]
status:
  phase: Running
  podIP: {address}
  podIPs: [{{ip: {address}}}]
"
    )
}

/// The same pod while it ends: it has a deletionTimestamp.
pub fn ending(pod: &str) -> String {
    let created = "  creationTimestamp:";
    pod.replacen(created, &format!("  deletionTimestamp: \"2026-01-01T00:01:00Z\"\n{created}"), 1)
}

/// A NetworkPolicy. `spec` is the text below `spec:`.
pub fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  {spec}
"
    )
}
