//! The attacks of dishonest pods, by name, and the honest ways beside them.

use super::*;
use crate::spec::frame::ArpMessage;
use crate::{BoundBridge, Mac, Tunnel, TunnelSources};

/// Interfaces: a bridge with the ports of a, v (isolated) and a port to the LAN;
/// routed ports of r and of i (isolated); the node's own link and its tunnel.
const BRIDGE: InterfaceIndex = InterfaceIndex(2);
const A: InterfaceIndex = InterfaceIndex(3);
const V: InterfaceIndex = InterfaceIndex(4);
const LAN: InterfaceIndex = InterfaceIndex(5);
const R: InterfaceIndex = InterfaceIndex(6);
const I: InterfaceIndex = InterfaceIndex(7);
const LINK: InterfaceIndex = InterfaceIndex(8);
const TUNNEL: InterfaceIndex = InterfaceIndex(9);

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

struct Node {
    network: NodeNetwork,
    isolated: BTreeSet<ObjectKey>,
    nodes: BTreeSet<IpAddr>,
}

impl Node {
    fn new() -> Self {
        let port = |name: &str, bridge, last: u8| BoundPort {
            pod: ObjectKey::new("dev", name),
            bridge,
            mac: mac(last),
            addresses: ["10.0.0.", "fd00::", "fe80::"]
                .iter()
                .map(|start| ip(&format!("{start}{last}")))
                .collect(),
        };
        let bridge = BoundBridge {
            mac: mac(1),
            addresses: [ip("10.0.0.1"), ip("fd00::1"), ip("fe80::1")].into(),
            only_pods: false,
        };
        let network = NodeNetwork {
            ports: [
                (A, port("a", Some(BRIDGE), 3)),
                (V, port("v", Some(BRIDGE), 4)),
                (R, port("r", None, 6)),
                (I, port("i", None, 7)),
            ]
            .into_iter()
            .collect(),
            bridges: [(BRIDGE, bridge)].into_iter().collect(),
            tunnels: [Tunnel::Udp(8472), Tunnel::Protocol(4)]
                .map(|tunnel| (tunnel, TunnelSources::Nodes))
                .into_iter()
                .collect(),
            ..NodeNetwork::default()
        };
        let isolated = ["v", "i"].map(|name| ObjectKey::new("dev", name)).into();
        Self { network, isolated, nodes: [ip("192.168.0.1"), ip("192.168.0.2")].into() }
    }

    fn binding(&self) -> Binding<'_> {
        Binding { network: &self.network, isolated: &self.isolated, nodes: &self.nodes }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address literal")
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn udp(source: &str, destination: &str) -> IpPacket {
    to_port(source, destination, 5000)
}

fn to_port(source: &str, destination: &str, port: u16) -> IpPacket {
    packet(source, destination, 64, Body::Udp(port))
}

fn icmpv6(source: &str, kind: u8, target: &str) -> IpPacket {
    let target = target.parse().expect("an address literal");
    packet(source, "ff02::1", IpPacket::ON_LINK, Body::Icmpv6(kind, target))
}

fn icmp(source: &str, kind: u8) -> IpPacket {
    packet(source, "10.0.0.4", 64, Body::Icmp(kind))
}

fn packet(source: &str, destination: &str, hop_limit: u8, body: Body) -> IpPacket {
    IpPacket {
        source: ip(source),
        destination: ip(destination),
        source_port: None,
        hop_limit,
        body,
        translated: false,
    }
}

/// The same, as a router would pass it on.
fn from_afar(packet: IpPacket) -> IpPacket {
    IpPacket { hop_limit: 64, ..packet }
}

/// Between the MACs that end with these numbers.
fn frame((source, destination): (u8, u8), packet: IpPacket) -> Frame {
    let payload = Payload::Ip(packet);
    Frame { source: mac(source), destination: mac(destination), tag: None, payload }
}

fn arp(source: u8, sender_mac: u8, sender: &str) -> Frame {
    let payload = Payload::Arp(ArpMessage { sender_mac: mac(sender_mac), sender: ip(sender) });
    Frame { source: mac(source), destination: Mac([0xff; 6]), tag: None, payload }
}

fn other(source: u8, destination: u8) -> Frame {
    Frame { payload: Payload::Other, ..frame((source, destination), icmp("10.0.0.9", 8)) }
}

fn tagged(tag: u16, frame: Frame) -> Frame {
    Frame { tag: Some(tag), ..frame }
}

type Said = Result<(), Refusal>;

fn check(cases: &[(&str, Said, Said)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter(|(_, got, expected)| got != expected)
        .map(|(name, got, expected)| format!("{name}: {got:?}, not {expected:?}"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn frames_that_enter_a_bridge() {
    use Refusal::*;
    let node = Node::new();
    let by = |port, frame| node.binding().enters_bridge(port, &frame);
    let (data, own) = (udp("10.0.0.3", "10.0.0.4"), (3, 4));
    check(&[
        ("own IPv4", by(A, frame(own, data)), Ok(())),
        ("own IPv6", by(A, frame(own, udp("fd00::3", "fd00::4"))), Ok(())),
        ("own link-local", by(A, frame(own, udp("fe80::3", "fe80::4"))), Ok(())),
        ("own ARP", by(A, arp(3, 3, "10.0.0.3")), Ok(())),
        ("own solicitation", by(A, frame(own, icmpv6("fd00::3", SOLICITATION, "fd00::4"))), Ok(())),
        (
            "own advertisement",
            by(A, frame(own, icmpv6("fd00::3", ADVERTISEMENT, "fe80::3"))),
            Ok(()),
        ),
        (
            "own duplicate detection",
            by(A, frame(own, icmpv6("::", SOLICITATION, "fe80::3"))),
            Ok(()),
        ),
        ("groups before it has an address", by(A, frame(own, icmpv6("::", 143, "::"))), Ok(())),
        ("router solicitation", by(A, frame(own, icmpv6("fe80::3", 133, "::"))), Ok(())),
        ("the LAN", by(LAN, frame((99, 4), udp("10.0.0.99", "10.0.0.4"))), Ok(())),
        (
            "A0 a datagram to the tunnel is an own packet here",
            by(A, frame((3, 1), to_port("10.0.0.3", "10.0.0.1", 8472))),
            Ok(()),
        ),
        (
            "A1 forged opener of a neighbour",
            by(A, frame(own, udp("10.0.0.4", "10.0.0.3"))),
            Err(NotItsAddress),
        ),
        (
            "A1 forged opener from the LAN",
            by(LAN, frame((99, 1), udp("10.0.0.4", "10.0.0.99"))),
            Err(AddressOfAnother),
        ),
        (
            "A2 self-assigned address",
            by(A, frame(own, udp("10.0.0.77", "10.0.0.4"))),
            Err(NotItsAddress),
        ),
        (
            "A3 router advertisement",
            by(A, frame(own, icmpv6("fe80::3", 134, "::"))),
            Err(RouterAdvertisement),
        ),
        ("A4 VLAN 0", by(A, tagged(0, frame(own, data))), Err(PriorityTag)),
        (
            "A4 VLAN 0 of an isolated pod",
            by(V, tagged(0, frame((4, 3), udp("10.0.0.4", "10.0.0.3")))),
            Err(KindOfFrame),
        ),
        (
            "A4 VLAN 5 of an isolated pod",
            by(V, tagged(5, frame((4, 3), udp("10.0.0.4", "10.0.0.3")))),
            Err(KindOfFrame),
        ),
        ("A4 PPPoE of an isolated pod", by(V, other(4, 3)), Err(KindOfFrame)),
        ("VLAN 5 of others", by(A, tagged(5, frame(own, data))), Ok(())),
        ("LLDP of others", by(A, other(3, 4)), Ok(())),
        ("A4 LLDP under a neighbour's MAC", by(A, other(4, 3)), Err(NotItsMac)),
        ("A5 a neighbour's MAC", by(A, frame((4, 3), data)), Err(NotItsMac)),
        ("A5 a neighbour's MAC from the LAN", by(LAN, other(4, 3)), Err(MacOfAnother)),
        ("A5 ARP for a neighbour", by(A, arp(3, 3, "10.0.0.4")), Err(NotItsAddress)),
        ("A5 ARP of a neighbour's MAC", by(A, arp(3, 4, "10.0.0.3")), Err(NotItsMac)),
        ("A5 ARP for the gateway", by(A, arp(3, 3, "10.0.0.1")), Err(NotItsAddress)),
        ("A5 ARP for a pod from the LAN", by(LAN, arp(99, 99, "10.0.0.4")), Err(AddressOfAnother)),
        (
            "A5 ARP for the gateway from the LAN",
            by(LAN, arp(99, 99, "10.0.0.1")),
            Err(AddressOfAnother),
        ),
        (
            "A5 advertisement for a neighbour",
            by(A, frame(own, icmpv6("fd00::3", ADVERTISEMENT, "fd00::4"))),
            Err(NotItsAddress),
        ),
        (
            "A5 advertisement for the gateway",
            by(A, frame(own, icmpv6("fd00::3", ADVERTISEMENT, "fd00::1"))),
            Err(NotItsAddress),
        ),
        (
            "A5 advertisement from a neighbour's address",
            by(A, frame(own, icmpv6("fd00::4", ADVERTISEMENT, "fd00::4"))),
            Err(NotItsAddress),
        ),
        (
            "A5 advertisement for a pod from the LAN",
            by(LAN, frame((99, 1), icmpv6("fd00::99", ADVERTISEMENT, "fd00::4"))),
            Err(AddressOfAnother),
        ),
        (
            "A5 denied duplicate detection",
            by(A, frame(own, icmpv6("::", SOLICITATION, "fd00::4"))),
            Err(NotItsAddress),
        ),
        ("A5 ICMP redirect, for the node to judge", by(A, frame(own, icmp("10.0.0.3", 5))), Ok(())),
        ("A5 ICMPv6 redirect", by(A, frame(own, icmpv6("fe80::3", 137, "fd00::4"))), Err(Redirect)),
        (
            "what receivers ignore, or data of a later fragment",
            by(A, frame(own, from_afar(icmpv6("fd00::3", ADVERTISEMENT, "fd00::4")))),
            Ok(()),
        ),
        ("the same, a router", by(A, frame(own, from_afar(icmpv6("fe80::3", 134, "::")))), Ok(())),
        (
            "VLAN 0 from the LAN",
            by(LAN, tagged(0, frame((99, 4), udp("10.0.0.99", "10.0.0.4")))),
            Ok(()),
        ),
        ("VLAN 5 from the LAN", by(LAN, tagged(5, other(99, 4))), Ok(())),
        (
            "A4 a pod's address in VLAN 0 from the LAN",
            by(LAN, tagged(0, frame((99, 4), udp("10.0.0.3", "10.0.0.4")))),
            Err(AddressOfAnother),
        ),
        (
            "A4 ARP in VLAN 0 from the LAN",
            by(LAN, tagged(0, arp(99, 99, "10.0.0.4"))),
            Err(HiddenByTag),
        ),
        ("A4 a tag in VLAN 0 from the LAN", by(LAN, tagged(0, other(99, 4))), Err(HiddenByTag)),
        (
            "A5 ICMPv6 redirect as the gateway",
            by(A, frame(own, icmpv6("fe80::1", 137, "fd00::4"))),
            Err(NotItsAddress),
        ),
        (
            "A6 echo for the node to reflect",
            by(A, frame((3, 1), icmp("10.0.0.4", 8))),
            Err(NotItsAddress),
        ),
        (
            "A7 source and destination are the victim",
            by(A, frame(own, udp("10.0.0.4", "10.0.0.4"))),
            Err(NotItsAddress),
        ),
    ]);
}

/// There is no table then, and nothing that it would protect.
#[test]
fn a_bridge_without_pods_takes_every_tag() {
    let mut node = Node::new();
    node.network = NodeNetwork::default();
    let said = node.binding().enters_bridge(LAN, &tagged(0, arp(99, 99, "10.0.0.4")));
    assert_eq!(said, Ok(()));
}

#[test]
fn packets_that_enter_the_node() {
    use Refusal::*;
    let node = Node::new();
    let by = |interface, packet| node.binding().enters_node(interface, &packet);
    check(&[
        ("a routed pod", by(R, udp("10.0.0.6", "10.0.0.7")), Ok(())),
        ("a routed pod's link-local", by(R, icmpv6("fe80::6", SOLICITATION, "fe80::1")), Ok(())),
        (
            "a routed pod's duplicate detection",
            by(R, icmpv6("::", SOLICITATION, "fd00::6")),
            Ok(()),
        ),
        ("a bridged pod", by(BRIDGE, udp("10.0.0.3", "10.0.0.7")), Ok(())),
        ("a bridged pod's link-local", by(BRIDGE, udp("fe80::3", "fe80::1")), Ok(())),
        ("the same link-local on another link", by(LINK, udp("fe80::6", "fe80::1")), Ok(())),
        ("the outside", by(LINK, udp("203.0.113.1", "10.0.0.7")), Ok(())),
        ("another node's pod through the tunnel", by(TUNNEL, udp("10.1.0.3", "10.0.0.7")), Ok(())),
        (
            "A0 a local pod's address through the tunnel",
            by(TUNNEL, udp("10.0.0.3", "10.0.0.7")),
            Err(AddressOfAnother),
        ),
        ("A1 forged opener", by(R, udp("10.0.0.7", "10.0.0.6")), Err(NotItsAddress)),
        (
            "A1 forged opener to a NodePort",
            by(R, to_port("10.1.0.3", "192.168.0.2", 30_000)),
            Err(NotItsAddress),
        ),
        (
            "A1 forged opener from the LAN",
            by(LINK, udp("10.0.0.7", "203.0.113.1")),
            Err(AddressOfAnother),
        ),
        (
            "A1 a routed pod's address from the bridge",
            by(BRIDGE, udp("10.0.0.6", "10.0.0.7")),
            Err(AddressOfAnother),
        ),
        ("A2 self-assigned address", by(R, udp("203.0.113.1", "10.0.0.7")), Err(NotItsAddress)),
        ("A3 router advertisement", by(R, icmpv6("fe80::6", 134, "::")), Err(RouterAdvertisement)),
        ("A5 redirect", by(R, icmp("10.0.0.6", 5)), Err(Redirect)),
        ("A5 redirect of a bridged pod", by(BRIDGE, icmp("10.0.0.3", 5)), Err(Redirect)),
        ("A5 redirect of the LAN's router", by(BRIDGE, icmp("10.0.0.99", 5)), Ok(())),
        (
            "A5 router advertisement from no address",
            by(R, icmpv6("::", 134, "::")),
            Err(NotItsAddress),
        ),
        (
            "A0 as a node, to a group of bridges",
            by(A, to_port("192.168.0.2", "192.168.0.1", 8472)),
            Err(PastBridge),
        ),
        (
            "its own address, to a group of bridges",
            by(A, udp("10.0.0.3", "10.0.0.1")),
            Err(PastBridge),
        ),
        (
            "A3 router advertisement, to a group of bridges",
            by(A, icmpv6("fe80::3", 134, "::")),
            Err(PastBridge),
        ),
        (
            "duplicate detection, to a group of bridges",
            by(A, icmpv6("::", SOLICITATION, "fd00::3")),
            Ok(()),
        ),
        ("A6 echo for the node to reflect", by(R, icmp("10.0.0.7", 8)), Err(NotItsAddress)),
        (
            "A7 source and destination are the victim",
            by(R, udp("10.0.0.7", "10.0.0.7")),
            Err(NotItsAddress),
        ),
    ]);
}

#[test]
fn frames_that_leave_a_bridge() {
    use Refusal::*;
    let node = Node::new();
    let by = |port, frame| node.binding().leaves_bridge(port, &frame);
    check(&[
        ("own IPv4", by(V, frame((1, 4), udp("10.0.0.3", "10.0.0.4"))), Ok(())),
        ("own link-local", by(V, frame((3, 4), udp("fe80::3", "fe80::4"))), Ok(())),
        ("ARP", by(V, arp(3, 3, "10.0.0.3")), Ok(())),
        ("solicitation", by(V, frame((3, 4), icmpv6("fd00::3", SOLICITATION, "fd00::4"))), Ok(())),
        ("a listener's report", by(V, frame((3, 4), icmpv6("fe80::3", 143, "::"))), Ok(())),
        ("the router's advertisement", by(V, frame((1, 4), icmpv6("fe80::1", 134, "::"))), Ok(())),
        (
            "anything to others",
            by(A, tagged(0, frame((1, 9), udp("10.0.0.9", "10.0.0.9")))),
            Ok(()),
        ),
        (
            "A5 a frame to a neighbour's MAC",
            by(A, frame((1, 4), udp("10.0.0.9", "10.0.0.4"))),
            Err(MacOfAnother),
        ),
        ("A5 the same, LLDP", by(A, other(1, 4)), Err(MacOfAnother)),
        (
            "A5 the same, to the LAN",
            by(LAN, frame((1, 4), udp("10.0.0.9", "10.0.0.4"))),
            Err(MacOfAnother),
        ),
        (
            "A5 a solicitation to a neighbour's MAC",
            by(V, frame((1, 3), icmpv6("fd00::9", SOLICITATION, "fd00::4"))),
            Err(MacOfAnother),
        ),
        (
            "A3 an address of router advertisements",
            by(V, frame((3, 4), udp("2001:db8::3", "2001:db8::4"))),
            Err(UnreportedAddress),
        ),
        (
            "A3 an address of another device",
            by(V, frame((1, 4), udp("10.0.0.3", "172.17.0.1"))),
            Err(UnreportedAddress),
        ),
        (
            "A3 broadcast",
            by(V, frame((3, 0xff), udp("10.0.0.3", "255.255.255.255"))),
            Err(UnreportedAddress),
        ),
        (
            "A4 VLAN 0",
            by(V, tagged(0, frame((3, 4), udp("10.0.0.3", "10.0.0.4")))),
            Err(KindOfFrame),
        ),
        ("A4 PPPoE", by(V, other(3, 4)), Err(KindOfFrame)),
        (
            "A5 redirect",
            by(V, frame((3, 4), icmpv6("fe80::3", 137, "fd00::4"))),
            Err(UnreportedAddress),
        ),
    ]);
}

#[test]
fn frames_between_ports_of_a_bridge() {
    use Refusal::*;
    let node = Node::new();
    let from = |from, to, frame| node.binding().crosses_bridge(from, to, &frame);
    let friend = "10.0.0.77";
    check(&[
        (
            "an isolated pod to a neighbour",
            from(V, A, frame((4, 3), udp("10.0.0.4", "10.0.0.3"))),
            Ok(()),
        ),
        ("link-local", from(V, A, frame((4, 3), udp("fe80::4", "fe80::3"))), Ok(())),
        ("ARP", from(V, A, arp(4, 4, "10.0.0.4")), Ok(())),
        (
            "solicitation",
            from(V, A, frame((4, 3), icmpv6("fd00::4", SOLICITATION, "fd00::3"))),
            Ok(()),
        ),
        ("a listener's report", from(V, A, frame((4, 3), icmpv6("fe80::4", 143, "::"))), Ok(())),
        (
            "to itself, through a Service",
            from(V, V, frame((1, 4), udp("10.0.0.4", "10.0.0.4"))),
            Ok(()),
        ),
        ("to a router of the LAN", from(V, LAN, frame((4, 9), udp("10.0.0.4", friend))), Ok(())),
        (
            "of a pod that is not isolated",
            from(A, V, frame((3, 4), udp("10.0.0.3", friend))),
            Ok(()),
        ),
        ("from the LAN", from(LAN, A, frame((9, 3), udp("10.0.0.9", friend))), Ok(())),
        (
            "B5 to an accomplice, under an address that policies allow",
            from(V, A, frame((4, 3), udp("10.0.0.4", friend))),
            Err(NotForReceiver),
        ),
        (
            "B5 the same, IPv6",
            from(V, A, frame((4, 3), udp("fd00::4", "fd00::77"))),
            Err(NotForReceiver),
        ),
        (
            "B5 to the address of an accomplice, under another MAC",
            from(V, A, frame((4, 9), udp("10.0.0.4", "10.0.0.3"))),
            Err(NotForReceiver),
        ),
        (
            "B5 to a group",
            from(V, A, frame((4, 0xff), udp("10.0.0.4", "224.0.0.9"))),
            Err(NotForReceiver),
        ),
        (
            "B5 to itself, under an address that policies allow",
            from(V, V, frame((4, 4), udp("10.0.0.4", friend))),
            Err(NotForReceiver),
        ),
        ("B5 echo", from(V, A, frame((4, 3), icmpv6("fd00::4", 128, "::"))), Err(NotForReceiver)),
        ("A4 VLAN 5", from(V, A, tagged(5, other(4, 3))), Err(KindOfFrame)),
    ]);
}

#[test]
fn packets_that_the_node_forwards_to_a_port() {
    let node = Node::new();
    let to = |interface, destination| node.binding().leaves_node(interface, ip(destination));
    check(&[
        ("its address", to(I, "10.0.0.7"), Ok(())),
        (
            "A3 an address that it does not report",
            to(I, "10.0.0.77"),
            Err(Refusal::UnreportedAddress),
        ),
        ("a pod that is not isolated", to(R, "10.0.0.77"), Ok(())),
        ("a bridge: its ports are bound there", to(BRIDGE, "10.0.0.77"), Ok(())),
        ("elsewhere", to(LINK, "10.0.0.77"), Ok(())),
    ]);
}

#[test]
fn packets_that_the_node_masquerades() {
    let mut node = Node::new();
    let by = |node: &Node, port, packet, opener: Option<&str>| {
        node.binding().leaves_masqueraded(port, &packet, opener.map(ip))
    };
    let out = |packet, opener| by(&node, LINK, packet, Some(opener));
    // An address of another node that no pod reports.
    let further = "192.168.0.20";
    let tunnelled = to_port("192.168.0.1", further, 8472);
    let ipip = IpPacket { body: Body::Other(4), ..tunnelled };
    let from_port = |port, packet| IpPacket { source_port: Some(port), ..packet };
    let to_node = from_port(8472, udp("192.168.0.1", "192.168.0.2"));
    let refused = Err(Refusal::TunnelMasqueraded);
    check(&[
        ("B1 a routed pod", out(tunnelled, "10.0.0.6"), refused),
        ("B1 a bridged pod", out(tunnelled, "10.0.0.3"), refused),
        ("B1 IPIP", out(ipip, "10.0.0.6"), refused),
        ("B1 IPv4 in IPv6", out(to_port("192.168.0.1", further, 8472), "fd00::6"), refused),
        ("the node itself", out(tunnelled, "192.168.0.1"), Ok(())),
        ("an answer to another node", out(tunnelled, "192.168.0.2"), Ok(())),
        ("nobody tracked it", by(&node, LINK, tunnelled, None), Ok(())),
        ("a pod of another node", out(tunnelled, "10.0.1.6"), Ok(())),
        ("link-local", out(tunnelled, "fe80::6"), Ok(())),
        ("another port", out(to_port("192.168.0.1", further, 8473), "10.0.0.6"), Ok(())),
        ("not masqueraded", out(to_port("10.0.0.6", "10.0.1.6", 8472), "10.0.0.6"), Ok(())),
        (
            "a node answers a routed pod",
            by(&node, R, to_port("192.168.0.1", "10.0.0.6", 8472), Some("10.0.0.6")),
            Ok(()),
        ),
        (
            "a node answers a bridged pod",
            by(&node, BRIDGE, to_port("192.168.0.2", "10.0.0.3", 8472), Some("10.0.0.3")),
            Ok(()),
        ),
        (
            "B1 to an address of another pod's interface",
            by(&node, R, to_port("192.168.0.2", "10.0.0.3", 8472), Some("10.0.0.3")),
            refused,
        ),
        ("B7 a port that masquerading chose", out(to_node, "10.0.0.6"), Err(Refusal::TunnelShadow)),
        ("another one", out(from_port(8473, to_node), "10.0.0.6"), Ok(())),
        (
            "to no node",
            out(from_port(8472, udp("192.168.0.1", "198.51.100.1")), "10.0.0.6"),
            Ok(()),
        ),
        ("a node's own", out(to_node, "192.168.0.1"), Ok(())),
    ]);
    node.nodes.clear();
    let unknown = by(&node, LINK, tunnelled, Some("10.0.0.6"));
    check(&[("nobody knows the nodes", unknown, Ok(()))]);
}

#[test]
fn packets_to_tunnels() {
    let mut node = Node::new();
    let ipip = |source: &str| IpPacket { body: Body::Other(4), ..udp(source, "192.168.0.1") };
    let foreign = Err(Refusal::Tunnel);
    let here = |node: &Node, by, packet| node.binding().reaches_node(by, &packet);
    let there = |node: &Node, packet| node.binding().crosses_node(&packet);
    check(&[
        ("another node", here(&node, LINK, to_port("192.168.0.2", "192.168.0.1", 8472)), Ok(())),
        ("another port", here(&node, R, to_port("10.0.0.6", "192.168.0.1", 53)), Ok(())),
        ("A0 a routed pod", here(&node, R, to_port("10.0.0.6", "192.168.0.1", 8472)), foreign),
        (
            "A0 a bridged pod",
            here(&node, BRIDGE, to_port("10.0.0.3", "192.168.0.1", 8472)),
            foreign,
        ),
        (
            "A0 a host on the LAN",
            here(&node, LINK, to_port("192.168.0.77", "192.168.0.1", 8472)),
            foreign,
        ),
        (
            "A0 a routed pod as a node",
            here(&node, R, to_port("192.168.0.2", "192.168.0.1", 8472)),
            foreign,
        ),
        (
            "a node behind a bridge that has other ports",
            here(&node, BRIDGE, to_port("192.168.0.2", "192.168.0.1", 8472)),
            Ok(()),
        ),
        ("A0 IPIP", here(&node, R, ipip("10.0.0.6")), foreign),
        ("A0 to another node", there(&node, to_port("10.0.0.6", "192.168.0.2", 8472)), foreign),
        ("A0 IPIP to another node", there(&node, ipip("10.0.0.6")), foreign),
        ("pods' own tunnels", there(&node, to_port("10.0.0.6", "10.0.0.7", 8472)), Ok(())),
        ("a node's", there(&node, to_port("192.168.0.1", "192.168.0.2", 8472)), Ok(())),
    ]);
    let from_port = |port, packet| IpPacket { source_port: Some(port), ..packet };
    let to_node = udp("10.0.0.6", "192.168.0.2");
    let shadow = Err(Refusal::TunnelShadow);
    check(&[
        ("the place of a tunnel", there(&node, from_port(8472, to_node)), shadow),
        ("from another port", there(&node, from_port(8473, to_node)), Ok(())),
        ("to nobody's tunnel", there(&node, from_port(8472, udp("10.0.0.6", "10.0.0.7"))), Ok(())),
        ("between nodes", there(&node, from_port(8472, udp("192.168.0.1", "192.168.0.2"))), Ok(())),
        (
            "to the own node, which masquerades nothing",
            here(&node, R, from_port(8472, udp("10.0.0.6", "192.168.0.1"))),
            Ok(()),
        ),
    ]);
    let carried = Err(Refusal::TunnelByService);
    let translated = |packet| IpPacket { translated: true, ..packet };
    let between_nodes = translated(to_port("192.168.0.2", "192.168.0.1", 8472));
    let ipip_of_node = translated(ipip("192.168.0.2"));
    let from_pod = translated(to_port("10.0.0.6", "192.168.0.2", 8472));
    check(&[
        ("A0 a Service, masqueraded", here(&node, LINK, between_nodes), carried),
        ("A0 a Service to IPIP", here(&node, LINK, ipip_of_node), carried),
        ("A0 a Service to another node, masqueraded", there(&node, between_nodes), carried),
        ("A0 a Service to another node", there(&node, from_pod), carried),
        (
            "a Service of the node's",
            here(&node, LINK, translated(to_port("192.168.0.2", "192.168.0.1", 53))),
            Ok(()),
        ),
        (
            "a Service of pods that end a tunnel",
            there(&node, translated(to_port("10.0.0.6", "10.0.0.7", 8472))),
            Ok(()),
        ),
    ]);
    node.nodes = [ip("192.168.0.1"), ip("192.168.0.2")].into();
    let six = |source: &str| to_port(source, "fd01::1", 8472);
    check(&[
        ("a node of an unknown family", here(&node, LINK, six("fd01::2")), Ok(())),
        ("A0 a routed pod of an unknown family", here(&node, R, six("fd00::6")), foreign),
        (
            "A0 a Service of an unknown family",
            here(&node, LINK, translated(six("fd01::2"))),
            carried,
        ),
        (
            "A0 a host on the LAN of the known family",
            here(&node, LINK, to_port("192.168.0.77", "192.168.0.1", 8472)),
            foreign,
        ),
    ]);
    node.network.tunnels.insert(Tunnel::Udp(8472), TunnelSources::Any);
    let in_service = here(&node, LINK, between_nodes);
    let from_bridge = here(&node, BRIDGE, to_port("10.0.0.3", "192.168.0.1", 8472));
    check(&[
        ("A0 a Service, any host", in_service, carried),
        ("A0 a pod on a bridge with other ports", from_bridge, foreign),
        (
            "any host on that bridge",
            here(&node, BRIDGE, to_port("192.168.0.77", "192.168.0.1", 8472)),
            Ok(()),
        ),
        ("A0 IPIP stays the nodes'", here(&node, LINK, ipip("192.168.0.77")), foreign),
    ]);
    if let Some(bridge) = node.network.bridges.get_mut(&BRIDGE) {
        bridge.only_pods = true;
    }
    check(&[
        (
            "A0 as a node, from a port of pods alone that is bound to nobody",
            here(&node, BRIDGE, to_port("192.168.0.2", "192.168.0.1", 8472)),
            foreign,
        ),
        ("any host", here(&node, LINK, to_port("192.168.0.77", "192.168.0.1", 8472)), Ok(())),
        ("A0 a routed pod", here(&node, R, to_port("10.0.0.6", "192.168.0.1", 8472)), foreign),
        (
            "A0 a bridged pod",
            here(&node, BRIDGE, to_port("10.0.0.3", "192.168.0.1", 8472)),
            foreign,
        ),
    ]);
    node.network.tunnels.clear();
    let bare = here(&node, R, to_port("10.0.0.6", "192.168.0.1", 8472));
    check(&[("a node without tunnels", bare, Ok(()))]);
}
