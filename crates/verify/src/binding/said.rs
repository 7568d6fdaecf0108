//! What the specification says of a packet at a hook.
//!
//! In: a packet as rules see it. Out: the same in the specification's words, and
//! its word. Never: the ruleset.

use std::net::{IpAddr, Ipv6Addr};

use policy::spec::binding::Binding;
use policy::spec::frame::{ArpMessage, Body, Frame, IpPacket, Payload};
use policy::spec::refusal::Refusal;
use policy::{InterfaceIndex, Mac, Tunnel};
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
        (TableFamily::Bridge, Hook::Forward) => {
            let from = InterfaceIndex(packet.frame.in_interface);
            binding.crosses_bridge(from, by, &frame(packet))
        }
        (TableFamily::Inet, Hook::Postrouting) => {
            let [opener, _] = packet.flow;
            binding.leaves_masqueraded(by, &ip(packet), opener)
        }
        // What a node itself sends is its own affair.
        (TableFamily::Bridge, Hook::Input)
        | (TableFamily::Inet, Hook::Forward)
        | (_, Hook::Output) => Ok(()),
    }
}

/// The parts of a packet that [`said`] looks at.
pub(crate) fn looked(
    binding: &Binding<'_>,
    (family, hook): (TableFamily, Hook),
    packet: &Packet,
) -> Parts {
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
        (TableFamily::Bridge, Hook::Forward) => {
            parts.insert(Part::In);
            if is_isolated_sender(binding, packet.frame.in_interface) {
                parts.extend([Part::Out, Part::Tag, Part::DestinationMac]);
                parts.extend(is_ip.then_some(Part::Destination));
            }
        }
        (TableFamily::Inet, Hook::Postrouting) => {
            parts = looked_after_masquerading(binding, packet);
        }
        (TableFamily::Bridge, Hook::Input)
        | (TableFamily::Inet, Hook::Forward)
        | (_, Hook::Output) => {}
    }
    parts
}

/// What [`Binding::leaves_masqueraded`] looks at, each only if what comes before asks
/// for more.
fn looked_after_masquerading(binding: &Binding<'_>, packet: &Packet) -> Parts {
    let (said, [opener, _]) = (ip(packet), packet.flow);
    let mut parts = Parts::default();
    parts.insert(Part::SourcePort);
    let tunnels = &binding.network.tunnels;
    let is_meant = |tunnel: &Tunnel| match *tunnel {
        Tunnel::Udp(port) => said.body == Body::Udp(port) || said.source_port == Some(port),
        Tunnel::Protocol(number) => said.body.protocol() == number,
    };
    if tunnels.keys().any(is_meant) {
        parts.insert(Part::Opener);
        let mut ports = binding.network.ports.values();
        let bound = opener.is_some_and(|one| ports.any(|port| port.addresses.contains(&one)));
        parts.extend(bound.then_some(Part::Source));
        if bound && binding.nodes.contains(&said.source) {
            parts.extend([Part::Out, Part::Destination]);
        }
    }
    parts
}

/// Whether an interface is an isolated pod's port of a bridge.
pub(super) fn is_isolated_sender(binding: &Binding<'_>, index: u32) -> bool {
    let port = binding.network.ports.get(&InterfaceIndex(index));
    let port = port.filter(|port| port.bridge.is_some());
    port.is_some_and(|port| binding.isolated.contains(&port.pod))
}

/// The interface that the question is about: where the packet comes in, or where it
/// goes out.
pub(crate) fn by(hook: Hook, packet: &Packet) -> InterfaceIndex {
    InterfaceIndex(match hook {
        Hook::Prerouting | Hook::Input => packet.frame.in_interface,
        Hook::Forward | Hook::Output | Hook::Postrouting => packet.frame.out_interface,
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
