//! One match against one packet.
//!
//! Returns whether a [`Match`] holds for a [`Packet`], or which element must be in
//! which set. Each match is complete: one on an IPv4 header holds for no IPv6
//! packet, one on a TCP port for no UDP packet.
//! Never: a look-up in the set.

use std::net::IpAddr;

use crate::{
    AddressTest, Element, EtherType, Family, FlowSide, InterfaceField, Key, KeyAddress, KeyFields,
    MacField, Match, Name, PortRange, SetType, Transport,
};

use super::frame::{Content, Tag};
use super::{CtState, Packet};

/// What a match depends on.
pub(super) enum Test<'a> {
    Known(bool),
    /// It holds if the set, of one of these types, contains the element. `None` if
    /// the packet has no such field.
    Member {
        set: &'a Name,
        types: [SetType; 2],
        element: Option<Element>,
    },
}

/// Checks a match against a packet.
pub(super) fn test<'a>(condition: &'a Match, packet: &Packet) -> Test<'a> {
    let address = |field: crate::Field| field.of(packet.source, packet.destination);
    let member = |set, set_type, applies: bool, element: Option<Element>| Test::Member {
        set,
        types: [set_type; 2],
        element: element.filter(|_| applies),
    };
    match condition {
        Match::CtState(states) => Test::Known(match packet.ct {
            CtState::New => false,
            CtState::Established => states.established,
            CtState::Related => states.related,
        }),
        Match::CtTranslated => Test::Known(packet.is_ip() && packet.translated),
        Match::SourceIsLocal => Test::Known(packet.is_ip() && packet.source_is_local),
        Match::NotToHost => Test::Known(!packet.to_host),
        Match::Family(family) => Test::Known(packet.is(*family)),
        Match::HopLimit(hops) => Test::Known(packet.is(Family::V6) && packet.hop_limit == *hops),
        Match::Protocol(number) => Test::Known(has_protocol(packet, *number)),
        Match::NotProtocol(number) => Test::Known(packet.is_ip() && packet.protocol != *number),
        Match::NotOpening => {
            let flags = packet.tcp_flags.filter(|_| has_protocol(packet, Transport::Tcp.number()));
            Test::Known(flags.is_some_and(|flags| !flags.open()))
        }
        Match::Address(field, AddressTest::In(range)) => {
            Test::Known(packet.is_ip() && range.contains(address(*field)))
        }
        Match::Address(field, AddressTest::Set(family, set)) => Test::Member {
            set,
            types: [SetType::Address(*family), SetType::AddressRange(*family)],
            element: packet.is(*family).then(|| Element::Address(address(*field))),
        },
        Match::Port(transport, PortRange(first, last)) => Test::Known(
            port(packet, *transport).is_some_and(|port| (*first..=*last).contains(&port)),
        ),
        Match::Ports(set) => {
            let of = |transport| port(packet, transport).map(|port| (transport, port));
            let found = Transport::ALL.into_iter().find_map(of);
            let element = found.map(|(transport, port)| Element::ProtocolPort(transport, port));
            member(set, SetType::ProtocolPort, true, element)
        }
        Match::SourcePort(transport, port) => Test::Known(
            has_protocol(packet, transport.number()) && packet.source_port == Some(*port),
        ),
        Match::AddressPort(field, family, transport, set) => {
            let element =
                port(packet, *transport).map(|port| Element::AddressPort(address(*field), port));
            member(set, SetType::AddressPort(*family), packet.is(*family), element)
        }
        Match::AddressPair(family, set) => {
            let pair = Element::AddressPair(packet.source, packet.destination);
            member(set, SetType::AddressPair(*family), packet.is(*family), Some(pair))
        }
        Match::FlowSource(side, family, set) => {
            let of_flow = packet.flow_source(*side);
            let pair = of_flow.map(|other| Element::AddressPair(packet.source, other));
            member(set, SetType::AddressPair(*family), packet.is(*family), pair)
        }
        Match::FlowOpener(family, set) => {
            let opener = packet.flow_source(FlowSide::Original).map(Element::Address);
            member(set, SetType::Address(*family), packet.is(*family), opener)
        }
        Match::Icmpv6Type(set) => {
            let applies = packet.is(Family::V6) && packet.protocol == Packet::ICMPV6;
            let element = packet.icmpv6_type.map(Element::Icmpv6Type);
            member(set, SetType::Icmpv6Type, applies, element)
        }
        Match::Key(fields, set) => member(set, fields.set_type(), true, key(fields, packet)),
        Match::EtherType(ether_type) => {
            Test::Known(packet.frame.tag.is_none() && holds(packet, *ether_type))
        }
        Match::PriorityTag(tag_type) => {
            Test::Known(packet.frame.tag == Some(Tag { tag_type: *tag_type, vlan: 0 }))
        }
        Match::IcmpType(number) => Test::Known(
            packet.is(Family::V4)
                && packet.protocol == Match::ICMP
                && packet.icmp_type == Some(*number),
        ),
        Match::NotInit => {
            let chunk =
                packet.sctp_chunk.filter(|_| has_protocol(packet, Transport::Sctp.number()));
            Test::Known(chunk.is_some_and(|chunk| chunk != Match::SCTP_INIT))
        }
    }
}

fn has_protocol(packet: &Packet, number: u8) -> bool {
    packet.is_ip() && packet.protocol == number
}

/// Whether the frame holds this behind its tag, if it has one.
fn holds(packet: &Packet, ether_type: EtherType) -> bool {
    match ether_type {
        EtherType::Ipv4 => packet.is(Family::V4),
        EtherType::Ipv6 => packet.is(Family::V6),
        EtherType::Arp => matches!(packet.frame.content, Content::Arp(_)),
    }
}

/// The packet's key. `None` if it lacks a field.
fn key(fields: &KeyFields, packet: &Packet) -> Option<Element> {
    let frame = &packet.frame;
    let arp = match frame.content {
        Content::Arp(arp) => Some(arp),
        Content::Ip | Content::Other => None,
    };
    let interface = fields.interface.map(|interface| match interface {
        InterfaceField::In => frame.in_interface,
        InterfaceField::Out => frame.out_interface,
    });
    let mac = fields.mac.map(|mac| match mac {
        MacField::Source => Some(frame.source_mac),
        MacField::Destination => Some(frame.destination_mac),
        MacField::ArpSender => arp.map(|arp| arp.sender_mac),
    });
    let address = fields.address.map(|address| match address {
        KeyAddress::Source(family) => packet.is(family).then_some(packet.source),
        KeyAddress::Destination(family) => packet.is(family).then_some(packet.destination),
        KeyAddress::ArpSender => arp.map(|arp| IpAddr::V4(arp.sender)),
        KeyAddress::Target => packet.target.filter(|_| packet.is_ip()).map(IpAddr::V6),
    });
    if mac == Some(None) || address == Some(None) {
        return None;
    }
    Some(fields.element(Key { interface, mac: mac.flatten(), address: address.flatten() }))
}

/// The packet's destination port, if it is of this protocol.
fn port(packet: &Packet, transport: Transport) -> Option<u16> {
    packet.destination_port.filter(|_| has_protocol(packet, transport.number()))
}
