//! rtnetlink's messages about links, addresses, neighbours and routes.
//!
//! In: the bytes of one message. Out: what we need of it, or [`Garbled`].
//! Never: I/O, or trust in a length that the bytes state.
//!
//! Layouts: include/uapi/linux/{rtnetlink,if_link,if_addr,neighbour}.h. Numbers
//! are in host order, addresses in network order.

mod numbers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tunnel::{self, TunnelLink};
use crate::netlink::{Message, attributes};
pub(super) use numbers::{ifa, ifla, nda, rta, rtm};

/// A message that no known kernel sends: which part is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbled(pub(super) &'static str);

/// A link in one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// IFF_UP.
    pub(super) is_up: bool,
    /// Its MAC; zero if it has none.
    pub(super) mac: [u8; 6],
    /// The bridge, bond or VRF that it is a port of.
    pub(super) master: Option<u32>,
    /// The other end of a pair, or the link below.
    pub(super) link: Option<u32>,
    /// The namespace that `link` is in, if that is another one.
    pub(super) link_namespace: Option<i32>,
    /// The namespace that was asked for.
    pub(super) namespace: Option<i32>,
    pub(super) kind: LinkKind,
}

/// What a link is, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LinkKind {
    /// veth or netkit (drivers/net/veth.c, drivers/net/netkit.c).
    Pair,
    Bridge {
        vlan_filtering: bool,
    },
    Tunnel(TunnelLink),
    Other,
}

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkAddress {
    pub(super) link: u32,
    pub(super) address: IpAddr,
    /// The length of its subnet's prefix (`ifa_prefixlen`).
    pub(super) prefix: u8,
    /// In 1/100 s since boot. It wraps: see `age`.
    pub(super) created: u32,
    /// The namespace that was asked for.
    pub(super) namespace: Option<i32>,
}

/// Reads RTM_NEWLINK.
pub(super) fn link(message: &Message<'_>) -> Result<Link, Garbled> {
    /// `ifinfomsg`: family, type, index, flags, change.
    const HEADER: usize = 16;
    let body = message.body();
    let index = body.get(4..8).and_then(u32_of).ok_or(Garbled("a link without index"))?;
    let flags = body.get(8..12).and_then(u32_of).unwrap_or_default();
    let mut link = Link {
        index,
        name: String::new(),
        is_up: flags & libc::IFF_UP.cast_unsigned() != 0,
        mac: [0; 6],
        master: None,
        link: None,
        link_namespace: None,
        namespace: None,
        kind: LinkKind::Other,
    };
    let mut info = &[][..];
    each(body, HEADER, "a link's attributes", |kind, value| {
        match kind {
            ifla::IFNAME => link.name = text(value),
            // Tunnels have an IP address there.
            ifla::ADDRESS => link.mac = value.try_into().unwrap_or_default(),
            ifla::MASTER => link.master = Some(number(value)?),
            ifla::LINK => link.link = Some(number(value)?),
            ifla::LINK_NETNSID => link.link_namespace = Some(number(value)?.cast_signed()),
            ifla::TARGET_NETNSID => link.namespace = Some(number(value)?.cast_signed()),
            ifla::LINKINFO => info = value,
            _ => {}
        }
        Ok(())
    })?;
    link.kind = link_kind(info, &link.name)?;
    Ok(link)
}

/// The kind of a link in RTM_NEWLINK. Empty for a device of a driver.
pub(super) fn kind(message: &Message<'_>) -> Result<String, Garbled> {
    /// `ifinfomsg`.
    const HEADER: usize = 16;
    let (mut info, mut kind) = (&[][..], String::new());
    each(message.body(), HEADER, "a link's attributes", |attribute, value| {
        if attribute == ifla::LINKINFO {
            info = value;
        }
        Ok(())
    })?;
    each(info, 0, "a link's kind", |attribute, value| {
        if attribute == ifla::INFO_KIND {
            kind = text(value);
        }
        Ok(())
    })?;
    Ok(kind)
}

fn link_kind(info: &[u8], name: &str) -> Result<LinkKind, Garbled> {
    let (mut kind, mut data) = (String::new(), &[][..]);
    each(info, 0, "a link's kind", |attribute, value| {
        match attribute {
            ifla::INFO_KIND => kind = text(value),
            ifla::INFO_DATA => data = value,
            _ => {}
        }
        Ok(())
    })?;
    Ok(match kind.as_str() {
        "veth" | "netkit" => LinkKind::Pair,
        "bridge" => {
            let mut vlan_filtering = false;
            each(data, 0, "a bridge's attributes", |attribute, value| {
                vlan_filtering |= attribute == ifla::BR_VLAN_FILTERING && value != [0];
                Ok(())
            })?;
            LinkKind::Bridge { vlan_filtering }
        }
        kind => tunnel::read(kind, name, data)?.map_or(LinkKind::Other, LinkKind::Tunnel),
    })
}

/// Reads RTM_NEWADDR. `None` for other families.
pub(super) fn address(message: &Message<'_>) -> Result<Option<LinkAddress>, Garbled> {
    /// `ifaddrmsg`: family, prefix length, flags, scope, index.
    const HEADER: usize = 8;
    /// In `ifa_cacheinfo`.
    const CSTAMP: usize = 8;
    let body = message.body();
    let family = *body.first().ok_or(Garbled("an address without family"))?;
    if !is_internet(family) {
        return Ok(None);
    }
    let length = *body.get(1).ok_or(Garbled("an address without prefix length"))?;
    let link = body.get(4..8).and_then(u32_of).ok_or(Garbled("an address without link"))?;
    // Between two ends IFA_ADDRESS is the other end's (include/uapi/linux/if_addr.h).
    let (mut own, mut prefix, mut created, mut namespace) = (None, None, 0, None);
    each(body, HEADER, "an address's attributes", |kind, value| {
        match kind {
            ifa::LOCAL => own = Some(ip(value)?),
            ifa::ADDRESS => prefix = Some(ip(value)?),
            ifa::CACHEINFO => {
                let stamp = value.get(CSTAMP..CSTAMP + 4).and_then(u32_of);
                created = stamp.ok_or(Garbled("when an address was added"))?;
            }
            ifa::TARGET_NETNSID => namespace = Some(number(value)?.cast_signed()),
            _ => {}
        }
        Ok(())
    })?;
    let address = own.or(prefix).ok_or(Garbled("an address message without address"))?;
    Ok(Some(LinkAddress { link, address, prefix: length, created, namespace }))
}

/// The destination that the control plane gave a forwarding entry of a tunnel
/// (RTM_NEWNEIGH). `None` for entries that packets taught.
pub(super) fn forwarding_destination(message: &Message<'_>) -> Result<Option<IpAddr>, Garbled> {
    /// `ndmsg`: family, padding, ifindex, state, flags, type.
    const HEADER: usize = 12;
    let body = message.body();
    let state = body.get(8..10).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let state = state.ok_or(Garbled("a forwarding entry without state"))?;
    let mut destination = None;
    each(body, HEADER, "a forwarding entry's attributes", |kind, value| {
        if kind == nda::DST {
            destination = Some(ip(value)?);
        }
        Ok(())
    })?;
    Ok(destination.filter(|_| state & nda::WRITTEN != 0))
}

/// The gateways of a route through this link (RTM_NEWROUTE).
pub(super) fn gateways(message: &Message<'_>, link: u32) -> Result<Vec<IpAddr>, Garbled> {
    /// `rtmsg`: 8 numbers of a byte, flags.
    const HEADER: usize = 12;
    let body = message.body();
    let mut found = Vec::new();
    let (mut gateway, mut out) = (None, None);
    each(body, HEADER, "a route's attributes", |kind, value| {
        match kind {
            rta::OIF => out = Some(number(value)?),
            rta::GATEWAY | rta::VIA => gateway = Some(self::gateway(kind, value)?),
            rta::MULTIPATH => next_hops(value, link, &mut found)?,
            _ => {}
        }
        Ok(())
    })?;
    found.extend(gateway.filter(|_| out == Some(link)));
    Ok(found)
}

/// `rtnexthop`s in a row, each with attributes of its own.
fn next_hops(mut bytes: &[u8], link: u32, found: &mut Vec<IpAddr>) -> Result<(), Garbled> {
    /// `rtnexthop`: length, flags, hops, ifindex.
    const HEADER: usize = 8;
    const WRONG: Garbled = Garbled("a route's next hops");
    while !bytes.is_empty() {
        let length = bytes.first_chunk().map(|two| usize::from(u16::from_ne_bytes(*two)));
        let hop = length.and_then(|length| bytes.get(..length)).ok_or(WRONG)?;
        let out = hop.get(4..8).and_then(u32_of).ok_or(WRONG)?;
        each(hop, HEADER, "a next hop's attributes", |kind, value| {
            if matches!(kind, rta::GATEWAY | rta::VIA) && out == link {
                found.push(gateway(kind, value)?);
            }
            Ok(())
        })?;
        bytes = bytes.get(hop.len().next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// RTA_VIA is an address of another family than the route's: `rtvia`, a family
/// of two bytes and the address.
fn gateway(kind: u16, value: &[u8]) -> Result<IpAddr, Garbled> {
    const FAMILY: usize = 2;
    ip(if kind == rta::VIA { value.get(FAMILY..).unwrap_or_default() } else { value })
}

/// Passes each attribute after a header of this length to `take`.
pub(super) fn each<'a>(
    body: &'a [u8],
    header: usize,
    what: &'static str,
    mut take: impl FnMut(u16, &'a [u8]) -> Result<(), Garbled>,
) -> Result<(), Garbled> {
    for attribute in attributes(body.get(header..).ok_or(Garbled(what))?) {
        let (kind, value) = attribute.ok_or(Garbled(what))?;
        take(kind, value)?;
    }
    Ok(())
}

/// An address by its length.
pub(super) fn ip(bytes: &[u8]) -> Result<IpAddr, Garbled> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| Garbled("an address's length"))?;
    Ok(Ipv6Addr::from(sixteen).into())
}

pub(super) fn number(bytes: &[u8]) -> Result<u32, Garbled> {
    u32_of(bytes).ok_or(Garbled("a number's length"))
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn is_internet(family: u8) -> bool {
    [libc::AF_INET, libc::AF_INET6].contains(&i32::from(family))
}

/// Up to the closing NUL. Names of links are bytes of the user's choice.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests;
