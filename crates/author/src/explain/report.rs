//! An answer, as plain values. `-o json` prints them as they are.
//!
//! Never: objects of the cluster; an answer is complete without them.

use serde::Serialize;

use super::judge::Packet;
use crate::reach::Family;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The source, as it was written.
    pub from: String,
    /// The destination, as it was written.
    pub to: String,
    /// The further network that was asked about; `None`: the primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Protocol and port that were asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// All cases together.
    pub verdict: Verdict,
    /// A case for each group of ends that is treated alike.
    pub cases: Vec<Case>,
    /// What the cases do not show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Whether it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All of it.
    Allowed,
    /// Some of it: some ports, or between some ends.
    Partly,
    /// Nothing.
    Denied,
}

/// Ends that are treated alike, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Case {
    /// Whether it passes.
    pub verdict: Verdict,
    /// The sources.
    pub from: Vec<EndName>,
    /// The destinations.
    pub to: Vec<EndName>,
    /// The families for which this holds.
    pub families: Vec<Family>,
    /// The families that one of the ends lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Family>,
    /// Protocol and port at the destination, if one was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// All ports that both sides let pass.
    pub passes: String,
    /// The way there, if it is not direct: through a Service or a port of a node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<String>,
    /// What the policies of the source say.
    pub egress: Side,
    /// What the policies of the destination say.
    pub ingress: Side,
    /// The smallest changes that would each let it pass, the smallest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<String>,
}

/// An end for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EndName {
    /// Such as `shop/cart-0` or `shop/deploy/cart`.
    pub name: String,
    /// Its addresses, unless they are made up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// What one side's policies say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Whether it passes.
    pub verdict: Verdict,
    /// Why, in a few words.
    pub why: String,
    /// All ports that pass.
    pub passes: String,
    /// The policies that isolate the pod, each with all its rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// Whether a policy isolates it, be it that it does not apply to this one.
    #[serde(skip)]
    pub is_isolated: bool,
    /// The chain of the pod in the table of its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// What this side was asked, if the answer may differ from node to node.
    #[serde(skip)]
    pub asked: Asked,
    /// What the kernel of the pod's node does, if its agent was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
}

/// The packet that a side was asked about; of several that are treated alike, one of them.
/// It tells no cases apart, so it equals any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked(pub Option<Packet>);

impl PartialEq for Asked {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Asked {}

/// What the kernel of a pod's node does to the packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernel {
    /// What the table in force says.
    Judged {
        /// The node.
        node: String,
        /// Whether it passes on this side.
        verdict: Verdict,
        /// The chain and the rule that decide.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Packets of this pod that were dropped, until none was for a minute.
        #[serde(skip_serializing_if = "Option::is_none")]
        dropped: Option<u64>,
        /// How long ago the table was proved, in whole seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        proved_seconds_ago: Option<u64>,
    },
    /// Nobody says: why.
    NotKnown(String),
}

/// A policy that isolates the pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Namespace and name.
    pub name: String,
    /// File and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Its rules of this direction.
    pub rules: Vec<Rule>,
}

/// A rule, and whether it allows this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Such as `ingress[0]`.
    pub name: String,
    /// File and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Whether the rule lets it pass, or some of it if no port was asked about.
    pub allows: bool,
    /// Whether the other end is one of its peers.
    pub peer: Match,
    /// Whether the port is one of its ports.
    pub ports: Match,
}

/// Whether one half of a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Whether it does.
    pub matches: bool,
    /// What it wants, and what there is; of peers that do not match, a line for each.
    pub why: Vec<String>,
}

impl Case {
    /// The same without names, reasons and families: what passes, by which rules.
    pub(super) fn outcome(&self) -> Self {
        let match_only = |one: &Match| Match { matches: one.matches, why: Vec::new() };
        let side = |one: &Side| {
            let mut side = one.clone();
            for rule in side.policies.iter_mut().flat_map(|policy| &mut policy.rules) {
                (rule.peer, rule.ports) = (match_only(&rule.peer), match_only(&rule.ports));
            }
            side
        };
        Self {
            egress: side(&self.egress),
            ingress: side(&self.ingress),
            families: Vec::new(),
            nearest: Vec::new(),
            ..self.clone()
        }
    }
}
