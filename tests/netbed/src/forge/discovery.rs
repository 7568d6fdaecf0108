//! Neighbour discovery (RFC 4861) and redirects of both families.
//!
//! The marker is an option of a type that receivers must skip (RFC 4861, 4.6). The
//! type is for experiments (RFC 4727).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Mac, Marker, Packet, icmp};

/// Neighbour discovery has hop limit 255 (RFC 4861, 3.1).
const ON_LINK: u8 = 255;

/// A neighbour advertisement: `target` is at `mac`. It is solicited and overrides.
pub fn advertisement(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    (target, mac): (Ipv6Addr, Mac),
    marker: Marker,
) -> Packet {
    let mut rest = vec![0x60, 0, 0, 0];
    rest.extend(target.octets());
    rest.extend(link_address(2, mac));
    rest.extend(marked(marker));
    message(source, destination, 136, &rest)
}

/// A neighbour solicitation for `target`. With a hardware address it also says where
/// its source is.
pub fn solicitation(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    (target, mac): (Ipv6Addr, Option<Mac>),
    marker: Marker,
) -> Packet {
    let mut rest = vec![0; 4];
    rest.extend(target.octets());
    rest.extend(mac.into_iter().flat_map(|mac| link_address(1, mac)));
    rest.extend(marked(marker));
    message(source, destination, 135, &rest)
}

/// A router advertisement with a prefix of 64 bits for own addresses (RFC 4861,
/// 4.2 and 4.6.2).
pub fn router_advertisement(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    prefix: Ipv6Addr,
    marker: Marker,
) -> Packet {
    // Hop limit, no flags, and a lifetime of 0: it is no default router.
    let mut rest = vec![64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rest.extend([3, 4, 64, 0xc0]); // on link, autonomous
    rest.extend(600_u32.to_be_bytes());
    rest.extend(600_u32.to_be_bytes());
    rest.extend([0; 4]);
    rest.extend(prefix.octets());
    rest.extend(marked(marker));
    message(source, destination, 134, &rest)
}

/// A redirect: packets to `address` go by `target` (RFC 4861, 4.5).
pub fn icmpv6_redirect(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    (address, target): (Ipv6Addr, Ipv6Addr),
    quote: &[u8],
    marker: Marker,
) -> Packet {
    let mut rest = vec![0; 4];
    rest.extend(target.octets());
    rest.extend(address.octets());
    rest.extend(marked(marker));
    // Redirected header: as long as the quote, in units of 8 bytes.
    let units = (8 + quote.len()).div_ceil(8);
    let mut option = vec![4, units as u8, 0, 0, 0, 0, 0, 0];
    option.extend(quote);
    option.resize(units * 8, 0);
    rest.extend(option);
    message(source, destination, 137, &rest)
}

/// A redirect for a host: what `quote` went to goes by `gateway` (RFC 792).
pub fn icmp_redirect(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    gateway: Ipv4Addr,
    quote: &[u8],
    marker: Marker,
) -> Packet {
    let rest = [&gateway.octets()[..], quote, &marker].concat();
    icmp(source.into(), destination.into(), (5, 1), &rest)
}

fn message(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, rest: &[u8]) -> Packet {
    icmp(IpAddr::V6(source), IpAddr::V6(destination), (kind, 0), rest).hops(ON_LINK)
}

/// A source (1) or target (2) link-layer address.
fn link_address(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac].concat()
}

fn marked(marker: Marker) -> Vec<u8> {
    [&[253, 1][..], &marker].concat()
}
