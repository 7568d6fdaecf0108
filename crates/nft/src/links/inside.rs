//! The interfaces of a pod's own network namespace, seen from inside.
//!
//! In: rtnetlink of the thread's namespace. Out: each interface with its kind and
//! addresses. Never: half a list.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::client::{Client, Ended};
use super::elsewhere;
use super::error::LinksError;
use super::wire::{self, ifla, rtm};
use crate::error::OpenError;
use crate::netlink::Request;
use crate::socket::Socket;

/// Attempts at a list that is disturbed. Who may change the namespace can disturb each.
const ATTEMPTS: u32 = 5;

/// An interface in a pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsideInterface {
    /// Its number. Unique within its namespace.
    pub index: u32,
    /// Its present name.
    pub name: String,
    /// What it is.
    pub kind: InsideKind,
    /// Its MAC; zero if it has none.
    pub mac: [u8; 6],
    /// Its addresses, sorted.
    pub addresses: Vec<IpAddr>,
}

/// How packets get from an interface to the world (IFLA_INFO_KIND,
/// include/uapi/linux/if_link.h; `rtnl_link_ops.kind` of each driver, Linux 6.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsideKind {
    /// veth or netkit: by its other end, mostly on the node.
    Pair,
    /// macvlan or macvtap: by the interface below, past the node's hooks.
    Macvlan,
    /// ipvlan or ipvtap: alike.
    Ipvlan,
    /// A device of a driver, without a kind: a physical one, or a virtual function of one
    /// (SR-IOV). The loopback interface is one, too.
    Device,
    /// Anything else, as a tunnel that the pod made.
    Other,
}

impl InsideKind {
    /// Whether its packets go past the node's hooks, whatever is at its other end.
    #[must_use]
    pub const fn is_past_the_node(self) -> bool {
        match self {
            Self::Macvlan | Self::Ipvlan | Self::Device => true,
            Self::Pair | Self::Other => false,
        }
    }

    fn of(kind: &str) -> Self {
        match kind {
            "" => Self::Device,
            "veth" | "netkit" => Self::Pair,
            "macvlan" | "macvtap" => Self::Macvlan,
            "ipvlan" | "ipvtap" => Self::Ipvlan,
            _ => Self::Other,
        }
    }
}

/// The interfaces of the network namespace of this thread, by index.
///
/// # Errors
/// No socket, or the kernel refuses a list, or it keeps changing.
pub fn inside_interfaces() -> Result<Vec<InsideInterface>, LinksError> {
    let socket = Socket::open_route(0).map_err(|error| LinksError::Io(OpenError(error).0))?;
    let mut client = Client::new(socket);
    for _ in 0..ATTEMPTS {
        if let Some(interfaces) = read(&mut client)? {
            return Ok(interfaces);
        }
    }
    Err(LinksError::KeepChanging(ATTEMPTS))
}

/// `None` if a list was disturbed.
fn read(client: &mut Client) -> Result<Option<Vec<InsideInterface>>, LinksError> {
    /// `ifinfomsg`: all families, all links.
    const HEADER: [u8; 16] = [0; 16];
    let fill = |request: &mut Request| {
        request.attribute(ifla::EXT_MASK, &ifla::SKIP_STATS.to_ne_bytes());
    };
    let mut found: Vec<InsideInterface> = Vec::new();
    let ended = client.list(rtm::GETLINK, &HEADER, fill, |message| {
        if message.kind == rtm::NEWLINK {
            let link = wire::link(message)?;
            found.push(InsideInterface {
                index: link.index,
                name: link.name,
                kind: InsideKind::of(&wire::kind(message)?),
                mac: link.mac,
                addresses: Vec::new(),
            });
        }
        Ok(())
    })?;
    if !is_whole(ended)? {
        return Ok(None);
    }
    let mut addresses: BTreeSet<(u32, IpAddr)> = BTreeSet::new();
    let ended = elsewhere::addresses(client, None, |one| {
        addresses.insert((one.link, one.address));
    })?;
    if !is_whole(ended)? {
        return Ok(None);
    }
    for one in &mut found {
        let own = addresses.iter().filter(|(link, _)| *link == one.index);
        one.addresses = own.map(|(_, address)| *address).collect();
    }
    found.sort_unstable_by_key(|one| one.index);
    Ok(Some(found))
}

fn is_whole(ended: Ended) -> Result<bool, LinksError> {
    match ended {
        Ended::Whole => Ok(true),
        Ended::Disturbed => Ok(false),
        Ended::Refused(errno) => Err(LinksError::Refused(errno)),
    }
}
