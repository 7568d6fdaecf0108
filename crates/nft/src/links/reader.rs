//! Reads the links of the node.
//!
//! In: rtnetlink. Out: [`NodeLinks`]. Never: half a picture: where the kernel's
//! lists are disturbed or refused, there is an error.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::client::{Client, Ended};
use super::elsewhere::{self, Pair};
use super::error::LinksError;
use super::fou::Fou;
use super::other_ends::{OtherEnds, Which};
use super::peers::{self, PeersOf};
use super::types::{Bridge, NodeLinks, Port, Tunnel};
use super::wire::{self, Link, LinkAddress, LinkKind, ifla, rtm};
use crate::error::OpenError;
use crate::netlink::Request;
use crate::socket::Socket;

/// Attempts at a list that is disturbed.
const ATTEMPTS: u32 = 5;

/// Reads the links of the network namespace of the thread that opened it. Any
/// thread may use it.
pub struct LinkReader {
    client: Client,
    fou: Fou,
    node: Node,
    other_ends: OtherEnds,
    /// Where FOU and GUE listened.
    listening: BTreeSet<Tunnel>,
}

/// What was read in the node's own namespace.
#[derive(Default)]
struct Node {
    /// By index.
    links: Vec<Link>,
    addresses: Vec<LinkAddress>,
    tunnel_peers: PeersOf,
}

impl LinkReader {
    /// Opens a socket.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open() -> Result<Self, OpenError> {
        let socket = Socket::open_route(0).map_err(OpenError)?;
        Ok(Self {
            client: Client::new(socket),
            fou: Fou::open()?,
            node: Node::default(),
            other_ends: OtherEnds::default(),
            listening: BTreeSet::new(),
        })
    }

    /// Reads everything: the node's links and what is at their other ends. Of a
    /// pod's namespace with very many addresses, those in `wanted` are found in
    /// any case. A namespace that takes long is read more rarely.
    ///
    /// # Errors
    /// See [`LinksError`].
    pub fn read(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<NodeLinks, LinksError> {
        self.listening = self.fou.ports()?;
        self.read_node()?;
        self.read_other_ends(wanted, Which::All)
    }

    /// Reads the node's links, and what is at the other ends of new ports and of
    /// those in `again`. Of other ports, and of FOU, what was read before is
    /// repeated: the kernel tells of no change inside another namespace.
    ///
    /// # Errors
    /// See [`LinksError`].
    pub fn read_changes(
        &mut self,
        wanted: &BTreeSet<IpAddr>,
        again: &BTreeSet<u32>,
    ) -> Result<NodeLinks, LinksError> {
        self.read_node()?;
        self.read_other_ends(wanted, Which::NewAnd(again))
    }

    /// Reads what is at the other ends of the ports in `again`. Everything else is
    /// as it was read before.
    ///
    /// # Errors
    /// See [`LinksError`].
    pub fn read_other_ends_again(
        &mut self,
        wanted: &BTreeSet<IpAddr>,
        again: &BTreeSet<u32>,
    ) -> Result<NodeLinks, LinksError> {
        self.read_other_ends(wanted, Which::NewAnd(again))
    }

    /// How many requests were sent since the socket was opened.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.client.requests + self.fou.requests()
    }

    fn read_node(&mut self) -> Result<(), LinksError> {
        let links = self.links()?;
        let addresses = self.own_addresses()?;
        let tunnel_peers = peers::read(&mut self.client, &links)?;
        self.node = Node { links, addresses, tunnel_peers };
        Ok(())
    }

    fn read_other_ends(
        &mut self,
        wanted: &BTreeSet<IpAddr>,
        which: Which<'_>,
    ) -> Result<NodeLinks, LinksError> {
        let pairs = pairs(&self.node.links);
        self.other_ends.read(&mut self.client, pairs, wanted, which)?;
        Ok(self.picture())
    }

    fn links(&mut self) -> Result<Vec<Link>, LinksError> {
        /// `ifinfomsg`: all families, all links.
        const HEADER: [u8; 16] = [0; 16];
        let fill = |request: &mut Request| {
            request.attribute(ifla::EXT_MASK, &ifla::SKIP_STATS.to_ne_bytes());
        };
        for _ in 0..ATTEMPTS {
            let mut links = Vec::new();
            let ended = self.client.list(rtm::GETLINK, &HEADER, fill, |message| {
                if message.kind == rtm::NEWLINK {
                    links.push(wire::link(message)?);
                }
                Ok(())
            })?;
            if is_whole(ended)? {
                links.sort_unstable_by_key(|link| link.index);
                return Ok(links);
            }
        }
        Err(LinksError::KeepChanging(ATTEMPTS))
    }

    fn own_addresses(&mut self) -> Result<Vec<LinkAddress>, LinksError> {
        for _ in 0..ATTEMPTS {
            let mut found = Vec::new();
            if is_whole(elsewhere::addresses(&mut self.client, None, |one| found.push(one))?)? {
                return Ok(found);
            }
        }
        Err(LinksError::KeepChanging(ATTEMPTS))
    }

    fn picture(&self) -> NodeLinks {
        let Node { links, addresses, tunnel_peers } = &self.node;
        let is_bridge: BTreeSet<u32> = links
            .iter()
            .filter(|link| matches!(link.kind, LinkKind::Bridge { .. }))
            .map(|link| link.index)
            .collect();
        let tunnels = peers::ends(links, tunnel_peers, &self.listening);
        let tunnel_peers = tunnel_peers.values().flatten().copied().collect();
        let mut picture = NodeLinks { tunnels, tunnel_peers, ..NodeLinks::default() };
        for link in links {
            match &link.kind {
                LinkKind::Pair => {
                    let port = pair(link).map(|pair| self.port(link, pair, &is_bridge));
                    picture.ports.extend(port);
                }
                LinkKind::Bridge { vlan_filtering } => {
                    picture.bridges.push(bridge(link, *vlan_filtering, links, addresses));
                }
                LinkKind::Tunnel(_) | LinkKind::Other => {}
            }
        }
        picture.own_addresses =
            addresses.iter().map(|one| one.address).filter(is_the_nodes).collect();
        picture
    }

    fn port(&self, link: &Link, pair: Pair, is_bridge: &BTreeSet<u32>) -> Port {
        let end = self.other_ends.of(link.index);
        Port {
            index: link.index,
            name: link.name.clone(),
            namespace: pair.namespace,
            bridge: link.master.filter(|master| is_bridge.contains(master)),
            has_own_address: has_own_address(link, &self.node.addresses),
            mac: end.mac,
            addresses: end.addresses,
            elsewhere: end.elsewhere,
            left_out: end.left_out,
            is_readable: end.is_readable,
        }
    }
}

impl fmt::Debug for LinkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkReader").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

fn bridge(link: &Link, vlan_filtering: bool, links: &[Link], addresses: &[LinkAddress]) -> Bridge {
    let all = || addresses.iter().filter(|one| one.link == link.index);
    let own: BTreeSet<IpAddr> = all().map(|one| one.address).collect();
    let subnets = all().filter(|one| is_the_nodes(&one.address));
    let subnets: BTreeSet<(IpAddr, u8)> = subnets.map(|one| (one.address, one.prefix)).collect();
    let mut ports = links.iter().filter(|port| port.master == Some(link.index));
    Bridge {
        index: link.index,
        name: link.name.clone(),
        mac: link.mac,
        addresses: own.into_iter().collect(),
        subnets: subnets.into_iter().collect(),
        vlan_filtering,
        has_other_ports: ports.any(|port| pair(port).is_none()),
    }
}

fn has_own_address(link: &Link, addresses: &[LinkAddress]) -> bool {
    let on_others = |address| {
        addresses.iter().any(|other| other.address == address && other.link != link.index)
    };
    let mut own = addresses.iter().filter(|one| one.link == link.index);
    own.any(|one| is_the_nodes(&one.address) && !on_others(one.address))
}

/// The pairs that lead into other namespaces, sorted.
fn pairs(links: &[Link]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = links.iter().filter_map(pair).collect();
    pairs.sort_unstable();
    pairs
}

/// `None` if the other end is in our namespace. The kernel numbers the other
/// end's namespace as it answers (`rtnl_fill_link_netnsid`, net/core/rtnetlink.c).
fn pair(link: &Link) -> Option<Pair> {
    let namespace = link.link_namespace.filter(|_| link.kind == LinkKind::Pair)?;
    Some(Pair { namespace, port: link.index, other: link.link? })
}

fn is_whole(ended: Ended) -> Result<bool, LinksError> {
    match ended {
        Ended::Whole => Ok(true),
        Ended::Disturbed => Ok(false),
        Ended::Refused(errno) => Err(LinksError::Refused(errno)),
    }
}

fn is_the_nodes(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !is_link_local
}
