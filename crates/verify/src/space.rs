//! The space of packets.
//!
//! In: what headers can hold. Out: numbers for addresses and transport codes,
//! and the packets that they represent. A packet is its frame, its two addresses
//! and its code. Every packet of a family has one of the family's codes.
//! Never: fragments. Connection tracking reassembles them before the forward
//! hook (`nf_ct_netns_get`, net/netfilter/nf_conntrack_proto.c, enables
//! nf_defrag_ipv4 and nf_defrag_ipv6), so every packet of a protocol with ports
//! has a port.

use std::net::IpAddr;

use policy::{Protocol, spec};
use ruleset::simulator::{CtState, Packet};
use ruleset::{Family, Match, TcpFlags, Transport, from_number};

use crate::ranges::Ranges;

/// IANA protocol number of ICMPv6 (RFC 4443).
const ICMPV6: u8 = 58;

/// The number of codes of a protocol with ports.
const BLOCK: u128 = 1 << 16;
/// The block of TCP packets that open no flow, by port. Opening ones have the
/// block of TCP.
const TCP_MIDFLOW: u128 = 3;
/// The block of SCTP packets that open no flow.
const SCTP_MIDFLOW: u128 = 4;
/// The first code of ICMPv6 types, in IPv6.
const ICMPV6_TYPES: u128 = 5 * BLOCK;
/// The first code of ICMP types, in IPv4.
const ICMP_TYPES: u128 = 6 * BLOCK;
/// The first code of protocols without ports.
const OTHERS: u128 = 7 * BLOCK;
/// A chunk of SCTP that opens no flow: DATA (RFC 9260, 3.2).
const SCTP_DATA: u8 = 0;

/// Everything about a packet except its addresses and transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub family: Family,
    pub ct: CtState,
    /// Whether connection tracking gave the flow another destination.
    pub translated: bool,
    /// Whether the source is an address of the node.
    pub source_is_local: bool,
    /// `None` stands for all that nobody tells apart. Means nothing for packets
    /// without ports.
    pub source_port: Option<u16>,
    /// The sources of the flow's original packets and of its replies.
    pub original: FlowSource,
    pub reply: FlowSource,
    /// `meta pkttype host`.
    pub to_host: bool,
    /// For IPv6. No match looks at it in IPv4.
    pub hop_limit: u8,
    /// The kind of interface where it goes out: an index into
    /// [`crate::exits::Exits`].
    pub exit: usize,
}

/// The source of a side of a packet's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FlowSource {
    /// The packet's own.
    Own,
    /// This one, and the packet has another.
    Other(u128),
    /// One that no set has, or the packet is not tracked.
    Nobody,
}

/// The block of a protocol with ports.
fn block(protocol: Protocol) -> u128 {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => BLOCK,
        Protocol::Sctp => 2 * BLOCK,
    }
}

const WITH_PORTS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// The policy model's protocol for a match's transport.
pub(crate) fn protocol_of(transport: Transport) -> Protocol {
    match transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
        Transport::Sctp => Protocol::Sctp,
    }
}

/// The addresses of a family.
pub(crate) fn addresses(family: Family) -> Ranges {
    Ranges::range(0, u128::MAX >> (u128::BITS - family.bits()))
}

/// The codes of a family.
pub(crate) fn codes(family: Family) -> Ranges {
    Ranges::of((0..=u8::MAX).flat_map(|number| protocol(family, number).iter().collect::<Vec<_>>()))
}

/// The codes of a protocol, given by its number in the IP header.
pub(crate) fn protocol(family: Family, number: u8) -> Ranges {
    let with_ports = WITH_PORTS.into_iter().find(|protocol| protocol.number() == number);
    match with_ports {
        Some(protocol) => ports(protocol, 0, u16::MAX),
        None if number == ICMPV6 && family == Family::V6 => icmpv6_types(0..=u8::MAX),
        None if number == Match::ICMP && family == Family::V4 => icmp_types(0..=u8::MAX),
        None => Ranges::single(OTHERS + u128::from(number)),
    }
}

/// The codes of the destination ports `first..=last`.
pub(crate) fn ports(protocol: Protocol, first: u16, last: u16) -> Ranges {
    if first > last {
        return Ranges::empty();
    }
    let at = |block: u128| (block + u128::from(first), block + u128::from(last));
    let midflow = match protocol {
        Protocol::Tcp => Some(at(TCP_MIDFLOW * BLOCK)),
        Protocol::Sctp => Some(at(SCTP_MIDFLOW * BLOCK)),
        Protocol::Udp => None,
    };
    Ranges::of([at(block(protocol))].into_iter().chain(midflow))
}

/// The codes of TCP packets that open no flow.
pub(crate) fn tcp_midflow() -> Ranges {
    Ranges::range(TCP_MIDFLOW * BLOCK, (TCP_MIDFLOW + 1) * BLOCK - 1)
}

/// The codes of SCTP packets that open no flow.
pub(crate) fn sctp_midflow() -> Ranges {
    Ranges::range(SCTP_MIDFLOW * BLOCK, (SCTP_MIDFLOW + 1) * BLOCK - 1)
}

/// The codes of packets that open no flow although their protocol has a way to say
/// so.
pub(crate) fn midflow() -> Ranges {
    tcp_midflow().union(&sctp_midflow())
}

/// The codes of ICMP types, in IPv4.
pub(crate) fn icmp_types(types: impl IntoIterator<Item = u8>) -> Ranges {
    Ranges::numbers(types.into_iter().map(|number| ICMP_TYPES + u128::from(number)))
}

/// The codes of ICMPv6 types.
pub(crate) fn icmpv6_types(types: impl IntoIterator<Item = u8>) -> Ranges {
    Ranges::numbers(types.into_iter().map(|number| ICMPV6_TYPES + u128::from(number)))
}

/// One of these codes. It is port 80 where every port fits, because people
/// know it.
pub(crate) fn familiar(first: u128, last: u128) -> u128 {
    if first.is_multiple_of(BLOCK) && first < ICMPV6_TYPES { last.min(first + 80) } else { first }
}

/// The ports among these codes, and whether codes of protocols without ports are there.
/// Both ends are included.
pub(crate) fn named(first: u128, last: u128) -> (Vec<(Protocol, u16, u16)>, bool) {
    let of = |protocol: Protocol| {
        let start = block(protocol);
        let (from, to) = (first.max(start), last.min(start + BLOCK - 1));
        let port = |code: u128| u16::try_from(code - start).ok();
        (from <= to).then(|| Some((protocol, port(from)?, port(to)?))).flatten()
    };
    (WITH_PORTS.into_iter().filter_map(of).collect(), last >= ICMPV6_TYPES)
}

/// The packet with this frame, these addresses and this code. `None` if a number
/// is out of range.
pub(crate) fn packet(frame: Frame, source: u128, destination: u128, code: u128) -> Option<Packet> {
    let addresses = (from_number(frame.family, source)?, from_number(frame.family, destination)?);
    let flow = [frame.original, frame.reply].map(|source| match source {
        FlowSource::Own => Some(addresses.0),
        FlowSource::Other(number) => from_number(frame.family, number),
        FlowSource::Nobody => None,
    });
    let of = |protocol| Packet {
        hop_limit: frame.hop_limit,
        to_host: frame.to_host,
        ct: frame.ct,
        translated: frame.translated,
        source_is_local: frame.source_is_local,
        flow,
        ..Packet::new(addresses.0, addresses.1, protocol)
    };
    let to_port = |protocol: Protocol| {
        let destination_port = Some(u16::try_from(code % BLOCK).ok()?);
        let source_port = frame.source_port;
        Some(Packet { source_port, destination_port, ..of(protocol.number()) })
    };
    let number = |first: u128| u8::try_from(code - first).ok();
    Some(match code / BLOCK {
        0 => to_port(Protocol::Tcp)?,
        1 => to_port(Protocol::Udp)?,
        2 => to_port(Protocol::Sctp)?,
        TCP_MIDFLOW => Packet { tcp_flags: Some(TcpFlags::ACK), ..to_port(Protocol::Tcp)? },
        SCTP_MIDFLOW => Packet { sctp_chunk: Some(SCTP_DATA), ..to_port(Protocol::Sctp)? },
        5 => Packet { icmpv6_type: Some(number(ICMPV6_TYPES)?), ..of(ICMPV6) },
        6 => Packet { icmp_type: Some(number(ICMP_TYPES)?), ..of(Match::ICMP) },
        _ => of(number(OTHERS)?),
    })
}

/// The packet as the specification sees it.
pub(crate) fn spec_packet(packet: &Packet) -> spec::Packet {
    let protocol = WITH_PORTS.into_iter().find(|known| known.number() == packet.protocol);
    let transport = match (protocol, packet.destination_port) {
        (Some(protocol), Some(port)) => spec::ProtocolPort::Port(protocol, port),
        _ => spec::ProtocolPort::Other(packet.protocol),
    };
    spec::Packet { source: packet.source, destination: packet.destination, transport }
}

/// An address as a number, if it belongs to the family.
pub(crate) fn of_family(family: Family, address: IpAddr) -> Option<u128> {
    (Family::of(address) == family).then(|| ruleset::number(address))
}
