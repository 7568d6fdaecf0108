//! What is asked of an agent, and what it answers: a line of JSON each.
//!
//! Fields are added only. A reader ignores those that it does not know, and lines of kinds
//! that it does not know, so that versions may differ.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The abstract Unix socket on which an agent answers, in its node's network namespace.
pub const SOCKET: &str = "nftpol-agent";
/// That of the pod agent. It answers [`Question::Denied`] for pods that are judged in their own
/// network namespace.
pub const SOCKET_OF_PODS: &str = "nftpol-pod-agent";
/// A question is no longer than this.
pub const QUESTION_BYTES: usize = 64 << 10;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Question {
    /// Packets that were dropped: a [`Line`] each.
    Denied(Selection),
    /// Whether the node enforces: one [`Line::Status`].
    Status {
        /// Also tell of this policy, `namespace/name`.
        #[serde(default)]
        policy: Option<String>,
    },
    /// All that helps to understand the node, without secrets: [`Line::Piece`]s.
    Bundle {},
    /// What the table in the kernel does to a packet: one [`Line::Judged`].
    Judge(AskedPacket),
}

/// A packet of a new flow, and of whose policies the question is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedPacket {
    /// `ingress` or `egress`: those of the receiver or of the sender.
    pub direction: String,
    /// The source, as policies see it.
    pub source: IpAddr,
    /// The destination, after its translation.
    pub destination: IpAddr,
    /// The number in the IP header.
    pub protocol: u8,
    /// The destination port, of protocols with ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// Which packets to tell of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Those of the last seconds.
    pub since_seconds: Option<u64>,
    /// The last ones, this many at most.
    pub last: Option<usize>,
    /// And those to come, until the connection ends.
    pub follow: bool,
    /// Only those whose isolated pod is in this namespace.
    pub namespace: Option<String>,
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "most are of the largest kind")]
pub enum Line {
    /// A packet that was dropped.
    Denied(Denied),
    /// Packets that were dropped and are not told one by one.
    LeftOut(LeftOut),
    /// Whether the node enforces.
    Status(NodeStatus),
    /// A piece of a file.
    Piece(Piece),
    /// What the table does to a packet.
    Judged(Judged),
    /// Nothing was dropped for a while. Shows that somebody is there.
    Quiet {},
    /// There is no answer: why.
    Error(String),
}

/// A packet that was dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// On which node.
    pub node: String,
    /// [`Denied::DENIED`], or [`Denied::WOULD_DENY`] of a packet that passed and that
    /// policies in audit would have denied.
    pub verdict: String,
    /// `ingress` or `egress`: of which pod the policies are, the receiver or the sender.
    pub direction: String,
    /// Who sent it.
    pub source: End,
    /// To whom, after translation of the destination.
    pub destination: End,
    /// `TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, or the number.
    pub protocol: String,
    /// The flags of a TCP header, such as `SYN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<String>,
    /// Type and code of ICMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<(u8, u8)>,
    /// What the sender asked for, where the destination was translated: a Service, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The policies that isolate the pod in this direction, as `namespace/name`. None of them
    /// allows the packet.
    pub policies: Vec<String>,
    /// The chain that dropped it.
    pub chain: String,
    /// What is probably missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Denied {
    /// It was dropped.
    pub const DENIED: &'static str = "DENIED";
    /// It passed.
    pub const WOULD_DENY: &'static str = "WOULD DENY";

    /// Whether it was dropped.
    pub fn is_dropped(&self) -> bool {
        self.verdict != Self::WOULD_DENY
    }
}

/// One end of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its address in the packet.
    pub address: IpAddr,
    /// Its port, of protocols with ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The namespace of the pod that had the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of that pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The labels of that pod, as far as a policy needs them to name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<(String, String)>,
    /// The name of the node that has the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// A destination before its translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The address.
    pub address: IpAddr,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The Service with this address, as `namespace/name`, where the command that asks
    /// agents knows it. Agents do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A piece of a file of a support bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The file's name. Pieces of one name follow each other.
    pub file: String,
    /// The text, without secrets.
    pub text: String,
}

/// Packets that were dropped and are not told one by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// When this was counted, in milliseconds since 1970.
    pub time_ms: u64,
    /// On which node.
    pub node: String,
    /// How many.
    pub packets: u64,
    /// Of which pod, as `namespace/name`, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Why: `rate_limit`, `nobody_read` (the agent's own buffer was full), or `slow_reader`
    /// (the one who asks).
    pub reason: String,
}

/// What the table in a node's kernel does to a packet on one side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Judged {
    /// The node.
    pub node: String,
    /// Whether the address is one that the table isolates in this direction. A pod of another
    /// node is not.
    pub isolated: bool,
    /// Whether this side lets it pass.
    pub passes: bool,
    /// The chain of the address; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// The rule that decides: its place in the chain, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<usize>,
    /// The comment of that rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Packets of this address and direction that were dropped, as the table counts them: the
    /// counter begins anew when none was dropped for a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
    /// Seconds since a table was last proved equal; `None` without `--verify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_age_seconds: Option<f64>,
}

/// Whether a node enforces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// The node.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// Whether all conditions hold that count for readiness.
    pub ready: bool,
    /// The conditions that do not hold, or that have a remark.
    pub conditions: Vec<ConditionStatus>,
    /// Seconds since the API server was last heard; `None` if never.
    pub contact_age_seconds: Option<f64>,
    /// Seconds since the agent started.
    pub running_seconds: f64,
    /// Policies known, and those of them that isolate a pod of this node.
    pub policies: (usize, usize),
    /// With `--verify`: tables proved equal, and tables that were not.
    pub proofs: Option<(u64, u64)>,
    /// Seconds since a table was last proved equal.
    pub proof_age_seconds: Option<f64>,
    /// The policy that was asked for.
    pub policy: Option<PolicyStatus>,
}

/// A condition of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConditionStatus {
    /// Its name, as in `/readyz`.
    pub name: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why it does not, or what should be known.
    pub text: String,
}

/// What a node enforces of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyStatus {
    /// `metadata.uid`; empty if the agent does not know the policy.
    pub uid: String,
    /// A digest of what the policy says, of [`super::status::digest`].
    pub digest: String,
    /// Whether the kernel has it as it is known.
    pub in_force: bool,
    /// Since when, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Whether it isolates a pod of this node.
    pub isolates: bool,
    /// Whether it is in audit, and so isolates nobody.
    pub in_audit: bool,
    /// Why it is not enforced as written, if it is not.
    pub problem: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_short_and_may_have_fields_of_later_versions() {
        let text = r#"{"ask":"denied","last":5,"later":{"a":1}}"#;
        let question: Question = serde_json::from_str(text).expect("a question");
        let selection = Selection { last: Some(5), ..Selection::default() };
        assert_eq!(question, Question::Denied(selection));
        assert_eq!(
            serde_json::from_str::<Question>(r#"{"ask":"status"}"#).expect("a question"),
            Question::Status { policy: None }
        );
        assert!(serde_json::from_str::<Question>(r#"{"ask":"delete"}"#).is_err());
        let judge = r#"{"ask":"judge","direction":"ingress","source":"10.0.0.1","destination":"10.0.0.2","protocol":6,"port":80}"#;
        let question: Question = serde_json::from_str(judge).expect("a question");
        assert_eq!(serde_json::to_string(&question).expect("JSON"), judge);
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let line = Line::LeftOut(LeftOut {
            time_ms: 1,
            node: "n".to_owned(),
            packets: 340,
            pod: Some("shop/cart".to_owned()),
            reason: "rate_limit".to_owned(),
        });
        let text = serde_json::to_string(&line).expect("JSON");
        assert!(text.starts_with(r#"{"left_out":{"time_ms":1,"#), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).expect("a line"), line);
        let older = r#"{"status":{"node":"n"}}"#;
        assert!(matches!(serde_json::from_str(older).expect("a line"), Line::Status(_)));
    }
}
