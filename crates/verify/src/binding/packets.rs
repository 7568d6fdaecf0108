//! The packets to try on one way.
//!
//! In: what the rules look at, and one value of each kind. Out: every combination of
//! kinds, so that each packet there can be is judged like one of these.
//! Never: a part that neither the rules nor the specification look at; there one
//! value stands for all.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::{NodeNetwork, Tunnel};
use ruleset::simulator::{Arp, Content, CtState, Frame, Packet, Tag};
use ruleset::{Family, Match, TableFamily, TagType, TcpFlags, Transport};

use super::classes::{Mac, Representatives, Way};
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

/// The packets of a hook, without what depends on the way.
pub(crate) struct Bodies<'l, 'a> {
    looks: &'l Looks<'a>,
    table: TableFamily,
    of: [(Family, Vec<Packet>); 2],
}

impl<'l, 'a> Bodies<'l, 'a> {
    pub fn new(looks: &'l Looks<'a>, table: TableFamily, network: &NodeNetwork) -> Self {
        let of = Family::BOTH.map(|family| (family, bodies(looks, network, family)));
        Self { looks, table, of }
    }

    /// All packets on a way.
    pub fn on(&self, way: Way, values: &Representatives<'_>) -> Vec<Packet> {
        let frame = Frame { in_interface: way.input, out_interface: way.output, ..Frame::UNKNOWN };
        let mut all = Vec::new();
        for (family, bodies) in &self.of {
            let mut packets: Vec<Packet> =
                bodies.iter().map(|packet| Packet { frame, ..*packet }).collect();
            let addresses: Vec<IpAddr> = values
                .addresses
                .iter()
                .copied()
                .filter(|address| Family::of(*address) == *family)
                .collect();
            self.vary(&mut packets, Part::Source, &addresses, |packet, it| packet.source = it);
            let set = |packet: &mut Packet, it| packet.destination = it;
            self.vary(&mut packets, Part::Destination, &addresses, set);
            let targets: Vec<Option<Ipv6Addr>> =
                v6(&values.addresses).map(Some).chain([None]).collect();
            self.vary(&mut packets, Part::Target, &targets, |packet, it| packet.target = it);
            all.extend(packets);
        }
        if self.table == TableFamily::Bridge {
            all.extend(self.other_frames(frame, values));
            let (macs, looks) = (&values.macs, |part| self.looks.has(part));
            let tags: Vec<Option<Tag>> = [None].into_iter().chain(tags()).collect();
            vary(&mut all, looks(Part::Tag), &tags, |packet, it| packet.frame.tag = it);
            vary(&mut all, looks(Part::SourceMac), macs, |packet, it| {
                packet.frame.source_mac = it;
            });
            vary(&mut all, looks(Part::DestinationMac), macs, |packet, it| {
                packet.frame.destination_mac = it;
            });
        }
        all
    }

    /// Frames without an IP packet.
    fn other_frames(&self, frame: Frame, values: &Representatives<'_>) -> Vec<Packet> {
        let nothing = Packet::new(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into(), 0);
        let with = |content| Packet { frame: Frame { content, ..frame }, ..nothing };
        let arp = |sender_mac: Mac, sender| with(Content::Arp(Arp { sender_mac, sender }));
        let senders = values.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let senders: Vec<Ipv4Addr> = first_or_all(senders, self.looks.has(Part::ArpSender));
        let macs = first_or_all(values.macs.iter().copied(), self.looks.has(Part::ArpMac));
        let mut all = vec![with(Content::Other)];
        all.extend(macs.iter().flat_map(|mac| senders.iter().map(|sender| arp(*mac, *sender))));
        let states = [CtState::New, CtState::Established, CtState::Related];
        self.vary(&mut all, Part::Ct, &states, |packet, it| packet.ct = it);
        self.vary(&mut all, Part::ToHost, &[true, false], |packet, it| packet.to_host = it);
        all
    }

    fn vary<T: Copy>(
        &self,
        packets: &mut Vec<Packet>,
        part: Part,
        values: &[T],
        set: impl Fn(&mut Packet, T),
    ) {
        vary(packets, self.looks.has(part), values, set);
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
    protocols.extend(network.tunnels.iter().filter_map(|tunnel| match tunnel {
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
    let has = |part| looks.has(part);
    let tcp = |packet: &Packet| packet.protocol == Transport::Tcp.number();
    let sctp = |packet: &Packet| packet.protocol == Transport::Sctp.number();
    vary(&mut all, has(Part::TcpFlags), &[TcpFlags::SYN, TcpFlags::ACK], |packet, it| {
        packet.tcp_flags = tcp(packet).then_some(it);
    });
    vary(&mut all, has(Part::SctpChunk), &[Match::SCTP_INIT, 0], |packet, it| {
        packet.sctp_chunk = sctp(packet).then_some(it);
    });
    let states = [CtState::New, CtState::Established, CtState::Related];
    vary(&mut all, has(Part::Ct), &states, |packet, it| packet.ct = it);
    vary(&mut all, has(Part::ToHost), &[true, false], |packet, it| packet.to_host = it);
    let hops: Vec<u8> = with_free(&looks.hop_limits, &[], Packet::HOP_LIMIT).collect();
    vary(&mut all, family == Family::V6, &hops, |packet, it| packet.hop_limit = it);
    all
}

/// The ports of a transport, one for each range in which nobody sees a difference.
fn ports(looks: &Looks<'_>, network: &NodeNetwork, transport: Transport) -> BTreeSet<u16> {
    let of = looks.ports.iter().filter(|(of, _)| *of == transport);
    let mut ports: BTreeSet<u16> = of.map(|(_, port)| *port).collect();
    if transport == Transport::Udp {
        for tunnel in &network.tunnels {
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

fn first_or_all<T>(values: impl Iterator<Item = T>, all: bool) -> Vec<T> {
    values.take(if all { usize::MAX } else { 1 }).collect()
}

/// Each packet with each value, if anybody looks.
fn vary<T: Copy>(
    packets: &mut Vec<Packet>,
    looked_at: bool,
    values: &[T],
    set: impl Fn(&mut Packet, T),
) {
    if !looked_at || values.is_empty() {
        return;
    }
    let each = |packet: &Packet| {
        let packet = *packet;
        let set = &set;
        values.iter().map(move |value| {
            let mut varied = packet;
            set(&mut varied, *value);
            varied
        })
    };
    *packets = packets.iter().flat_map(each).collect();
}
