//! Packets of a table that does not change.
//!
//! Pods: `a` and `v` (isolated) are on the bridge, `r` and `w` (isolated) are routed.

use std::net::{IpAddr, Ipv6Addr};

use ruleset::simulator::{Arp, Content, CtState, Frame, Outcome, Packet, Tag};
use ruleset::{TagType, Transport};

use crate::tables::{BRIDGE_MAC, GATEWAY, Node, Port, ip};
use crate::way::{End, History, Sent};

const A: End = End::Bridged(11);
const V: End = End::Bridged(12);
const R: End = End::Routed(21);
const W: End = End::Routed(22);
/// A port of the bridge that is no pod's.
const OTHER_PORT: End = End::Bridged(13);
const UPLINK: End = End::Routed(1);

const fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, last]
}

fn node() -> Node {
    let port = |index, is_bridged, last: u8, is_isolated| Port {
        index,
        is_bridged,
        mac: mac(last),
        addresses: [format!("10.0.0.{last}"), format!("fd00::{last}"), format!("fe80::{last}")]
            .iter()
            .map(|address| ip(address))
            .collect(),
        is_isolated,
    };
    Node {
        ports: vec![
            port(11, true, 1, false),
            port(12, true, 2, true),
            port(21, false, 3, false),
            port(22, false, 4, true),
        ],
        tunnels: [8472].into(),
        nodes: [ip("192.0.2.1"), ip("192.0.2.2")].into(),
        friends: [ip("10.0.0.1"), ip("10.0.0.3")].into(),
    }
}

fn check(what: &str, from: End, to: End, packet: Packet, expected: Outcome) {
    let possible = History::of(&node()).outcomes(&Sent { from, to, packet }, 0);
    assert!(possible.always(expected), "{what}: not {expected:?}: {possible:?}");
}

/// UDP in a frame from and to the pods with these last bytes.
fn udp(source: &str, destination: &str, (from, to): (u8, u8)) -> Packet {
    let packet = Packet::to_port(ip(source), ip(destination), Transport::Udp, 81);
    framed(packet, mac(from), mac(to))
}

fn framed(packet: Packet, source_mac: [u8; 6], destination_mac: [u8; 6]) -> Packet {
    Packet { frame: Frame { source_mac, destination_mac, ..packet.frame }, ..packet }
}

fn tagged(packet: Packet, tag_type: TagType, vlan: u16) -> Packet {
    Packet { frame: Frame { tag: Some(Tag { tag_type, vlan }), ..packet.frame }, ..packet }
}

fn holding(packet: Packet, content: Content) -> Packet {
    Packet { frame: Frame { content, ..packet.frame }, ..packet }
}

fn arp(sender: &str, sender_mac: [u8; 6], from: u8) -> Packet {
    let IpAddr::V4(sender) = ip(sender) else { unreachable!("an IPv4 address") };
    holding(udp("0.0.0.0", "0.0.0.0", (from, 9)), Content::Arp(Arp { sender_mac, sender }))
}

fn neighbour(icmpv6_type: u8, source: &str, target: &str, from: u8) -> Packet {
    let target: Ipv6Addr = target.parse().unwrap();
    let packet = Packet::neighbour_discovery(ip(source), ip("ff02::1"), icmpv6_type);
    Packet { target: Some(target), ..framed(packet, mac(from), mac(9)) }
}

fn icmp(icmp_type: u8, source: &str, from: u8) -> Packet {
    let packet = Packet::new(ip(source), ip("10.0.0.1"), 1);
    Packet { icmp_type: Some(icmp_type), ..framed(packet, mac(from), mac(1)) }
}

const PASSES: Outcome = Outcome::Accept;
const ENDS: Outcome = Outcome::Drop;

#[test]
fn a_pod_speaks_with_its_own_addresses() {
    for (what, from, to, packet) in [
        ("bridged", A, V, udp("10.0.0.1", "10.0.0.2", (1, 2))),
        ("bridged, out", A, UPLINK, udp("10.0.0.1", "192.0.2.9", (1, 9))),
        ("bridged, IPv6", A, UPLINK, udp("fd00::1", "2001:db8::1", (1, 9))),
        ("bridged to routed", A, R, udp("10.0.0.1", "10.0.0.3", (1, 9))),
        ("routed", R, W, udp("10.0.0.3", "10.0.0.4", (3, 4))),
        ("routed to bridged", R, V, udp("10.0.0.3", "10.0.0.2", (9, 2))),
        ("to the node", R, End::Node, udp("10.0.0.3", "192.0.2.1", (3, 9))),
        ("echo", A, End::Node, icmp(8, "10.0.0.1", 1)),
        ("routed, link-local", R, End::Node, udp("fe80::3", "fe80::9", (3, 9))),
    ] {
        check(what, from, to, packet, PASSES);
    }
}

#[test]
fn a_pod_does_not_speak_with_others() {
    let odd = |packet| holding(packet, Content::Other);
    for (what, from, to, packet) in [
        ("another pod's", A, UPLINK, udp("10.0.0.2", "192.0.2.9", (1, 9))),
        ("another pod's MAC, too", A, UPLINK, udp("10.0.0.2", "192.0.2.9", (2, 9))),
        ("its own under another MAC", A, UPLINK, udp("10.0.0.1", "192.0.2.9", (7, 9))),
        ("nobody's", A, UPLINK, udp("10.0.0.77", "192.0.2.9", (1, 9))),
        ("the gateway's", A, UPLINK, udp(GATEWAY, "192.0.2.9", (1, 9))),
        ("routed, another pod's", R, UPLINK, udp("10.0.0.4", "192.0.2.9", (3, 9))),
        ("routed, a bridged pod's", R, UPLINK, udp("10.0.0.1", "192.0.2.9", (3, 9))),
        ("routed, nobody's", R, UPLINK, udp("10.0.0.77", "192.0.2.9", (3, 9))),
        ("the uplink, a pod's", UPLINK, R, udp("10.0.0.4", "10.0.0.3", (9, 9))),
        ("another port, a pod's", OTHER_PORT, V, udp("10.0.0.1", "10.0.0.2", (13, 2))),
        ("another port, a pod's MAC", OTHER_PORT, A, odd(udp("::", "::", (2, 1)))),
        (
            "with a tag",
            OTHER_PORT,
            A,
            tagged(udp("10.0.0.1", "10.0.0.2", (13, 2)), TagType::Dot1q, 0),
        ),
        (
            "the bridge's MAC",
            OTHER_PORT,
            A,
            framed(odd(udp("::", "::", (0, 1))), BRIDGE_MAC, mac(1)),
        ),
        ("redirect", A, V, icmp(5, "10.0.0.1", 1)),
        ("redirect, routed", R, UPLINK, icmp(5, "10.0.0.3", 3)),
        ("router", A, V, neighbour(134, "fe80::1", "::", 1)),
        ("router, routed", R, End::Node, neighbour(134, "fe80::3", "::", 3)),
    ] {
        check(what, from, to, packet, ENDS);
    }
}

/// Across a router such a packet would be dropped by the receiver.
#[test]
fn neighbours_keep_their_places() {
    for (what, packet, expected) in [
        ("own advertisement", neighbour(136, "fe80::1", "fd00::1", 1), PASSES),
        ("another's target", neighbour(136, "fe80::1", "fd00::2", 1), ENDS),
        ("another's source", neighbour(136, "fe80::2", "fd00::1", 1), ENDS),
        ("own solicitation", neighbour(135, "fe80::1", "fd00::2", 1), PASSES),
        ("its own address sought", neighbour(135, "::", "fd00::1", 1), PASSES),
        ("another's address sought", neighbour(135, "::", "fd00::2", 1), ENDS),
        ("listener", Packet { target: None, ..neighbour(143, "::", "::", 1) }, PASSES),
        ("listener, another's MAC", Packet { target: None, ..neighbour(143, "::", "::", 2) }, ENDS),
        ("ARP", arp("10.0.0.1", mac(1), 1), PASSES),
        ("ARP for another", arp("10.0.0.2", mac(1), 1), ENDS),
        ("ARP for the gateway", arp(GATEWAY, mac(1), 1), ENDS),
        ("ARP with another MAC inside", arp("10.0.0.1", mac(2), 1), ENDS),
        ("ARP from another MAC", arp("10.0.0.1", mac(1), 2), ENDS),
        ("ARP with a tag", tagged(arp("10.0.0.1", mac(1), 1), TagType::Dot1q, 0), ENDS),
    ] {
        // Not to the isolated pod, whose `inet` rules know no edges here.
        let to = if packet.frame.content == Content::Ip { A } else { V };
        check(what, A, to, packet, expected);
    }
    let advert = neighbour(136, "fe80::13", "fd00::2", 13);
    check("another port's advertisement", OTHER_PORT, A, advert, ENDS);
    check("with a tag", OTHER_PORT, A, tagged(advert, TagType::Dot1ad, 5), ENDS);
    check("of its own", OTHER_PORT, A, neighbour(136, "fe80::13", "fd00::13", 13), PASSES);
    check("its own frame", OTHER_PORT, A, udp("10.0.9.9", "10.0.0.1", (13, 1)), PASSES);
}

#[test]
fn an_isolated_pod_hears_its_own_addresses() {
    for (what, from, to, packet, expected) in [
        ("its own", A, V, udp("10.0.0.1", "10.0.0.2", (1, 2)), PASSES),
        ("a second address", A, V, udp("10.0.0.1", "172.17.0.1", (1, 2)), ENDS),
        ("a second address, IPv6", A, V, udp("fd00::1", "fd00::99", (1, 2)), ENDS),
        ("routed", R, W, udp("10.0.0.3", "172.17.0.1", (9, 9)), ENDS),
        ("not isolated", A, R, udp("10.0.0.1", "172.17.0.1", (1, 9)), PASSES),
        ("from the uplink", UPLINK, V, udp("192.0.2.9", "172.17.0.1", (9, 2)), ENDS),
        ("from it, to a pod", V, A, udp("10.0.0.2", "10.0.0.1", (2, 1)), PASSES),
        ("from it, ARP", V, A, arp("10.0.0.2", mac(2), 2), PASSES),
        ("from it, to a pod as to another", V, A, udp("10.0.0.2", "192.0.2.9", (2, 1)), ENDS),
        ("from it, to no pod", V, OTHER_PORT, udp("10.0.0.2", "192.0.2.9", (2, 9)), PASSES),
        ("from another, to a pod as to another", A, V, udp("10.0.0.1", "192.0.2.9", (1, 2)), ENDS),
        ("another's MAC", A, V, udp("10.0.0.1", "10.0.0.2", (1, 3)), ENDS),
        ("ARP", A, V, arp("10.0.0.1", mac(1), 1), PASSES),
        ("LLDP", A, V, holding(udp("::", "::", (1, 2)), Content::Other), ENDS),
        ("LLDP from it", V, A, holding(udp("::", "::", (2, 1)), Content::Other), ENDS),
        (
            "LLDP beside it",
            A,
            OTHER_PORT,
            holding(udp("::", "::", (1, 13)), Content::Other),
            PASSES,
        ),
    ] {
        check(what, from, to, packet, expected);
    }
    for (vlan, to_other) in [(0, ENDS), (5, PASSES)] {
        for tag_type in [TagType::Dot1q, TagType::Dot1ad] {
            let packet = tagged(udp("10.0.0.1", "10.0.0.2", (1, 2)), tag_type, vlan);
            // The address is the pod's own: `inet` is not asked about tags.
            check("tag", A, V, packet, ENDS);
            let other = tagged(udp("10.0.0.1", "10.0.0.2", (1, 13)), tag_type, vlan);
            let other = holding(other, Content::Other);
            check("tag to another", A, OTHER_PORT, other, to_other);
        }
    }
}

#[test]
fn nobody_speaks_into_tunnels_but_nodes() {
    let tunnel = |source: &str, destination: &str, macs| Packet {
        destination_port: Some(8472),
        ..udp(source, destination, macs)
    };
    for (what, from, to, packet, expected) in [
        ("a pod to its node", A, End::Node, tunnel("10.0.0.1", "192.0.2.1", (1, 9)), ENDS),
        ("a routed pod", R, End::Node, tunnel("10.0.0.3", "192.0.2.1", (3, 9)), ENDS),
        ("to another node", R, UPLINK, tunnel("10.0.0.3", "192.0.2.2", (3, 9)), ENDS),
        ("a stranger", UPLINK, End::Node, tunnel("198.51.100.7", "192.0.2.1", (9, 9)), ENDS),
        ("a node", UPLINK, End::Node, tunnel("192.0.2.2", "192.0.2.1", (9, 9)), PASSES),
        ("node to node", UPLINK, UPLINK, tunnel("192.0.2.2", "192.0.2.1", (9, 9)), PASSES),
        ("pods among themselves", A, R, tunnel("10.0.0.1", "10.0.0.3", (1, 9)), PASSES),
        (
            "to an address that no node names",
            A,
            UPLINK,
            tunnel("10.0.0.1", "192.0.2.20", (1, 9)),
            ENDS,
        ),
        ("the same, routed", R, UPLINK, tunnel("10.0.0.3", "192.0.2.20", (3, 9)), ENDS),
        ("another port there", R, UPLINK, udp("10.0.0.3", "192.0.2.20", (3, 9)), PASSES),
        ("another port of a node", R, UPLINK, udp("10.0.0.3", "192.0.2.2", (3, 9)), PASSES),
    ] {
        check(what, from, to, packet, expected);
    }
}

#[test]
fn a_redirect_is_decided_before_what_is_related() {
    let error = |icmp_type| Packet { ct: CtState::Related, ..icmp(icmp_type, "192.0.2.9", 9) };
    check("unreachable", UPLINK, A, error(3), PASSES);
    check("redirect", UPLINK, A, error(5), ENDS);
}
