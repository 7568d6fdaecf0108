//! Frames on a node's network, and what the specification of the binding says of them.
//!
//! Takes a network, and draws frames between all that it holds, honest ones among
//! them. Never: the policies; see [`crate::judge`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use compiler::Compiled;
use policy::spec::binding::Binding;
use policy::spec::frame::{ArpMessage, Body, IpPacket, Payload};
use policy::spec::refusal::Refusal;
use policy::{BoundPort, InterfaceIndex, Mac, NodeNetwork, spec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use ruleset::simulator::{Arp, Content, Frame, Packet, Tag};
use ruleset::{Hook, Match, Ruleset, TableFamily, TagType, Transport};

/// An interface and a MAC that no network has.
const UNKNOWN: (u32, [u8; 6]) = (9_999, [2, 0, 0, 0, 9, 9]);
const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
];

/// Choices that make a frame on any network.
#[derive(Clone, Debug)]
pub struct AnyFrame {
    interface: Index,
    /// Where it came in, for the hook between two ports of a bridge.
    from: Index,
    /// For each field, what to choose, and whether among the interface's own values.
    fields: Vec<(Index, bool)>,
    is_v6: bool,
    protocol: u8,
    /// ICMP or ICMPv6 type.
    message: u8,
    port: u16,
    source_port: u16,
    tag: Option<Tag>,
    content: Kind,
    /// Whether a Service carries it.
    translated: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Ip,
    Arp,
    Other,
}

/// Any frame.
pub fn any() -> impl Strategy<Value = AnyFrame> {
    let messages = vec![0, 5, 8, 128, 130, 131, 132, 133, 134, 135, 136, 137, 143];
    let tag = prop_oneof![
        4 => Just(None),
        1 => (select(vec![TagType::Dot1q, TagType::Dot1ad]), select(vec![0, 5]))
            .prop_map(|(tag_type, vlan)| Some(Tag { tag_type, vlan })),
    ];
    let content = prop_oneof![7 => Just(Kind::Ip), 2 => Just(Kind::Arp), 1 => Just(Kind::Other)];
    let fields =
        prop::collection::vec((prop::arbitrary::any::<Index>(), prop::bool::weighted(0.7)), 8);
    let body = (
        prop::bool::ANY,
        select(vec![1, 4, 6, 17, 41, 58, 58, 58, 132, 200]),
        select(messages),
        (select(vec![53, 80, 8471, 8472]), select(vec![40_000, 8471, 8472])),
    );
    let translated = prop::bool::weighted(0.3);
    let interfaces = (prop::arbitrary::any::<Index>(), prop::arbitrary::any::<Index>());
    (interfaces, fields, body, tag, (content, translated)).prop_map(
        |(
            (interface, from),
            fields,
            (is_v6, protocol, message, ports),
            tag,
            (content, translated),
        )| {
            let (port, source_port) = ports;
            AnyFrame {
                interface,
                from,
                fields,
                is_v6,
                protocol,
                message,
                port,
                source_port,
                tag,
                content,
                translated,
            }
        },
    )
}

impl AnyFrame {
    /// The frame on a network, as a table of this family sees it at a hook.
    pub fn at(&self, network: &NodeNetwork, family: TableFamily, hook: Hook) -> Packet {
        let known = network.ports.keys().chain(network.bridges.keys()).map(|index| index.0);
        let interfaces: Vec<u32> = known.chain([UNKNOWN.0]).collect();
        let interface = interfaces[self.interface.index(interfaces.len())];
        let port = network.ports.get(&InterfaceIndex(interface));
        let (source, destination) =
            (self.address(network, port, 0), self.address(network, port, 1));
        let is = |number, v6| self.protocol == number && self.is_v6 == v6;
        let with_port = Transport::ALL.iter().any(|one| one.number() == self.protocol);
        let target = match self.address_of(network, port, 2, true) {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        };
        let bridge = family == TableFamily::Bridge;
        let (input, output) = match hook {
            Hook::Prerouting | Hook::Input => (interface, 0),
            Hook::Forward if bridge => (interfaces[self.from.index(interfaces.len())], interface),
            Hook::Forward | Hook::Output | Hook::Postrouting => (0, interface),
        };
        let content = match self.content {
            Kind::Arp if bridge => Content::Arp(Arp {
                sender_mac: self.mac(network, port, 5),
                sender: match self.address_of(network, port, 6, false) {
                    IpAddr::V4(address) => address,
                    IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
                },
            }),
            Kind::Other if bridge => Content::Other,
            Kind::Ip | Kind::Arp | Kind::Other => Content::Ip,
        };
        Packet {
            source_port: with_port.then_some(self.source_port),
            destination_port: with_port.then_some(self.port),
            icmp_type: is(Match::ICMP, false).then_some(self.message),
            icmpv6_type: is(Match::ICMPV6, true).then_some(self.message),
            target,
            translated: self.translated,
            flow: [Some(self.address(network, port, 7)), None],
            frame: Frame {
                in_interface: input,
                out_interface: output,
                source_mac: self.mac(network, port, 3),
                destination_mac: self.mac(network, port, 4),
                tag: self.tag.filter(|_| bridge),
                content,
            },
            ..Packet::new(source, destination, self.protocol)
        }
    }

    fn address(&self, network: &NodeNetwork, port: Option<&BoundPort>, field: usize) -> IpAddr {
        self.address_of(network, port, field, self.is_v6)
    }

    fn address_of(
        &self,
        network: &NodeNetwork,
        port: Option<&BoundPort>,
        field: usize,
        is_v6: bool,
    ) -> IpAddr {
        let (index, own) = self.fields[field];
        let of_family = |address: &&IpAddr| address.is_ipv6() == is_v6;
        let mine: Vec<IpAddr> =
            port.iter().flat_map(|port| &port.addresses).filter(of_family).copied().collect();
        if own && !mine.is_empty() {
            return mine[index.index(mine.len())];
        }
        let nothing = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let all = network.ports.values().flat_map(|port| &port.addresses);
        let all = all.chain(network.bridges.values().flat_map(|bridge| &bridge.addresses));
        let all = all.chain(&network.tunnel_peers).chain(&NOBODY).chain([&nothing]);
        let all: Vec<IpAddr> = all.filter(of_family).copied().collect();
        all[index.index(all.len())]
    }

    fn mac(&self, network: &NodeNetwork, port: Option<&BoundPort>, field: usize) -> [u8; 6] {
        let (index, own) = self.fields[field];
        if let Some(port) = port.filter(|_| own) {
            return port.mac.0;
        }
        let ports = network.ports.values().map(|port| port.mac.0);
        let bridges = network.bridges.values().map(|bridge| bridge.mac.0);
        let all: Vec<[u8; 6]> = ports.chain(bridges).chain([UNKNOWN.1]).collect();
        all[index.index(all.len())]
    }
}

/// The hooks where the binding is held, with their tables.
pub fn places(compiled: &Compiled) -> impl Iterator<Item = (&Ruleset, Hook)> {
    let inet =
        [Hook::Prerouting, Hook::Input, Hook::Postrouting].map(|hook| (&compiled.ruleset, hook));
    let bridge = compiled.bridge.iter().flat_map(|table| {
        [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Postrouting].map(|hook| (table, hook))
    });
    inet.into_iter().chain(bridge)
}

/// Why the specification refuses a packet at a hook, if it does.
pub fn said(
    binding: &Binding<'_>,
    family: TableFamily,
    hook: Hook,
    packet: &Packet,
) -> Option<Refusal> {
    let input = InterfaceIndex(packet.frame.in_interface);
    let output = InterfaceIndex(packet.frame.out_interface);
    let said = match (family, hook) {
        (TableFamily::Inet, Hook::Prerouting) => binding.enters_node(input, &ip(packet)),
        (TableFamily::Inet, Hook::Input) => binding.reaches_node(input, &ip(packet)),
        (TableFamily::Inet, Hook::Forward) => binding
            .crosses_node(&ip(packet))
            .and_then(|()| binding.leaves_node(output, packet.destination)),
        (TableFamily::Bridge, Hook::Prerouting) => binding.enters_bridge(input, &frame(packet)),
        (TableFamily::Bridge, Hook::Postrouting) => binding.leaves_bridge(output, &frame(packet)),
        (TableFamily::Bridge, Hook::Forward) => {
            binding.crosses_bridge(input, output, &frame(packet))
        }
        (TableFamily::Inet, Hook::Postrouting) => {
            let [opener, _] = packet.flow;
            binding.leaves_masqueraded(output, &ip(packet), opener)
        }
        (TableFamily::Bridge, Hook::Input) | (_, Hook::Output) => Ok(()),
    };
    said.err()
}

/// A packet in the words of the specification.
pub fn ip(packet: &Packet) -> IpPacket {
    let Packet { source, destination, protocol, hop_limit, .. } = *packet;
    let target = packet.target.unwrap_or(Ipv6Addr::UNSPECIFIED);
    let body = match (protocol, source) {
        (17, _) => packet.destination_port.map(Body::Udp),
        (Match::ICMP, IpAddr::V4(_)) => packet.icmp_type.map(Body::Icmp),
        (Match::ICMPV6, IpAddr::V6(_)) => packet.icmpv6_type.map(|of| Body::Icmpv6(of, target)),
        _ => None,
    };
    IpPacket {
        source,
        destination,
        source_port: packet.source_port.filter(|_| protocol == 17),
        hop_limit,
        body: body.unwrap_or(Body::Other(protocol)),
        translated: packet.translated,
    }
}

fn frame(packet: &Packet) -> spec::frame::Frame {
    let Frame { source_mac, destination_mac, tag, content, .. } = packet.frame;
    spec::frame::Frame {
        source: Mac(source_mac),
        destination: Mac(destination_mac),
        tag: tag.map(|tag| tag.vlan),
        payload: match content {
            Content::Ip => Payload::Ip(ip(packet)),
            Content::Arp(Arp { sender_mac, sender }) => {
                Payload::Arp(ArpMessage { sender_mac: Mac(sender_mac), sender: sender.into() })
            }
            Content::Other => Payload::Other,
        },
    }
}
