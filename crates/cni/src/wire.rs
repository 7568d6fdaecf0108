//! What the plugin asks the agent of its node, and what that answers: a line of JSON each.
//!
//! Fields are added only, and a reader ignores those that it does not know: plugin and
//! agent may be of different versions.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The abstract Unix socket of the agent, in the node's network namespace.
pub const SOCKET: &str = "nftpol-agent";

/// Why an agent answers nothing at this moment: the next attempt may succeed.
pub const BUSY: &str = "too many ask at a time; try again later";

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cni", rename_all = "snake_case")]
pub enum Request {
    /// A pod has these addresses from now on. Answered once its rules are in force.
    Attach {
        /// Which attachment it is.
        attachment: Attachment,
        /// Whose it is.
        pod: PodName,
        /// What it got.
        addresses: BTreeSet<IpAddr>,
        /// The interfaces of the node that the plugins before made for it, or use for it.
        #[serde(default)]
        interfaces: Vec<Interface>,
        /// How long the answer may take.
        wait_ms: u64,
    },
    /// An attachment ends.
    Detach {
        /// Which.
        attachment: Attachment,
    },
    /// Whether a pod's rules are in force at these addresses.
    Check {
        /// The pod.
        pod: PodName,
        /// Its addresses.
        addresses: BTreeSet<IpAddr>,
    },
    /// Whether the agent can answer `Attach`.
    Status {},
    /// These are all attachments that there are.
    Keep {
        /// All of them.
        attachments: BTreeSet<Attachment>,
    },
}

/// One interface of a container: what CNI tells apart (SPEC.md 1.1, "CNI_CONTAINERID",
/// "CNI_IFNAME").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's, that is the sandbox's, identifier.
    #[serde(alias = "containerID")]
    pub container: String,
    /// The name of the interface in it.
    #[serde(alias = "ifname")]
    pub interface: String,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PodName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// The pod's uid as the kubelet has it, if the runtime tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// An interface of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The kernel has the rules of the pod.
    InForce {},
    /// The agent does not know the pod's object yet. Until it does, nothing is allowed from
    /// and to the addresses: the kernel has that.
    Isolated {},
    /// Done.
    Done {},
    /// The agent cannot tell, or not in time: why.
    NotReady(String),
    /// The question cannot be answered: why.
    Error(String),
}
