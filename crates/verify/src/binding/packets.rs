//! The packets to try on one way.
//!
//! In: what the rules look at, and one value of each kind. Out: packets with each
//! protocol, port and type that anybody tells from others, and the same packet with
//! each value of one more part.
//! Never: the choice which part to vary. That follows from what a packet meets.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::spec::frame::IpPacket;
use policy::{NodeNetwork, Tunnel};
use ruleset::simulator::{Arp, Content, CtState, Frame, Packet, Tag};
use ruleset::{Family, Match, TableFamily, TagType, TcpFlags, Transport};

use super::classes::{Representatives, Way};
use super::looks::{Looks, Part};

/// ICMP and ICMPv6 types that the specification knows (RFC 792; RFC 2710, 3; RFC
/// 3810, 5.2; RFC 4861, 4).
const ICMP: [u8; 1] = [5];
const ICMPV6: [u8; 9] = [130, 131, 132, 133, 134, 135, 136, 137, 143];
/// What no rule is likely to mention: echo requests.
const ICMP_ECHO: u8 = 8;
const ICMPV6_ECHO: u8 = 128;
/// Where no rule mentions a port.
const PORT: u16 = 5000;

/// The packets of a hook, with what is always looked at: protocols, ports, types.
pub(crate) struct Bodies {
    all: Vec<Packet>,
    hop_limits: Vec<u8>,
    source_ports: Vec<u16>,
}

impl Bodies {
    pub fn new(looks: &Looks<'_>, table: TableFamily, network: &NodeNetwork) -> Self {
        let mut all: Vec<Packet> =
            Family::BOTH.into_iter().flat_map(|family| bodies(looks, network, family)).collect();
        if table == TableFamily::Bridge {
            let nothing =
                Packet::new(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into(), 0);
            let arp = Arp { sender_mac: [0; 6], sender: Ipv4Addr::UNSPECIFIED };
            all.extend(
                [Content::Other, Content::Arp(arp)].map(|content| Packet {
                    frame: Frame { content, ..Frame::UNKNOWN },
                    ..nothing
                }),
            );
        }
        let hop_limits =
            with_free(&looks.hop_limits, &[IpPacket::ON_LINK], Packet::HOP_LIMIT).collect();
        let of_tunnels = network.tunnels.keys().filter_map(|tunnel| match *tunnel {
            Tunnel::Udp(port) => Some(port),
            Tunnel::Protocol(_) => None,
        });
        let source_ports: BTreeSet<u16> =
            looks.source_ports.iter().copied().chain(of_tunnels).collect();
        let source_ports = source_ports.into_iter().collect();
        Self { all, hop_limits, source_ports }
    }

    /// The packets on a way, their other parts not yet chosen.
    pub fn on(&self, way: Way) -> impl Iterator<Item = Packet> {
        self.all.iter().map(move |packet| {
            let (in_interface, out_interface) = (way.input, way.output);
            let frame = Frame { in_interface, out_interface, ..packet.frame };
            Packet { frame, ..*packet }
        })
    }

    /// The same packet with each value of a part.
    pub fn with(
        &self,
        packet: &Packet,
        part: Part,
        values: &Representatives<'_>,
        table: TableFamily,
    ) -> Vec<Packet> {
        let each = |set: &dyn Fn(&mut Packet, IpAddr)| {
            let of_family =
                values.addresses.iter().filter(|one| Family::of(**one) == packet.family());
            vary(packet, of_family.copied(), set)
        };
        let ends = |set: &dyn Fn(&mut Packet, Option<IpAddr>)| {
            let all = values.addresses.iter().copied();
            let of_family = all.filter(|one| Family::of(*one) == packet.family());
            vary(packet, of_family.map(Some).chain([None]), set)
        };
        let macs = || values.macs.iter().copied();
        match part {
            // The way decides.
            Part::In | Part::Out => vec![*packet],
            Part::Source => each(&|packet, it| packet.source = it),
            Part::Destination => each(&|packet, it| packet.destination = it),
            Part::Target => {
                let targets = v6(&values.addresses).map(Some).chain([None]);
                vary(packet, targets, &|packet, it| packet.target = it)
            }
            Part::Opener => ends(&|packet, it| packet.flow[0] = it),
            Part::Answerer => ends(&|packet, it| packet.flow[1] = it),
            Part::SourceMac => vary(packet, macs(), &|packet, it| packet.frame.source_mac = it),
            Part::DestinationMac => {
                vary(packet, macs(), &|packet, it| packet.frame.destination_mac = it)
            }
            Part::ArpMac => vary(packet, macs(), &|packet, sender_mac| {
                if let Content::Arp(arp) = packet.frame.content {
                    packet.frame.content = Content::Arp(Arp { sender_mac, ..arp });
                }
            }),
            Part::ArpSender => vary(packet, v4(&values.addresses), &|packet, sender| {
                if let Content::Arp(arp) = packet.frame.content {
                    packet.frame.content = Content::Arp(Arp { sender, ..arp });
                }
            }),
            // Nobody sees a tag where routing is.
            Part::Tag if table == TableFamily::Inet => vec![*packet],
            Part::Tag => {
                let tags = [None].into_iter().chain(tags());
                vary(packet, tags, &|packet, it| packet.frame.tag = it)
            }
            Part::Ct => {
                let states = [CtState::New, CtState::Established, CtState::Related];
                vary(packet, states.into_iter(), &|packet, it| packet.ct = it)
            }
            Part::ToHost => {
                vary(packet, [true, false].into_iter(), &|packet, it| packet.to_host = it)
            }
            Part::HopLimit => {
                vary(packet, self.hop_limits.iter().copied(), &|packet, it| packet.hop_limit = it)
            }
            Part::TcpFlags => {
                let flags = [TcpFlags::SYN, TcpFlags::ACK].map(Some).into_iter();
                vary(packet, flags, &|packet, it| packet.tcp_flags = it)
            }
            Part::SctpChunk => {
                let chunks = [Match::SCTP_INIT, 0].map(Some).into_iter();
                vary(packet, chunks, &|packet, it| packet.sctp_chunk = it)
            }
            Part::SourcePort => {
                // A packet has both ports, or it is a part of one and has none.
                let some = self.source_ports.iter().filter(|_| packet.destination_port.is_some());
                let ports = some.copied().map(Some).chain([None]);
                vary(packet, ports, &|packet, it| packet.source_port = it)
            }
            Part::Translated => {
                vary(packet, [false, true].into_iter(), &|packet, it| packet.translated = it)
            }
            Part::SourceIsLocal => {
                vary(packet, [false, true].into_iter(), &|packet, it| packet.source_is_local = it)
            }
        }
    }
}

/// The packets of a family, without addresses.
fn bodies(looks: &Looks<'_>, network: &NodeNetwork, family: Family) -> Vec<Packet> {
    let nobody: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(203, 0, 113, 1).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let with = |protocol| Packet::new(nobody, nobody, protocol);
    let mut protocols = looks.protocols.clone();
    protocols.extend(Transport::ALL.map(Transport::number));
    protocols.extend([Match::ICMP, Match::ICMPV6]);
    protocols.extend(network.tunnels.keys().filter_map(|tunnel| match tunnel {
        Tunnel::Protocol(number) => Some(*number),
        Tunnel::Udp(_) => None,
    }));
    // RFC 3692: for experiments.
    protocols.extend(free(&protocols, 253));
    let mut all: Vec<Packet> = Vec::new();
    for protocol in protocols {
        let transport = Transport::ALL.into_iter().find(|one| one.number() == protocol);
        let packet = with(protocol);
        all.push(packet);
        match (transport, family, protocol) {
            (Some(transport), ..) => {
                let ports = ports(looks, network, transport);
                let to = |port| Packet { destination_port: Some(port), ..packet };
                all.extend(ports.into_iter().map(to));
            }
            (None, Family::V4, Match::ICMP) => {
                let types = with_free(&looks.icmp_types, &ICMP, ICMP_ECHO);
                all.extend(types.map(|number| Packet { icmp_type: Some(number), ..packet }));
            }
            (None, Family::V6, Match::ICMPV6) => {
                let types = with_free(&looks.icmpv6_types, &ICMPV6, ICMPV6_ECHO);
                all.extend(types.map(|number| Packet { icmpv6_type: Some(number), ..packet }));
            }
            (None, Family::V4 | Family::V6, _) => {}
        }
    }
    all
}

/// The ports of a transport, one for each range in which nobody sees a difference.
fn ports(looks: &Looks<'_>, network: &NodeNetwork, transport: Transport) -> BTreeSet<u16> {
    let of = looks.ports.iter().filter(|(of, _)| *of == transport);
    let mut ports: BTreeSet<u16> = of.map(|(_, port)| *port).collect();
    if transport == Transport::Udp {
        for tunnel in network.tunnels.keys() {
            if let Tunnel::Udp(port) = tunnel {
                ports.extend([Some(*port), port.checked_add(1)].into_iter().flatten());
            }
        }
    }
    if ports.is_empty() { [PORT].into() } else { ports }
}

/// Both types of tags, with id 0 and with another one.
fn tags() -> impl Iterator<Item = Option<Tag>> {
    [TagType::Dot1q, TagType::Dot1ad]
        .into_iter()
        .flat_map(|tag_type| [0, 5].map(|vlan| Some(Tag { tag_type, vlan })))
}

fn v4(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv4Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    })
}

fn v6(addresses: &[IpAddr]) -> impl Iterator<Item = Ipv6Addr> {
    addresses.iter().filter_map(|address| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    })
}

/// A number that is not among these, if there is one.
fn free(among: &BTreeSet<u8>, preferred: u8) -> Option<u8> {
    [preferred].into_iter().chain(0..=u8::MAX).find(|number| !among.contains(number))
}

fn with_free(some: &BTreeSet<u8>, more: &[u8], preferred: u8) -> impl Iterator<Item = u8> + use<> {
    let mut all = some.clone();
    all.extend(more);
    all.extend(free(&all, preferred));
    all.into_iter()
}

/// The packet with each value.
fn vary<T>(
    packet: &Packet,
    values: impl Iterator<Item = T>,
    set: &dyn Fn(&mut Packet, T),
) -> Vec<Packet> {
    let with = |value| {
        let mut varied = *packet;
        set(&mut varied, value);
        varied
    };
    values.map(with).collect()
}
