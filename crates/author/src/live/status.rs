//! Whether the nodes enforce, as text for people, and whether all do.

use std::fmt::Write;

use policy::NetworkPolicy;

use super::protocol::NodeStatus;
use super::text::{plain, time};

/// How old a contact may be that is well: a server that has nothing to tell says so once a
/// minute.
const QUIET_SECONDS: f64 = 75.0;

/// A digest of what a policy says (FNV-1a, 64 bits, of the model's text form). Equal on
/// agents and commands of one version.
pub fn digest(policy: &NetworkPolicy) -> String {
    let NetworkPolicy { key, pod_selector, ingress, egress, audit, .. } = policy;
    let written = audit.written;
    let text = format!("{key}|{pod_selector:?}|{ingress:?}|{egress:?}|{written:?}");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one for each node, and most are of the largest kind"
)]
pub enum Node {
    /// Its agent answered.
    Answered(NodeStatus),
    /// Its agent did not: why.
    Silent {
        /// The node's name.
        node: String,
        /// Why.
        why: String,
    },
}

/// A policy as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `namespace/name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// See [`digest`]; `None` where only the node is asked, which then is believed.
    pub digest: Option<String>,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
}

/// Whether a node enforces a policy as it is wanted, or why not.
pub fn enforces(node: &NodeStatus, wanted: &Wanted) -> Result<(), String> {
    let Some(policy) = &node.policy else { return Err("its agent is too old to tell".to_owned()) };
    if policy.uid.is_empty() {
        return Err("its agent does not know the policy yet".to_owned());
    }
    let is_other = !wanted.uid.is_empty() && wanted.uid != policy.uid;
    if is_other || wanted.digest.as_ref().is_some_and(|digest| *digest != policy.digest) {
        return Err("its agent knows an earlier version of the policy".to_owned());
    }
    if let Some(problem) = &policy.problem {
        return Err(plain(problem));
    }
    if !policy.in_force {
        return Err("not in the kernel yet".to_owned());
    }
    let failing = node.conditions.iter().find(|one| !one.holds && one.name == "enforced");
    failing.map_or(Ok(()), |one| Err(plain(&one.text)))
}

/// A table of the nodes, and a last line. The second is whether all is well.
pub fn nodes(nodes: &[Node]) -> (String, bool) {
    let mut text = format!(
        "{:<24} {:<6} {:<10} {:>9} {:>8}  {}\n",
        "NODE", "READY", "VERSION", "CONTACT", "POLICIES", "REMARKS"
    );
    let mut enforcing = 0;
    for node in nodes {
        match node {
            Node::Silent { node, why } => {
                let _ = writeln!(
                    text,
                    "{:<24} {:<6} {:<10} {:>9} {:>8}  {}",
                    plain(node),
                    "?",
                    "?",
                    "?",
                    "?",
                    plain(why)
                );
            }
            Node::Answered(status) => {
                enforcing += usize::from(status.ready);
                let _ = writeln!(
                    text,
                    "{:<24} {:<6} {:<10} {:>9} {:>8}  {}",
                    plain(&status.node),
                    if status.ready { "yes" } else { "no" },
                    plain(&status.version),
                    contact(status.contact_age_seconds),
                    format!("{}/{}", status.policies.1, status.policies.0),
                    remarks(status)
                );
            }
        }
    }
    let all = nodes.len();
    let _ =
        writeln!(text, "{enforcing} of {all} {} enforce", if all == 1 { "node" } else { "nodes" });
    (text, all > 0 && enforcing == all)
}

/// Whether a policy is in force on all nodes: a line, and a line for each node where it is
/// not.
pub fn policy(nodes: &[Node], wanted: &Wanted) -> (String, bool) {
    let (mut missing, mut since, mut isolating, mut in_force) = (String::new(), 0, 0, 0);
    let mut in_audit = 0;
    for node in nodes {
        let (name, problem) = match node {
            Node::Silent { node, why } => (node, Err(plain(why))),
            Node::Answered(status) => (&status.node, enforces(status, wanted)),
        };
        match (problem, node) {
            (Err(why), _) => {
                let _ = writeln!(missing, "  {}: {why}", plain(name));
            }
            (Ok(()), Node::Answered(NodeStatus { policy: Some(policy), .. })) => {
                in_force += 1;
                isolating += usize::from(policy.isolates);
                in_audit += usize::from(policy.in_audit);
                since = since.max(policy.since_ms.unwrap_or_default());
            }
            (Ok(()), _) => {}
        }
    }
    let all = nodes.len();
    let mut text = format!("{} in force on {in_force} of {all} nodes", plain(&wanted.name));
    if since > 0 {
        let _ = write!(text, ", since {} UTC", time(since));
    }
    if !wanted.resource_version.is_empty() {
        let _ = write!(text, ", resourceVersion {}", plain(&wanted.resource_version));
    }
    let _ = write!(text, "; it isolates pods on {isolating}");
    if in_audit > 0 {
        let _ = write!(text, "; in audit on {in_audit}, where it drops nothing");
    }
    text.push('\n');
    (text + &missing, all > 0 && in_force == all)
}

fn contact(age: Option<f64>) -> String {
    match age {
        None => "never".to_owned(),
        Some(age) if age <= QUIET_SECONDS => "now".to_owned(),
        Some(age) => format!("{age:.0} s ago"),
    }
}

fn remarks(status: &NodeStatus) -> String {
    let mut remarks: Vec<String> = Vec::new();
    if let Some((equal, failed)) = status.proofs {
        let age = status.proof_age_seconds.map(|age| format!(", the last {age:.0} s ago"));
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        remarks.push(format!("{equal} proofs{}{failed}", age.unwrap_or_default()));
    }
    let conditions = status.conditions.iter();
    remarks.extend(conditions.map(|one| format!("{}: {}", plain(&one.name), plain(&one.text))));
    remarks.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::protocol::{ConditionStatus, PolicyStatus};

    fn node(name: &str, policy: Option<PolicyStatus>) -> NodeStatus {
        NodeStatus {
            node: name.to_owned(),
            version: "0.1.0".to_owned(),
            ready: true,
            contact_age_seconds: Some(0.5),
            policies: (3, 2),
            policy,
            ..NodeStatus::default()
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            name: "shop/p".to_owned(),
            uid: "u".to_owned(),
            digest: Some("d".to_owned()),
            resource_version: "412".to_owned(),
        }
    }

    fn in_force() -> PolicyStatus {
        PolicyStatus {
            uid: "u".to_owned(),
            digest: "d".to_owned(),
            in_force: true,
            since_ms: Some(1_764_453_093_709),
            isolates: true,
            in_audit: false,
            problem: None,
        }
    }

    #[test]
    fn a_policy_is_in_force_where_the_kernel_has_what_the_api_server_has() {
        let all = [
            Node::Answered(node("a", Some(in_force()))),
            Node::Answered(node("b", Some(PolicyStatus { isolates: false, ..in_force() }))),
        ];
        let (text, is_everywhere) = policy(&all, &wanted());
        assert_eq!(
            text,
            "shop/p in force on 2 of 2 nodes, since 21:51:33.709 UTC, resourceVersion 412; \
             it isolates pods on 1\n"
        );
        assert!(is_everywhere);
        let not: [(PolicyStatus, &str); 4] = [
            (PolicyStatus::default(), "does not know"),
            (PolicyStatus { digest: "e".to_owned(), ..in_force() }, "earlier version"),
            (PolicyStatus { in_force: false, ..in_force() }, "not in the kernel"),
            (PolicyStatus { problem: Some("refused".to_owned()), ..in_force() }, "refused"),
        ];
        for (status, expected) in not {
            let (text, is_everywhere) =
                policy(&[Node::Answered(node("a", Some(status)))], &wanted());
            assert!(!is_everywhere && text.contains(expected), "{text}");
        }
        let silent = Node::Silent { node: "c".to_owned(), why: "no agent".to_owned() };
        assert!(!policy(&[silent], &wanted()).1);
        assert!(!policy(&[], &wanted()).1);
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let mut bad = node("b", None);
        bad.ready = false;
        let text = "others change\nthe table".to_owned();
        bad.conditions.push(ConditionStatus { name: "enforced".to_owned(), holds: false, text });
        let (text, is_well) = nodes(&[Node::Answered(node("a", None)), Node::Answered(bad)]);
        assert!(!is_well);
        assert!(text.contains("enforced: others change?the table\n"), "{text}");
        assert!(text.ends_with("1 of 2 nodes enforce\n"), "{text}");
    }
}
