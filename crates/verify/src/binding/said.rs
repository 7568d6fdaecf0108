//! What the specification says of a packet at a hook.
//!
//! In: a packet as rules see it. Out: the same in the specification's words, and
//! its word. Never: the ruleset.

use std::net::{IpAddr, Ipv6Addr};

use policy::spec::binding::Binding;
use policy::spec::frame::{ArpMessage, Body, Frame, IpPacket, Payload};
use policy::spec::refusal::Refusal;
use policy::{InterfaceIndex, Mac};
use ruleset::simulator::{Content, Packet};
use ruleset::{Family, Hook, Match, TableFamily, Transport};

use super::looks::{Part, Parts};

/// Whether the specification lets a packet pass a hook. What policies say of
/// forwarded packets is another question.
pub(crate) fn said(
    binding: &Binding<'_>,
    (family, hook): (TableFamily, Hook),
    packet: &Packet,
) -> Result<(), Refusal> {
    let by = by(hook, packet);
    match (family, hook) {
        (TableFamily::Bridge, Hook::Prerouting) => binding.enters_bridge(by, &frame(packet)),
        (TableFamily::Bridge, Hook::Postrouting) => binding.leaves_bridge(by, &frame(packet)),
        (TableFamily::Inet, Hook::Prerouting) => binding.enters_node(by, &ip(packet)),
        (TableFamily::Inet, Hook::Input) => binding.reaches_node(by, &ip(packet)),
        (TableFamily::Bridge, Hook::Input | Hook::Forward)
        | (TableFamily::Inet, Hook::Forward | Hook::Postrouting) => Ok(()),
    }
}

/// The parts of a packet that [`said`] looks at.
pub(crate) fn looked((family, hook): (TableFamily, Hook), packet: &Packet) -> Parts {
    let mut parts = Parts::default();
    let is_ip = packet.frame.content == Content::Ip;
    match (family, hook) {
        (TableFamily::Bridge, Hook::Prerouting) => {
            parts.extend([Part::In, Part::Tag, Part::SourceMac]);
            // Targets of neighbour solicitations and advertisements.
            let about = matches!(packet.icmpv6_type, Some(135 | 136)).then_some(Part::Target);
            let hops = packet.icmpv6_type.map(|_| Part::HopLimit);
            match packet.frame.content {
                Content::Ip => {
                    parts.extend([Part::Source].into_iter().chain(about).chain(hops));
                }
                Content::Arp(_) => parts.extend([Part::ArpMac, Part::ArpSender]),
                Content::Other => {}
            }
        }
        (TableFamily::Bridge, Hook::Postrouting) => {
            parts.extend([Part::Out, Part::Tag, Part::DestinationMac]);
            if is_ip {
                parts.insert(Part::Destination);
            }
        }
        (TableFamily::Inet, Hook::Prerouting) => {
            // On a link of its own, a pod may ask about every target.
            parts.extend([Part::In, Part::Source]);
        }
        (TableFamily::Inet, Hook::Input) => {
            parts.extend([Part::In, Part::Source, Part::Translated]);
        }
        (TableFamily::Bridge, Hook::Input | Hook::Forward)
        | (TableFamily::Inet, Hook::Forward | Hook::Postrouting) => {}
    }
    parts
}

/// The interface that the question is about: where the packet comes in, or where it
/// goes out.
pub(crate) fn by(hook: Hook, packet: &Packet) -> InterfaceIndex {
    InterfaceIndex(match hook {
        Hook::Prerouting | Hook::Input => packet.frame.in_interface,
        Hook::Forward | Hook::Postrouting => packet.frame.out_interface,
    })
}

fn frame(packet: &Packet) -> Frame {
    let frame = &packet.frame;
    let payload = match frame.content {
        Content::Ip => Payload::Ip(ip(packet)),
        Content::Arp(arp) => Payload::Arp(ArpMessage {
            sender_mac: Mac(arp.sender_mac),
            sender: IpAddr::V4(arp.sender),
        }),
        Content::Other => Payload::Other,
    };
    let (source, destination) = (Mac(frame.source_mac), Mac(frame.destination_mac));
    Frame { source, destination, tag: frame.tag.map(|tag| tag.vlan), payload }
}

/// An IP packet in the specification's words.
pub(crate) fn ip(packet: &Packet) -> IpPacket {
    let Packet { source, destination, .. } = *packet;
    let udp = packet.destination_port.filter(|_| packet.protocol == Transport::Udp.number());
    let of = |family, protocol| packet.family() == family && packet.protocol == protocol;
    let icmp = packet.icmp_type.filter(|_| of(Family::V4, Match::ICMP));
    let icmpv6 = packet.icmpv6_type.filter(|_| of(Family::V6, Match::ICMPV6));
    let body = match (udp, icmp, icmpv6) {
        (Some(port), _, _) => Body::Udp(port),
        (None, Some(number), _) => Body::Icmp(number),
        (None, None, Some(number)) => {
            Body::Icmpv6(number, packet.target.unwrap_or(Ipv6Addr::UNSPECIFIED))
        }
        (None, None, None) => Body::Other(packet.protocol),
    };
    let source_port = packet.source_port.filter(|_| udp.is_some());
    let (hop_limit, translated) = (packet.hop_limit, packet.translated);
    IpPacket { source, destination, source_port, hop_limit, body, translated }
}
