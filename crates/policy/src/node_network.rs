//! The node's network: which interface belongs to which pod, the node's tunnels, and
//! where pods have their addresses.
//!
//! In: nothing. These are plain values: [`Seen`] is what the kernel lists,
//! [`NodeNetwork`] is what [`crate::resolve`] concludes from it.
//! Out: an explicit input of the specification, the compiler and the proof.
//! Never: netlink, or a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use imbl::{OrdMap, OrdSet};
use ipnet::IpNet;

use crate::{Inside, ObjectKey, PodRange, UnknownPods};

/// The number of an interface in the node's network namespace (`ifi_index`,
/// rtnetlink(7)). The kernel gives no number twice until it wraps at 2^31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u32);

/// The node's number of another network namespace (`IFLA_LINK_NETNSID`,
/// linux/if_link.h). It tells interfaces of one namespace from those of others within
/// one look. When a namespace is gone, another one can get its number
/// (`peernet2id_alloc`, net/core/net_namespace.c, 6.18), so nothing is remembered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkNamespace(pub i32);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// What the node unwraps: the protocol of the outer packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// UDP to this port: VXLAN, Geneve, FOU, bareudp, flannel's UDP backend.
    Udp(u16),
    /// This IP protocol: IPIP 4, sit 41, GRE 47.
    Protocol(u8),
}

/// What is seen on the node, before it is known whose it is. The order of its
/// lists has no meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The node's ends of interfaces that lead into other network namespaces.
    pub ports: Vec<SeenPort>,
    /// The node's bridges.
    pub bridges: Vec<SeenBridge>,
    /// What the node unwraps, and who may send it.
    pub tunnels: BTreeMap<Tunnel, TunnelSources>,
    /// The other ends that the node's tunnels name themselves.
    pub tunnel_peers: BTreeSet<IpAddr>,
    /// Whether the kernel has IPVS, which sends what it forwards from the output hook.
    pub ipvs: bool,
}

/// The node's end of a veth (or netkit) whose other end is in another network
/// namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenPort {
    /// The number of the node's end.
    pub index: InterfaceIndex,
    /// The name of the node's end.
    pub name: String,
    /// The namespace of the pod's end.
    pub namespace: NetworkNamespace,
    /// The bridge that the node's end is a port of.
    pub bridge: Option<InterfaceIndex>,
    /// Whether the node's end has an address of the node's alone: it may be the node's
    /// own uplink.
    pub is_uplink: bool,
    /// The MAC of the pod's end.
    pub mac: Mac,
    /// The addresses of the pod's end.
    pub addresses: Vec<SeenAddress>,
    /// The addresses of other devices in the namespace of the pod's end.
    pub elsewhere: Vec<IpAddr>,
}

/// An address of the pod's end of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenAddress {
    /// The address.
    pub address: IpAddr,
    /// When it was added, in 1/100 seconds since boot (`IFA_CACHEINFO`,
    /// `ifa_cacheinfo.cstamp`, linux/if_addr.h). Nobody can set it.
    pub created: u64,
}

/// A bridge of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenBridge {
    /// Its number.
    pub index: InterfaceIndex,
    /// Its name.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses: gateways of pods.
    pub addresses: Vec<IpAddr>,
    /// The subnets that they are in, without link-local ones.
    pub subnets: Vec<IpNet>,
    /// Whether it filters VLANs (`IFLA_BR_VLAN_FILTERING`).
    pub vlan_filtering: bool,
    /// Whether one of its ports is no veth into another namespace.
    pub has_other_ports: bool,
}

/// The node's network as it is bound.
///
/// The maps are persistent: a clone costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeNetwork {
    /// The ports that are known to be a pod's.
    pub ports: OrdMap<InterfaceIndex, BoundPort>,
    /// The bridges that have such ports.
    pub bridges: OrdMap<InterfaceIndex, BoundBridge>,
    /// What the node unwraps, and who may send it.
    pub tunnels: OrdMap<Tunnel, TunnelSources>,
    /// The other ends that the node's tunnels name themselves.
    pub tunnel_peers: OrdSet<IpAddr>,
    /// Whether IPVS may forward packets of pods. It takes them at the input hook, gives
    /// them a pod's address, and sends them from the output hook (`ip_vs_nat_xmit`,
    /// net/netfilter/ipvs/ip_vs_xmit.c, 6.18): none of them crosses the forward hook.
    pub ipvs: bool,
    /// Where pods have their addresses, as far as it is known.
    pub pod_ranges: OrdSet<PodRange>,
    /// What becomes of addresses there that no object names.
    pub unknown_pods: UnknownPods,
    /// `Some` if this is no node's network, but a pod's own network namespace. All else
    /// is empty then.
    pub inside: Option<Inside>,
    /// Whether the `bridge` table in force may still lack the guard of a port that it
    /// shall guard. Until it has all, multicast and broadcast are dropped for all pods:
    /// see [`crate::spec::edges`]. Who sends the tables sets it; what shall be in the end
    /// is compiled without.
    pub guards_pending: bool,
}

/// A pod's port: the node's end of its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPort {
    /// Whose it is.
    pub pod: ObjectKey,
    /// The bridge that it is a port of; `None` for a routed pod.
    pub bridge: Option<InterfaceIndex>,
    /// The pod's MAC. [`Mac::NONE`] if on its bridge another has it: then nothing
    /// that the pod sends is its own.
    pub mac: Mac,
    /// What the pod may call itself: its reported addresses that were found on
    /// this interface, and the interface's own link-local ones.
    pub addresses: BTreeSet<IpAddr>,
}

/// A bridge with bound ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundBridge {
    /// Its MAC.
    pub mac: Mac,
    /// Its addresses: gateways of pods, and nobody's.
    pub addresses: BTreeSet<IpAddr>,
    /// Whether each of its ports leads into another network namespace.
    pub only_pods: bool,
}

/// Where the outer packets of a tunnel may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TunnelSources {
    /// The nodes' addresses: its other ends are nodes.
    Nodes,
    /// Anywhere but the node's own pods.
    Any,
}

/// What each interface was known to have before: from memory, or from the
/// kernel's tables after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(pub BTreeMap<InterfaceIndex, Claim>);

/// What one interface was known to have before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// The MAC of its pod.
    pub mac: Option<Mac>,
    /// The MAC that its other end had when it was first seen. `None` after a restart.
    pub first_mac: Option<Mac>,
    /// The bound addresses of its pod.
    pub addresses: BTreeSet<IpAddr>,
    /// The addresses that its other end had when it was first seen with any, each
    /// with its time. Empty after a restart. At most
    /// [`crate::binding::FIRST_ADDRESSES`].
    pub first: BTreeMap<IpAddr, u64>,
    /// The first pod whose it was, or whose namespace its other end was in. Another one
    /// only if that pod is gone and no other interface could be the other pod's. `None`
    /// after a restart, until it is known.
    pub pod: Option<ClaimingPod>,
}

/// A pod, told apart from a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimingPod {
    /// Its name.
    pub key: ObjectKey,
    /// See [`crate::Pod::created`].
    pub created: i64,
}

impl InterfaceIndex {
    /// The port that no node has: the kernel counts from 1 (`dev_index_reserve`,
    /// net/core/dev.c, 6.18). Addresses that are bound to it are those of this node's
    /// pods that nobody may use. Nothing is asked for the interface that a packet came
    /// in by where that could be none.
    pub const NOBODYS: Self = Self(0);
}

impl BoundPort {
    /// Whether this is the pod's MAC. [`Mac::NONE`] is nobody's.
    pub fn has_mac(&self, mac: Mac) -> bool {
        self.mac == mac && mac != Mac::NONE
    }
}

impl Mac {
    /// The MAC that no device has. A bridge takes no frame from it
    /// (`br_handle_frame`, net/bridge/br_input.c, 6.18).
    pub const NONE: Self = Self([0; 6]);

    /// Reads `02:00:00:00:00:01`. `None` if it is no such address.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        bytes.try_into().ok().map(Self)
    }
}

impl SeenPort {
    /// Whether the pod's end has an address now.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|one| one.address == address)
    }
}

impl NodeNetwork {
    /// What each bound port has.
    ///
    /// [`crate::Resolved::claims`] says more: it remembers ports whose pod is
    /// not known yet.
    pub fn claims(&self) -> Claims {
        let claim = |port: &BoundPort| Claim {
            mac: Some(port.mac),
            first_mac: None,
            addresses: port.addresses.clone(),
            first: BTreeMap::new(),
            pod: None,
        };
        Claims(self.ports.iter().map(|(&index, port)| (index, claim(port))).collect())
    }
}

/// `02:00:00:00:00:01`, as ip(8) prints it.
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// `from nodes only`, `from anywhere but this node's pods`.
impl fmt::Display for TunnelSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nodes => "from nodes only",
            Self::Any => "from anywhere but this node's pods",
        })
    }
}

/// `UDP port 8472`, `IP protocol 4`.
impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(port) => write!(f, "UDP port {port}"),
            Self::Protocol(number) => write!(f, "IP protocol {number}"),
        }
    }
}
