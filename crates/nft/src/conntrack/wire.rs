//! Conntrack entries and requests as netlink attributes.
//!
//! Never: I/O.
//!
//! Layout: include/uapi/linux/netfilter/nfnetlink_conntrack.h. Numbers are in
//! network order, except the flags of a filter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ruleset::Family;

use super::flow::{Filter, Flow, Tuple, TupleId};
use crate::netlink::{Message, Request, attribute};
use crate::packet::nfproto;

/// `enum ctattr_type`.
mod cta {
    pub(super) const TUPLE_ORIG: u16 = 1;
    pub(super) const TUPLE_REPLY: u16 = 2;
    pub(super) const ID: u16 = 12;
    pub(super) const TUPLE_MASTER: u16 = 14;
    pub(super) const ZONE: u16 = 18;
    pub(super) const FILTER: u16 = 25;
}

/// `enum ctattr_tuple`.
mod tuple {
    pub(super) const IP: u16 = 1;
    pub(super) const PROTO: u16 = 2;
    pub(super) const ZONE: u16 = 3;
}

/// `enum ctattr_ip`.
mod ip {
    pub(super) const V4_SRC: u16 = 1;
    pub(super) const V4_DST: u16 = 2;
    pub(super) const V6_SRC: u16 = 3;
    pub(super) const V6_DST: u16 = 4;
}

/// `enum ctattr_l4proto`.
mod proto {
    pub(super) const NUM: u16 = 1;
    pub(super) const SRC_PORT: u16 = 2;
    pub(super) const DST_PORT: u16 = 3;
    /// Identifier, type, code.
    pub(super) const ICMP: [u16; 3] = [4, 5, 6];
    pub(super) const ICMPV6: [u16; 3] = [7, 8, 9];
}

/// `enum ctattr_filter`.
mod filter {
    pub(super) const ORIG_FLAGS: u16 = 1;
    pub(super) const REPLY_FLAGS: u16 = 2;
    /// CTA_FILTER_F_CTA_IP_SRC (net/netfilter/nf_internals.h, Linux 5.8).
    pub(super) const F_IP_SRC: u32 = 1;
}

/// RFC 4443.
const ICMPV6: u8 = libc::IPPROTO_ICMPV6 as u8;

/// Adds a filter to a dump request, where the kernel can filter by more than the
/// family of the message.
///
/// IPv6 addresses are not sent. The kernel compares them the wrong way round and
/// leaves out exactly the wanted entries (`ctnetlink_filter_match_tuple`,
/// net/netfilter/nf_conntrack_netlink.c: `!ipv6_addr_cmp`, seen on Linux 6.18).
pub(super) fn push_filter(request: &mut Request, filter: &Filter) {
    let (kind, flags, address) = match *filter {
        Filter::OriginalSource(IpAddr::V4(address)) => {
            (cta::TUPLE_ORIG, filter::ORIG_FLAGS, address)
        }
        Filter::ReplySource(IpAddr::V4(address)) => {
            (cta::TUPLE_REPLY, filter::REPLY_FLAGS, address)
        }
        _ => return,
    };
    request.nested(kind, |request| {
        request.nested(tuple::IP, |request| request.attribute(ip::V4_SRC, &address.octets()));
    });
    request.nested(cta::FILTER, |request| {
        request.attribute(flags, &filter::F_IP_SRC.to_ne_bytes());
    });
}

/// Adds what identifies one entry: its original direction, its zone, and its id
/// if known.
pub(crate) fn push_entry(request: &mut Request, original: &Tuple, zone: u16, id: Option<u32>) {
    push_tuple(request, cta::TUPLE_ORIG, original);
    if zone != 0 {
        request.attribute(cta::ZONE, &zone.to_be_bytes());
    }
    if let Some(id) = id {
        request.attribute(cta::ID, &id.to_be_bytes());
    }
}

fn push_tuple(request: &mut Request, kind: u16, tuple: &Tuple) {
    request.nested(kind, |request| {
        request.nested(tuple::IP, |request| match (tuple.source, tuple.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                request.attribute(ip::V4_SRC, &source.octets());
                request.attribute(ip::V4_DST, &destination.octets());
            }
            (source, destination) => {
                request.attribute(ip::V6_SRC, &to_v6(source).octets());
                request.attribute(ip::V6_DST, &to_v6(destination).octets());
            }
        });
        request.nested(tuple::PROTO, |request| {
            request.attribute(proto::NUM, &[tuple.protocol]);
            match tuple.transport {
                TupleId::Ports { source, destination } => {
                    request.attribute(proto::SRC_PORT, &source.to_be_bytes());
                    request.attribute(proto::DST_PORT, &destination.to_be_bytes());
                }
                TupleId::Icmp { icmp_type, code, id } => {
                    let [of_id, of_type, of_code] = icmp(tuple.protocol);
                    request.attribute(of_id, &id.to_be_bytes());
                    request.attribute(of_type, &[icmp_type]);
                    request.attribute(of_code, &[code]);
                }
                TupleId::Nothing => {}
            }
        });
    });
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

const fn icmp(protocol: u8) -> [u16; 3] {
    if protocol == ICMPV6 { proto::ICMPV6 } else { proto::ICMP }
}

/// The family of a message: NFPROTO_*, or 0 for both.
pub(super) fn family(family: Option<Family>) -> u8 {
    family.map_or(libc::NFPROTO_UNSPEC as u8, nfproto)
}

/// Reads an entry. `None` if something is missing or has a wrong length.
pub(crate) fn flow(message: &Message<'_>) -> Option<Flow> {
    let original = message.attribute(cta::TUPLE_ORIG)?;
    let zone = message.attribute(cta::ZONE).or_else(|| attribute(original, tuple::ZONE));
    Some(Flow {
        original: tuple_of(original)?,
        reply: tuple_of(message.attribute(cta::TUPLE_REPLY)?)?,
        zone: match zone {
            Some(bytes) => short(bytes)?,
            None => 0,
        },
        id: u32::from_be_bytes(message.attribute(cta::ID)?.try_into().ok()?),
        master: match message.attribute(cta::TUPLE_MASTER) {
            Some(bytes) => Some(tuple_of(bytes)?),
            None => None,
        },
    })
}

/// Reads one direction of an entry.
pub(crate) fn tuple_of(bytes: &[u8]) -> Option<Tuple> {
    let addresses = attribute(bytes, tuple::IP)?;
    let (source, destination) = match attribute(addresses, ip::V4_SRC) {
        Some(source) => (v4(source)?, v4(attribute(addresses, ip::V4_DST)?)?),
        None => (v6(attribute(addresses, ip::V6_SRC)?)?, v6(attribute(addresses, ip::V6_DST)?)?),
    };
    let transport = attribute(bytes, tuple::PROTO)?;
    let protocol = byte(attribute(transport, proto::NUM)?)?;
    let [of_id, of_type, of_code] = icmp(protocol);
    let transport = match (attribute(transport, proto::SRC_PORT), attribute(transport, of_type)) {
        (Some(source), _) => TupleId::Ports {
            source: short(source)?,
            destination: short(attribute(transport, proto::DST_PORT)?)?,
        },
        (None, Some(icmp_type)) => TupleId::Icmp {
            icmp_type: byte(icmp_type)?,
            code: byte(attribute(transport, of_code)?)?,
            id: short(attribute(transport, of_id)?)?,
        },
        (None, None) => TupleId::Nothing,
    };
    Some(Tuple { source, destination, protocol, transport })
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into())
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}

fn short(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

fn byte(bytes: &[u8]) -> Option<u8> {
    Some(u8::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
