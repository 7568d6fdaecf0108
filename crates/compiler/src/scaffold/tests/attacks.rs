//! What the binding does with packets and frames, one by one.
//!
//! On bridge 3 are the pods `v` (port 9, isolated) and `x` (port 8), and port 5,
//! which is no pod's. The pods `r` (port 7, isolated) and `y` (port 6) are routed.
//! Interface 2 leads to the other nodes.

mod delivery;

use std::net::{IpAddr, Ipv4Addr};

use policy::spec::binding::Binding;
use policy::{
    BoundBridge, BoundPort, InterfaceIndex, Mac, NetworkPolicy, NodeNetwork, ObjectKey, Phase, Pod,
    Selector, Snapshot, TunnelSources,
};
use ruleset::simulator::{Arp, Content, CtState, Frame, Outcome, Packet, Tag, simulate_at};
use ruleset::{Hook, Match, TagType, Transport};

use super::*;
use crate::{Compiled, Engine, Options};

const OTHERS: u32 = 2;
const BRIDGE: u32 = 3;
const NO_POD: u32 = 5;
const Y: u32 = 6;
const R: u32 = 7;
const X: u32 = 8;
const V: u32 = 9;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn mac(last: u32) -> [u8; 6] {
    [2, 0, 0, 0, 0, last.to_le_bytes()[0]]
}

/// The addresses of a port's pod, the link-local one last.
fn own(port: u32) -> [IpAddr; 3] {
    ["10.0.0.", "fd00::", "fe80::ff:fe00:"].map(|start| ip(&format!("{start}{port}")))
}

fn pod(port: u32) -> Pod {
    Pod {
        key: ObjectKey::new(if port == V || port == R { "shut" } else { "open" }, port.to_string()),
        labels: policy::Labels::new(),
        node: None,
        addresses: own(port)[..2].to_vec(),
        host_addresses: vec![ip("192.0.2.1")],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

pub(crate) fn network(ports: &[u32]) -> NodeNetwork {
    let bridge = InterfaceIndex(BRIDGE);
    let port = |port| BoundPort {
        pod: pod(port).key,
        bridge: (port == X || port == V).then_some(bridge),
        mac: Mac(mac(port)),
        addresses: own(port).into(),
    };
    let gateway = BoundBridge {
        mac: Mac(mac(BRIDGE)),
        addresses: [ip("10.0.0.1"), ip("fe80::1")].into(),
        only_pods: false,
    };
    NodeNetwork {
        ports: ports.iter().map(|&index| (InterfaceIndex(index), port(index))).collect(),
        bridges: [(bridge, gateway)].into_iter().collect(),
        ..NodeNetwork::default()
    }
}

pub(crate) fn snapshot() -> Snapshot {
    let policy = NetworkPolicy {
        key: ObjectKey::new("shut", "deny"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(Vec::new()),
        egress: None,
    };
    Snapshot::new([policy], [V, X, R, Y].map(pod), [])
}

fn compiled(network: &NodeNetwork) -> Compiled {
    Engine::new(Options::default()).update(&snapshot(), network).clone()
}

fn passes(table: &Ruleset, hook: Hook, packet: &Packet) -> bool {
    simulate_at(table, hook, packet).expect("a table without mistakes").outcome == Outcome::Accept
}

/// A packet that comes in by an interface.
fn from(interface: u32, packet: Packet) -> Packet {
    Packet { frame: Frame { in_interface: interface, ..packet.frame }, ..packet }
}

fn to(interface: u32, packet: Packet) -> Packet {
    Packet { frame: Frame { out_interface: interface, ..packet.frame }, ..packet }
}

fn udp(source: IpAddr) -> Packet {
    let destination = if source.is_ipv4() { "10.0.0.99" } else { "fd00::99" };
    Packet::to_port(source, ip(destination), Transport::Udp, 53)
}

fn redirect(source: IpAddr) -> Packet {
    match source.is_ipv4() {
        true => Packet { icmp_type: Some(5), ..Packet::new(source, ip("10.0.0.99"), Match::ICMP) },
        false => Packet::icmpv6(source, ip("fd00::99"), 137),
    }
}

fn check(table: &Ruleset, hook: Hook, cases: Vec<(&str, Packet, bool)>) {
    for (case, packet, expected) in cases {
        assert_eq!(passes(table, hook, &packet), expected, "{case}: {packet:?}");
    }
}

#[test]
fn an_address_comes_from_its_own_interface_alone() {
    let table = compiled(&network(&[V, X, R, Y])).ruleset;
    for family in 0..2 {
        let address = |port| own(port)[family];
        let stranger = [ip("10.9.9.9"), ip("fd99::9")][family];
        check(
            &table,
            Hook::Prerouting,
            vec![
                ("routed, its own", from(R, udp(address(R))), true),
                ("routed, another pod's", from(Y, udp(address(R))), false),
                ("routed, a bridged pod's", from(Y, udp(address(V))), false),
                ("routed, nobody's", from(Y, udp(stranger)), false),
                ("bridged, its own", from(BRIDGE, udp(address(V))), true),
                ("bridged, a routed pod's", from(BRIDGE, udp(address(R))), false),
                ("by eth0 or a tunnel, a pod's", from(OTHERS, udp(address(V))), false),
                ("by eth0 or a tunnel, others'", from(OTHERS, udp(stranger)), true),
                ("routed, a redirect", from(Y, redirect(address(Y))), false),
                ("by eth0, a redirect", from(OTHERS, redirect(stranger)), true),
                ("bridged, a redirect", from(BRIDGE, redirect(address(V))), false),
                ("by the bridge, others' redirect", from(BRIDGE, redirect(stranger)), true),
                ("past the bridge, nobody's", from(X, udp(stranger)), false),
                ("past the bridge, its own", from(X, udp(address(X))), false),
                ("past the bridge, from no pod's port", from(NO_POD, udp(stranger)), true),
            ],
        );
    }
    check(
        &table,
        Hook::Prerouting,
        vec![
            ("its link-local one", from(R, udp(own(R)[2])), true),
            ("another's link-local one", from(Y, udp(own(R)[2])), false),
            ("a link-local one on the bridge", from(BRIDGE, udp(own(V)[2])), true),
            ("echo", from(R, Packet::new(own(R)[0], ip("10.0.0.99"), Match::ICMP)), true),
            ("a router", from(R, Packet::icmpv6(own(R)[2], ip("ff02::1"), 134)), false),
            ("is it free", from(R, Packet::icmpv6(ip("::"), ip("ff02::1:ff00:7"), 135)), true),
            ("groups", from(R, Packet::icmpv6(ip("::"), ip("ff02::16"), 143)), true),
            ("unaddressed, other", from(R, Packet::icmpv6(ip("::"), ip("ff02::2"), 133)), false),
        ],
    );
}

#[test]
fn to_an_isolated_pod_go_its_own_addresses_alone() {
    let table = compiled(&network(&[V, X, R, Y])).ruleset;
    let new = |destination: &str| {
        let source = if destination.contains(':') { "fd99::9" } else { "10.9.9.9" };
        Packet::to_port(ip(source), ip(destination), Transport::Tcp, 80)
    };
    let established = |packet| Packet { ct: CtState::Established, ..packet };
    check(
        &table,
        Hook::Forward,
        vec![
            ("a second address", to(R, new("10.0.0.77")), false),
            ("a second IPv6 address", to(R, new("fd00::77")), false),
            ("of a pod that is not isolated", to(Y, new("10.0.0.77")), true),
            ("to others", to(OTHERS, new("10.0.0.77")), true),
            ("what it asked for", to(R, established(new("10.0.0.77"))), true),
            ("its own, by its policy", to(R, new("10.0.0.7")), false),
            ("of a bridged pod", to(BRIDGE, new("10.0.0.8")), true),
        ],
    );
}

#[test]
fn a_redirect_is_not_related() {
    let table = compiled(&network(&[Y])).ruleset;
    for source in [own(Y)[0], own(Y)[1]] {
        let related = Packet { ct: CtState::Related, ..redirect(source) };
        let error = match source.is_ipv4() {
            true => Packet { icmp_type: Some(3), ..related },
            false => Packet { icmpv6_type: Some(1), ..related },
        };
        check(
            &table,
            Hook::Forward,
            vec![
                ("a redirect", related, false),
                ("an error", Packet { flow: [None, Some(source)], ..error }, true),
            ],
        );
    }
}

/// All ends that a flow can have, and all who can speak of it.
#[test]
fn errors_pass_as_the_specification_says() {
    let network = network(&[V, X, Y]);
    let table = compiled(&network).ruleset;
    let binding = Binding { network: &network, isolated: &[].into(), nodes: &[].into() };
    for family in 0..2 {
        let (protocol, other) =
            [(Match::ICMP, "192.0.2.9"), (Match::ICMPV6, "2001:db8::9")][family];
        let all: Vec<IpAddr> =
            [V, X, R, Y].map(|port| own(port)[family]).into_iter().chain([ip(other)]).collect();
        let ends = || all.iter().copied().map(Some).chain([None]);
        for (source, one) in all.iter().flat_map(|source| ends().map(move |one| (*source, one))) {
            for flow in ends().map(|other| [one, other]) {
                let packet = Packet::new(source, own(V)[family], protocol);
                let packet = Packet { ct: CtState::Related, flow, ..packet };
                let said = binding.is_about_flow(source, flow);
                let name = format!("{source} about {flow:?}: {said:?}");
                assert_eq!(passes(&table, Hook::Forward, &packet), said.is_ok(), "{name}");
            }
        }
    }
}

#[test]
fn a_pod_says_nothing_about_the_flows_of_others() {
    let bound = compiled(&network(&[V, X, R, Y])).ruleset;
    let files = compiled(&NodeNetwork::default()).ruleset;
    for family in 0..2 {
        let router = [ip("192.0.2.9"), ip("2001:db8::9")][family];
        let error = |source: IpAddr, flow: [IpAddr; 2]| {
            let (destination, flow) = (own(V)[family], flow.map(Some));
            let protocol = [Match::ICMP, Match::ICMPV6][family];
            let packet = Packet::new(source, destination, protocol);
            let (icmp_type, icmpv6_type) = [(Some(3), None), (None, Some(1))][family];
            Packet { icmp_type, icmpv6_type, ct: CtState::Related, flow, ..packet }
        };
        let of = |port| own(port)[family];
        check(
            &bound,
            Hook::Forward,
            vec![
                ("the client", error(of(X), [of(X), of(V)]), true),
                ("the server, through a Service", error(of(X), [of(V), of(X)]), true),
                ("a neighbour", error(of(X), [of(V), router]), false),
                ("a routed pod", error(of(Y), [router, of(V)]), false),
                ("a router", error(router, [of(V), of(X)]), true),
                ("itself", error(of(V), [of(V), router]), true),
            ],
        );
        let foreign = error(of(X), [of(V), router]);
        check(&files, Hook::Forward, vec![("who is bound to nothing", foreign, true)]);
    }
    let quoted = Packet::icmpv6(own(X)[2], own(V)[1], 1);
    let flow = [Some(own(V)[1]), Some(own(Y)[1])];
    let quoted = Packet { ct: CtState::Related, flow, ..quoted };
    check(&bound, Hook::Forward, vec![("under a link-local address", quoted, false)]);
}

#[test]
fn a_new_sctp_flow_at_an_isolated_pod_begins_with_an_init() {
    let table = compiled(&NodeNetwork::default()).ruleset;
    let heartbeat = |from: u32, to: u32| {
        let packet = Packet::new(own(from)[0], own(to)[0], Transport::Sctp.number());
        Packet { sctp_chunk: Some(4), ..packet }
    };
    let init = |packet: Packet| Packet { sctp_chunk: Some(Match::SCTP_INIT), ..packet };
    let known = |packet: Packet| Packet { ct: CtState::Established, ..packet };
    check(
        &table,
        Hook::Forward,
        vec![
            ("a heartbeat from an isolated pod", heartbeat(V, X), false),
            ("to an isolated pod", heartbeat(X, V), false),
            ("of a known flow", known(heartbeat(V, X)), true),
            ("between others", heartbeat(X, Y), true),
            ("an init", init(heartbeat(V, X)), true),
        ],
    );
}

/// A frame from a port, with the MAC of a port.
fn frame(port: u32, of: u32, packet: Packet) -> Packet {
    let frame = Frame { in_interface: port, source_mac: mac(of), ..packet.frame };
    Packet { frame, ..packet }
}

fn tagged(tag_type: TagType, vlan: u16, packet: Packet) -> Packet {
    Packet { frame: Frame { tag: Some(Tag { tag_type, vlan }), ..packet.frame }, ..packet }
}

fn other(packet: Packet) -> Packet {
    Packet { frame: Frame { content: Content::Other, ..packet.frame }, ..packet }
}

fn arp(sender_mac: [u8; 6], sender: &str) -> Packet {
    let sender: Ipv4Addr = sender.parse().expect("an IPv4 address");
    let content = Content::Arp(Arp { sender_mac, sender });
    let packet = udp(ip("10.0.0.99"));
    Packet { frame: Frame { content, ..packet.frame }, ..packet }
}

/// A neighbour message about a target.
fn about(source: IpAddr, icmpv6_type: u8, target: IpAddr) -> Packet {
    let IpAddr::V6(target) = target else { panic!("an IPv6 target") };
    let packet = Packet::neighbour_discovery(source, ip("ff02::1"), icmpv6_type);
    Packet { target: Some(target), ..packet }
}

#[test]
fn from_a_pods_port_of_a_bridge_come_its_own_mac_and_addresses_alone() {
    let table = compiled(&network(&[V, X])).bridge.expect("a bridge table");
    let (nobody, group) = (ip("::"), ip("ff02::16"));
    for address in own(X) {
        check(
            &table,
            Hook::Prerouting,
            vec![
                ("its own", frame(X, X, udp(address)), true),
                ("under another MAC", frame(X, V, udp(address)), false),
                ("by another pod", frame(V, V, udp(address)), false),
                ("by another pod under the MAC", frame(V, X, udp(address)), false),
                ("by a port that is no pod's", frame(NO_POD, 99, udp(address)), false),
                (
                    "in a tag, by such a port",
                    frame(NO_POD, 99, tagged(TagType::Dot1q, 7, udp(address))),
                    false,
                ),
            ],
        );
    }
    check(
        &table,
        Hook::Prerouting,
        vec![
            ("nobody's", frame(X, X, udp(ip("10.9.9.9"))), false),
            ("the gateway's", frame(X, X, udp(ip("10.0.0.1"))), false),
            ("the gateway's, by no pod", frame(NO_POD, 99, udp(ip("10.0.0.1"))), false),
            ("others', by no pod", frame(NO_POD, 99, udp(ip("10.9.9.9"))), true),
            ("others', under a pod's MAC", frame(NO_POD, X, udp(ip("10.9.9.9"))), false),
            ("a router", frame(X, X, about(own(X)[2], 134, own(X)[2])), false),
            ("a redirect", frame(X, X, about(own(X)[2], 137, own(X)[2])), false),
            ("data like a router's", frame(X, X, Packet::icmpv6(own(X)[1], group, 134)), true),
            ("data like another's", frame(X, X, Packet::icmpv6(own(X)[1], group, 136)), true),
            (
                "a router that is no pod",
                frame(NO_POD, 99, about(ip("fe80::99"), 134, nobody)),
                true,
            ),
            ("advertises its own", frame(X, X, about(own(X)[1], 136, own(X)[2])), true),
            ("advertises another's", frame(X, X, about(own(X)[1], 136, own(V)[1])), false),
            ("advertises the gateway", frame(X, X, about(own(X)[1], 136, ip("fe80::1"))), false),
            (
                "advertises a pod's, by no pod",
                frame(NO_POD, 99, about(ip("fe80::99"), 136, own(V)[1])),
                false,
            ),
            ("asks for another", frame(X, X, about(own(X)[1], 135, own(V)[1])), true),
            ("is its own free", frame(X, X, about(nobody, 135, own(X)[1])), true),
            ("denies another its own", frame(X, X, about(nobody, 135, own(V)[1])), false),
            ("groups without address", frame(X, X, Packet::icmpv6(nobody, group, 143)), true),
            ("the same, another MAC", frame(X, V, Packet::icmpv6(nobody, group, 143)), false),
            ("ARP", frame(X, X, arp(mac(X), "10.0.0.8")), true),
            ("ARP for another", frame(X, X, arp(mac(X), "10.0.0.9")), false),
            ("ARP with another MAC", frame(X, X, arp(mac(V), "10.0.0.8")), false),
            ("ARP in another MAC", frame(X, V, arp(mac(X), "10.0.0.8")), false),
            ("ARP for the gateway", frame(X, X, arp(mac(X), "10.0.0.1")), false),
            ("ARP for a pod, by no pod", frame(NO_POD, 99, arp(mac(99), "10.0.0.9")), false),
            ("ARP of others", frame(NO_POD, 99, arp(mac(99), "10.0.0.99")), true),
        ],
    );
}

#[test]
fn frames_of_an_isolated_pod_are_untagged_ip_and_arp() {
    let table = compiled(&network(&[V, X])).bridge.expect("a bridge table");
    let tag = |port, vlan| frame(port, port, tagged(TagType::Dot1q, vlan, udp(own(port)[0])));
    let by_no_pod = |tag_type, vlan, packet| frame(NO_POD, 99, tagged(tag_type, vlan, packet));
    let double = |port| frame(port, port, tagged(TagType::Dot1ad, 0, udp(own(port)[0])));
    check(
        &table,
        Hook::Prerouting,
        vec![
            ("a VLAN", tag(X, 7), true),
            ("a tag that receivers ignore", tag(X, 0), false),
            ("the same, 802.1ad", double(X), false),
            ("LLDP, PPPoE", frame(X, X, other(udp(own(X)[0]))), true),
            ("under another MAC", frame(X, V, other(udp(own(X)[0]))), false),
            ("an isolated pod's VLAN", tag(V, 7), false),
            ("an isolated pod's LLDP", frame(V, V, other(udp(own(V)[0]))), false),
            ("of no pod", frame(NO_POD, 99, other(udp(own(X)[0]))), true),
            ("IP in a tag, of no pod", by_no_pod(TagType::Dot1q, 0, udp(ip("10.9.9.9"))), true),
            ("a pod's, the same", by_no_pod(TagType::Dot1q, 0, udp(own(X)[0])), false),
            (
                "a tag in a tag, the same",
                by_no_pod(TagType::Dot1q, 0, other(udp(own(X)[0]))),
                false,
            ),
            ("the same, 802.1ad", by_no_pod(TagType::Dot1ad, 0, other(udp(own(X)[0]))), false),
            (
                "a tag in a VLAN, the same",
                by_no_pod(TagType::Dot1ad, 5, other(udp(own(X)[0]))),
                true,
            ),
            ("ARP in a tag", by_no_pod(TagType::Dot1q, 0, arp(mac(99), "10.0.0.9")), false),
        ],
    );
}

#[test]
fn to_an_isolated_pods_port_go_its_own_mac_and_addresses_alone() {
    let table = compiled(&network(&[V, X])).bridge.expect("a bridge table");
    let sent = |port: u32, to_mac: u32, destination: IpAddr| {
        let source = ip(if destination.is_ipv4() { "10.0.0.99" } else { "fd00::99" });
        let packet = Packet::to_port(source, destination, Transport::Udp, 53);
        let frame = Frame { out_interface: port, destination_mac: mac(to_mac), ..packet.frame };
        Packet { frame, ..packet }
    };
    for address in own(V) {
        check(
            &table,
            Hook::Postrouting,
            vec![
                ("its own", sent(V, V, address), true),
                ("another MAC", sent(V, X, address), false),
                ("tagged", tagged(TagType::Dot1q, 0, sent(V, V, address)), false),
            ],
        );
    }
    let local = |icmpv6_type| to(V, Packet::neighbour_discovery(own(X)[1], own(V)[1], icmpv6_type));
    check(
        &table,
        Hook::Postrouting,
        vec![
            ("a second address", sent(V, V, ip("10.0.0.77")), false),
            ("of a pod that is not isolated", sent(X, X, ip("10.0.0.77")), true),
            ("a group", sent(V, V, ip("ff02::1")), false),
            ("ARP", to(V, arp(mac(X), "10.0.0.8")), true),
            ("a solicitation", local(135), true),
            ("an advertisement", local(136), true),
            ("the gateway's advertisement", local(134), true),
            ("a query for groups", local(130), true),
            ("a report of groups", local(143), true),
            ("an older report", local(131), true),
            ("done with a group", local(132), true),
            ("a redirect", local(137), false),
            ("LLDP", other(sent(V, V, own(V)[0])), false),
        ],
    );
}

#[test]
fn frames_to_a_pods_mac_go_to_its_own_port_alone() {
    let table = compiled(&network(&[V, X])).bridge.expect("a bridge table");
    let sent = |port: u32, to_mac: [u8; 6], packet: Packet| {
        let frame = Frame { out_interface: port, destination_mac: to_mac, ..packet.frame };
        Packet { frame, ..packet }
    };
    let solicitation = || about(own(X)[1], 135, own(V)[1]);
    let (data, group) = (|| udp(own(X)[0]), [0xff; 6]);
    check(
        &table,
        Hook::Postrouting,
        vec![
            ("its own", sent(X, mac(X), data()), true),
            ("a neighbour's", sent(X, mac(V), data()), false),
            ("a neighbour's, in a tag", sent(X, mac(V), tagged(TagType::Dot1q, 7, data())), false),
            ("a neighbour's LLDP", sent(X, mac(V), other(data())), false),
            ("by a port that is no pod's", sent(NO_POD, mac(V), data()), false),
            ("a group", sent(X, group, data()), true),
            ("nobody's", sent(X, mac(99), data()), true),
            ("ARP", sent(V, mac(V), arp(mac(X), "10.0.0.8")), true),
            ("ARP to all", sent(V, group, arp(mac(X), "10.0.0.8")), true),
            ("a neighbour's ARP", sent(V, mac(X), arp(mac(99), "10.0.0.99")), false),
            ("a solicitation", sent(V, mac(V), solicitation()), true),
            ("a neighbour's solicitation", sent(V, mac(X), solicitation()), false),
        ],
    );
}

#[test]
fn a_port_without_a_mac_says_nothing_and_its_address_is_nobodys() {
    let mut network = network(&[V, X]);
    let port = network.ports.get_mut(&InterfaceIndex(X)).expect("the port");
    port.mac = Mac::NONE;
    let table = compiled(&network).bridge.expect("a bridge table");
    check(
        &table,
        Hook::Prerouting,
        vec![
            ("its own", frame(X, X, udp(own(X)[0])), false),
            ("under the victim's MAC", frame(X, V, udp(own(X)[0])), false),
            ("ARP", frame(X, X, arp(mac(X), "10.0.0.8")), false),
            ("by no pod", frame(NO_POD, 99, udp(own(X)[0])), false),
        ],
    );
}

#[test]
fn pods_do_not_send_into_the_nodes_tunnels() {
    let mut network = network(&[V, R]);
    let tunnels = [Tunnel::Udp(8472), Tunnel::Protocol(4)];
    network.tunnels = tunnels.map(|tunnel| (tunnel, TunnelSources::Nodes)).into_iter().collect();
    network.tunnel_peers = [ip("192.0.2.2")].into_iter().collect();
    let nodes = compiled(&network).ruleset;
    let mut alone = network.clone();
    let bridge = alone.bridges.get_mut(&InterfaceIndex(BRIDGE)).expect("the bridge");
    bridge.only_pods = true;
    let pods_alone = compiled(&alone).ruleset;
    network.tunnels = tunnels.map(|tunnel| (tunnel, TunnelSources::Any)).into_iter().collect();
    let bridge = network.bridges.get_mut(&InterfaceIndex(BRIDGE)).unwrap();
    bridge.only_pods = false;
    let any = compiled(&network).ruleset;
    let vxlan = |source: &str, destination: &str| {
        Packet::to_port(ip(source), ip(destination), Transport::Udp, 8472)
    };
    let ipip = |source: &str, destination: &str| Packet::new(ip(source), ip(destination), 4);
    let (own_node, other_node) = ("192.0.2.1", "192.0.2.2");
    for tunnel in [&vxlan as &dyn Fn(&str, &str) -> Packet, &ipip] {
        let arrives = |interface, source| from(interface, tunnel(source, own_node));
        check(
            &nodes,
            Hook::Input,
            vec![
                ("a pod", arrives(R, "10.0.0.7"), false),
                ("a pod as a node", arrives(R, other_node), false),
                ("a pod as a node, past the bridge", arrives(V, other_node), false),
                ("from others on the bridge", arrives(BRIDGE, other_node), true),
                ("a pod on the bridge", arrives(BRIDGE, "10.0.0.9"), false),
                ("a node", arrives(OTHERS, other_node), true),
                ("a host on the LAN", arrives(OTHERS, "192.0.2.66"), false),
            ],
        );
        check(
            &any,
            Hook::Input,
            vec![
                ("a pod, any source", arrives(R, "10.0.0.7"), false),
                ("a pod on a bridge with other ports", arrives(BRIDGE, "10.0.0.9"), false),
                ("a host on the LAN, any source", arrives(OTHERS, "192.0.2.66"), true),
            ],
        );
        check(
            &pods_alone,
            Hook::Input,
            vec![("as a node, from where only pods are", arrives(BRIDGE, other_node), false)],
        );
        check(
            &nodes,
            Hook::Forward,
            vec![
                ("a pod to another node", tunnel("10.0.0.8", other_node), false),
                ("a pod to its own tunnel", tunnel("10.0.0.8", "10.9.9.9"), true),
                ("a node to a node", tunnel(own_node, other_node), true),
            ],
        );
    }
    let dns = Packet::to_port(ip("10.0.0.8"), ip(other_node), Transport::Udp, 53);
    check(&nodes, Hook::Forward, vec![("a pod to a node, no tunnel", dns, true)]);
    let shadow = Packet { source_port: Some(8472), ..dns };
    let to_pod = Packet { destination: ip("10.9.9.9"), ..shadow };
    let of_node = Packet { source: ip(own_node), ..shadow };
    check(
        &nodes,
        Hook::Forward,
        vec![
            ("a pod in the place of the tunnel", shadow, false),
            ("a pod's own tunnel", to_pod, true),
            ("a node", of_node, true),
        ],
    );
    let dns = from(R, Packet::to_port(ip("10.0.0.7"), ip(own_node), Transport::Udp, 53));
    check(&nodes, Hook::Input, vec![("a pod to its node, no tunnel", dns, true)]);
}

#[test]
fn without_a_network_the_table_is_that_of_files() {
    let bare = compiled(&NodeNetwork::default());
    assert_eq!(bare.bridge, None);
    let bases = bare.ruleset.chains.iter().filter(|(_, chain)| chain.base.is_some());
    assert_eq!(bases.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["forward"]);
    // A node without bridges has no bridge table, one with ports and no tunnels no
    // input hook.
    let routed = compiled(&network(&[R]));
    assert_eq!(routed.bridge, None);
    assert!(!routed.ruleset.chains.contains_key(&tunnels::base_chain()));
    assert!(routed.ruleset.chains.contains_key(&binding::base_chain()));
    // One with tunnels and no ports has no postrouting hook.
    let mut tunnelled = NodeNetwork::default();
    tunnelled.tunnels.insert(Tunnel::Udp(8472), TunnelSources::Nodes);
    let tunnelled = compiled(&tunnelled);
    assert!(tunnelled.ruleset.chains.contains_key(&tunnels::base_chain()));
    assert!(!tunnelled.ruleset.chains.contains_key(&tunnels::masqueraded_chain()));
}
