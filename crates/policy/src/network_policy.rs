//! A NetworkPolicy after the API's defaulting.
//!
//! The builder of the model fills in defaults and leaves out unusable parts. A
//! rule whose only peer is unusable has `Peers::Only([])`, which matches nobody,
//! and never `Peers::Anyone`.

use std::fmt;

use crate::{Audit, IpBlock, Mode, ObjectKey, Selector};

/// A NetworkPolicy object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.uid`, empty for objects from files.
    pub uid: String,
    /// `spec.podSelector`: which pods of its namespace it selects.
    pub pod_selector: Selector,
    /// Rules if `policyTypes` (given or by default) holds Ingress; the
    /// selected pods are then isolated for ingress.
    pub ingress: Option<Vec<Rule>>,
    /// Rules if `policyTypes` (given or by default) holds Egress.
    pub egress: Option<Vec<Rule>>,
    /// Whether it drops anything.
    pub audit: Audit,
}

/// Which way a rule looks, seen from the selected pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Packets that the pod sends.
    Egress,
    /// Packets that the pod receives.
    Ingress,
}

/// One item of `ingress` or `egress`: these peers on these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `from` or `to`.
    pub peers: Peers,
    /// `ports`.
    pub ports: Ports,
}

/// `from` or `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Absent or `[]`: anyone, inside and outside the cluster.
    Anyone,
    /// Any one of these; of an empty list, nobody.
    Only(Vec<Peer>),
}

/// A `NetworkPolicyPeer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `podSelector` and `namespaceSelector`.
    Pods(PodPeer),
    /// `ipBlock`.
    IpBlock(IpBlock),
}

/// The pods that a peer selects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodPeer {
    /// `namespaceSelector`; absent means the policy's own namespace.
    pub namespaces: Option<Selector>,
    /// `podSelector`; absent is `{}`.
    pub pods: Selector,
}

/// `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Absent or `[]`: every port of every protocol.
    All,
    /// Any one of these; of an empty list, none.
    Only(Vec<Port>),
}

/// A `NetworkPolicyPort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// `protocol`, TCP when absent.
    pub protocol: Protocol,
    /// `port` and `endPort`.
    pub numbers: PortNumbers,
}

/// `port` with `endPort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortNumbers {
    /// `port` absent: all ports of the protocol.
    All,
    /// From `port` to `endPort`, both included; a single port is both.
    Range(u16, u16),
    /// A container port's name, resolved on the destination pod.
    Named(String),
}

/// The protocols that a `NetworkPolicyPort` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl NetworkPolicy {
    /// A policy that isolates all pods of its namespace in both directions and allows
    /// nothing. It stands for one that is not known.
    pub fn shut(key: ObjectKey) -> Self {
        Self {
            key,
            uid: String::new(),
            pod_selector: Selector::everything(),
            ingress: Some(Vec::new()),
            egress: Some(Vec::new()),
            audit: Audit::default(),
        }
    }

    /// Whether what it denies is dropped.
    pub fn is_enforced(&self) -> bool {
        self.audit.mode == Mode::Enforce
    }

    /// Gives back room that lists have for further items. For objects that are kept:
    /// it is half of a policy, because a list begins with room for four items.
    pub fn shrink(&mut self) {
        for rules in [&mut self.ingress, &mut self.egress].into_iter().flatten() {
            rules.shrink_to_fit();
            for Rule { peers, ports } in rules {
                match peers {
                    Peers::Only(peers) => peers.shrink_to_fit(),
                    Peers::Anyone => {}
                }
                match ports {
                    Ports::Only(ports) => ports.shrink_to_fit(),
                    Ports::All => {}
                }
            }
        }
    }

    /// The rules of a direction; `None` if the policy does not isolate it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Egress => self.egress.as_deref(),
            Direction::Ingress => self.ingress.as_deref(),
        }
    }
}

impl Direction {
    /// Both, in the order in which a packet meets them.
    pub const BOTH: [Self; 2] = [Self::Egress, Self::Ingress];
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        })
    }
}

impl Protocol {
    /// The number in the IP header (IANA protocol numbers).
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// The API's spelling.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}
