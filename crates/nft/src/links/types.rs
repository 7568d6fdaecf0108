//! What is seen of a node's links.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The links of a node at one moment. Everything is sorted, so that equal nodes
/// give equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeLinks {
    /// By index.
    pub ports: Vec<Port>,
    /// By index.
    pub bridges: Vec<Bridge>,
    /// Where the node takes tunnelled packets, and what is known of who sends them.
    pub tunnels: BTreeMap<Tunnel, Ends>,
    /// The other ends of the node's tunnels, as far as the node's links,
    /// permanent forwarding entries and routes name them.
    pub tunnel_peers: BTreeSet<IpAddr>,
    /// The addresses of the node's own links, without those of `lo` and without
    /// link-local ones.
    pub own_addresses: BTreeSet<IpAddr>,
}

/// The node's end of a veth or netkit pair whose other end is in another network
/// namespace. Loopback addresses (127.0.0.0/8, ::1) are nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The index of the node's end. It stays the same when the link is renamed.
    pub index: u32,
    /// The present name of the node's end.
    pub name: String,
    /// The node's number for the other end's namespace (IFLA_LINK_NETNSID,
    /// include/uapi/linux/if_link.h). Ports into one namespace have the same. It is given
    /// again once that namespace is gone.
    pub namespace: i32,
    /// The index of the bridge that it is a port of.
    pub bridge: Option<u32>,
    /// Whether the node's end has an address, beside link-local ones, that no other link
    /// of the node has. The node's own uplink has one, where that is a veth. The gateways
    /// that a CNI plugin gives to pods' links are alike.
    pub has_own_address: bool,
    /// The MAC of the other end. All zero where the other end has none (netkit
    /// in L3 mode) or where it could not be read.
    pub mac: [u8; 6],
    /// The addresses of the other end, by address.
    pub addresses: Vec<Address>,
    /// The addresses of other links in the other end's namespace, sorted.
    pub elsewhere: Vec<IpAddr>,
    /// How many addresses are in neither list. Of those that nobody asked for,
    /// each list has the oldest only.
    pub left_out: usize,
    /// Whether the other end's namespace could be read. If not, `mac`,
    /// `addresses` and `elsewhere` are empty: the node's user namespace does not
    /// own that namespace, or the other end moved meanwhile.
    pub is_readable: bool,
}

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// When it was added, in 1/100 s since boot (`ifa_cacheinfo.cstamp`,
    /// include/uapi/linux/if_addr.h), or later by multiples of 497 days if that is longer ago.
    pub created: u64,
}

/// A bridge of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its index.
    pub index: u32,
    /// Its present name.
    pub name: String,
    /// Its own MAC.
    pub mac: [u8; 6],
    /// Its own addresses, sorted, link-local ones included.
    pub addresses: Vec<IpAddr>,
    /// The subnets of its addresses, each as an address and the length of its prefix,
    /// sorted. Without link-local ones.
    pub subnets: Vec<(IpAddr, u8)>,
    /// IFLA_BR_VLAN_FILTERING.
    pub vlan_filtering: bool,
    /// Whether it has a port that leads into no other network namespace, such as
    /// a physical interface.
    pub has_other_ports: bool,
}

/// How a packet is marked that the node takes out of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tunnel {
    /// A UDP destination port, as for VXLAN, Geneve, bareudp, FOU, GUE and
    /// flannel's UDP backend.
    Udp(u16),
    /// An IP protocol, as for IPIP (4), IPv6 in IP (41) and GRE (47).
    Protocol(u8),
}

/// What is known of the other ends of all links that take one kind of packets. A
/// link that is down takes none (`ip_tunnel_lookup`, net/ipv4/ip_tunnel.c, and
/// `vxlan_stop`, drivers/net/vxlan/vxlan_core.c, Linux 6.18), so it makes nothing
/// unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ends {
    /// Each link names at least one (in [`NodeLinks::tunnel_peers`]), or is
    /// flannel's: these lead from node to node.
    Named,
    /// There is a link of which nothing names the other ends.
    Unknown,
}
