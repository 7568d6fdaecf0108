//! One match against one packet.
//!
//! Returns whether a [`Match`] holds for a [`Packet`], or which element must be in
//! which set. Each match is complete: one on an IPv4 header holds for no IPv6
//! packet, one on a TCP port for no UDP packet.
//! Never: a look-up in the set.

use crate::{AddressTest, Element, Family, Match, Name, PortTest, SetType, Transport};

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
        Match::NotToHost => Test::Known(!packet.to_host),
        Match::Family(family) => Test::Known(packet.family() == *family),
        Match::HopLimit(hops) => Test::Known(of(packet, Family::V6) && packet.hop_limit == *hops),
        Match::Protocol(number) => Test::Known(packet.protocol == *number),
        Match::NotOpening => {
            let flags = packet.tcp_flags.filter(|_| packet.protocol == Transport::Tcp.number());
            Test::Known(flags.is_some_and(|flags| !flags.open()))
        }
        Match::Address(field, AddressTest::In(range)) => {
            Test::Known(range.contains(address(*field)))
        }
        Match::Address(field, AddressTest::Set(family, set)) => Test::Member {
            set,
            types: [SetType::Address(*family), SetType::AddressRange(*family)],
            element: of(packet, *family).then(|| Element::Address(address(*field))),
        },
        Match::Port(transport, PortTest::In(first, last)) => Test::Known(
            port(packet, *transport).is_some_and(|port| (*first..=*last).contains(&port)),
        ),
        Match::Port(transport, PortTest::Set(set)) => {
            member(set, SetType::Port, true, port(packet, *transport).map(Element::Port))
        }
        Match::AddressPort(field, family, transport, set) => {
            let element =
                port(packet, *transport).map(|port| Element::AddressPort(address(*field), port));
            member(set, SetType::AddressPort(*family), of(packet, *family), element)
        }
        Match::AddressPair(family, set) => {
            let pair = Element::AddressPair(packet.source, packet.destination);
            member(set, SetType::AddressPair(*family), of(packet, *family), Some(pair))
        }
        Match::Icmpv6Type(set) => {
            let applies = of(packet, Family::V6) && packet.protocol == Packet::ICMPV6;
            let element = packet.icmpv6_type.map(Element::Icmpv6Type);
            member(set, SetType::Icmpv6Type, applies, element)
        }
    }
}

fn of(packet: &Packet, family: Family) -> bool {
    packet.family() == family
}

/// The packet's destination port, if it is of this protocol.
fn port(packet: &Packet, transport: Transport) -> Option<u16> {
    packet.destination_port.filter(|_| packet.protocol == transport.number())
}
