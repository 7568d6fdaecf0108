//! Frames as bytes, and as the simulator has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ruleset::simulator::{Arp, Content, Frame, Packet, Tag};
use ruleset::{TagType, Transport};

pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(super) const V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(super) const OTHER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(super) const OTHER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// A frame as bytes from its type field on, without tags, and as the simulator has it.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) what: String,
    pub(super) bytes: Vec<u8>,
    pub(super) packet: Packet,
    /// Whether it is a later fragment. Linux 6.18 takes its data for ports and types
    /// where it loads 1, 2 or 4 bytes (`nft_payload_fast_eval`,
    /// net/netfilter/nf_tables_core.c).
    pub(super) is_fragment: bool,
}

fn ipv4(protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    let length = 20 + u16::try_from(body.len()).expect("short");
    let mut header = vec![0x08, 0, 0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 1]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(V4.octets());
    header.extend(OTHER_V4.octets());
    [&header, body].concat()
}

fn ipv6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0];
    header.extend(u16::try_from(body.len()).expect("short").to_be_bytes());
    header.extend([next, 255]);
    header.extend(V6.octets());
    header.extend(OTHER_V6.octets());
    [&header, body].concat()
}

fn arp(sender_mac: [u8; 6], sender: Ipv4Addr) -> Vec<u8> {
    let mut bytes = vec![0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    bytes.extend(sender_mac);
    bytes.extend(sender.octets());
    bytes.extend([0; 6]);
    bytes.extend(OTHER_V4.octets());
    bytes
}

/// Frames without a tag.
fn untagged() -> Vec<Sample> {
    let (v4, other_v4) = (IpAddr::from(V4), IpAddr::from(OTHER_V4));
    let (v6, other_v6) = (IpAddr::from(V6), IpAddr::from(OTHER_V6));
    let sample = |what: &str, bytes, packet| Sample {
        what: what.to_owned(),
        bytes,
        packet,
        is_fragment: false,
    };
    let of_arp = |mac, sender| {
        let content = Content::Arp(Arp { sender_mac: mac, sender });
        let packet = Packet::new(v4, other_v4, 0);
        Packet { frame: Frame { content, ..packet.frame }, ..packet }
    };
    let mut other = Packet::new(v4, other_v4, 0);
    other.frame.content = Content::Other;
    let udp = [0, 5, 0, 7, 0, 8, 0, 0];
    let sctp = |chunk| [&[0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, chunk][..], &[0; 7]].concat();
    let chunk =
        |one| Packet { sctp_chunk: Some(one), ..Packet::to_port(v4, other_v4, Transport::Sctp, 7) };
    let icmp = |one| Packet { icmp_type: Some(one), ..Packet::new(v4, other_v4, 1) };
    let advert = [&[136, 0, 0, 0, 0, 0, 0, 0][..], &V6.octets()].concat();
    let of_advert = Packet { target: Some(V6), ..Packet::neighbour_discovery(v6, other_v6, 136) };
    let fragment = Sample {
        is_fragment: true,
        ..sample("a later fragment", ipv4(17, 1, &udp), Packet::new(v4, other_v4, 17))
    };
    vec![
        sample("UDP", ipv4(17, 0, &udp), Packet::to_port(v4, other_v4, Transport::Udp, 7)),
        fragment,
        sample("echo", ipv4(1, 0, &[8, 0, 0, 0, 0, 0, 0, 0]), icmp(8)),
        sample("a redirect", ipv4(1, 0, &[5, 0, 0, 0, 0, 0, 0, 0]), icmp(5)),
        sample("INIT", ipv4(132, 0, &sctp(1)), chunk(1)),
        sample("DATA", ipv4(132, 0, &sctp(0)), chunk(0)),
        sample("UDP6", ipv6(17, &udp), Packet::to_port(v6, other_v6, Transport::Udp, 7)),
        sample("an advertisement", ipv6(58, &advert), of_advert),
        sample("ARP", arp(MAC, V4), of_arp(MAC, V4)),
        sample("ARP of another address", arp(MAC, OTHER_V4), of_arp(MAC, OTHER_V4)),
        sample("ARP of another MAC", arp(OTHER_MAC, V4), of_arp(OTHER_MAC, V4)),
        sample("LLDP", vec![0x88, 0xcc, 0, 0, 0, 0], other),
    ]
}

/// Each frame without a tag, with one of each kind, and with two.
pub(super) fn samples() -> Vec<Sample> {
    let tagged = |tag_type: TagType, vlan: u16, sample: &Sample| {
        let tag = [tag_type.number().to_be_bytes(), vlan.to_be_bytes()].concat();
        let mut packet = sample.packet;
        packet.frame.tag = Some(Tag { tag_type, vlan: vlan & 0xfff });
        if sample.packet.frame.tag.is_some() {
            packet.frame.content = Content::Other;
        }
        let bytes = [&tag, &sample.bytes[..]].concat();
        Sample {
            what: format!("{} in {tag_type:?} {vlan:#x}", sample.what),
            bytes,
            packet,
            ..sample.clone()
        }
    };
    let plain = untagged();
    let mut all = plain.clone();
    for sample in &plain {
        // 0xe000 is the highest priority.
        let tags = [(TagType::Dot1q, 0), (TagType::Dot1q, 0xe000), (TagType::Dot1q, 5)];
        for (kind, vlan) in tags.into_iter().chain([(TagType::Dot1ad, 0), (TagType::Dot1ad, 5)]) {
            all.push(tagged(kind, vlan, sample));
        }
        let inner = tagged(TagType::Dot1q, 0, sample);
        all.push(tagged(TagType::Dot1q, 0, &inner));
        all.push(tagged(TagType::Dot1ad, 7, &inner));
    }
    all
}
