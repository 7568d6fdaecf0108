//! Networks of nodes, and frames between all that they hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::{
    BoundBridge, BoundPort, InterfaceIndex, Mac, NodeNetwork, ObjectKey, Tunnel, TunnelSources,
};
use proptest::prelude::*;
use proptest::sample::select;
use ruleset::simulator::{Arp, Content, CtState, Frame, Packet, Tag};
use ruleset::{Hook, Match, TableFamily, TagType};

use super::Node;

const BRIDGES: [u32; 2] = [2, 3];
const PORTS: [u32; 5] = [11, 12, 13, 14, 15];

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, last).into()
}

fn v6(last: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into()
}

fn link_local(last: u8) -> IpAddr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()).into()
}

fn node_address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 168, 0, last).into()
}

fn port(name: u8, bridge: Option<u32>) -> BoundPort {
    BoundPort {
        pod: pod(name),
        bridge: bridge.map(InterfaceIndex),
        mac: mac(name),
        addresses: [v4(name), v6(name), link_local(name)].into(),
    }
}

fn pod(name: u8) -> ObjectKey {
    ObjectKey::new("dev", format!("pod-{name}"))
}

fn bridge(last: u8, only_pods: bool) -> BoundBridge {
    let addresses = [v4(last), v6(last), link_local(last)].into();
    BoundBridge { mac: mac(last), addresses, only_pods }
}

/// Two bridged pods on one bridge, one on another, two routed ones; one of each
/// isolated; two kinds of tunnels.
pub fn full() -> Node {
    let ports = [
        (11, port(11, Some(2))),
        (12, port(12, Some(2))),
        (13, port(13, Some(3))),
        (14, port(14, None)),
        (15, port(15, None)),
    ];
    let network = NodeNetwork {
        ports: ports.into_iter().map(|(index, port)| (InterfaceIndex(index), port)).collect(),
        bridges: [(InterfaceIndex(2), bridge(102, true)), (InterfaceIndex(3), bridge(103, false))]
            .into_iter()
            .collect(),
        tunnels: with_sources(TunnelSources::Nodes),
        ..NodeNetwork::default()
    };
    Node {
        network,
        isolated: [pod(11), pod(13), pod(15)].into(),
        nodes: [node_address(1), node_address(2), v6(201)].into(),
    }
}

/// The tunnels of `full`, all with the same sources.
pub fn with_sources<T: FromIterator<(Tunnel, TunnelSources)>>(sources: TunnelSources) -> T {
    [Tunnel::Udp(8472), Tunnel::Protocol(4)].map(|tunnel| (tunnel, sources)).into_iter().collect()
}

/// `full`, but its second tunnel is for others than nodes.
pub fn with_both_tunnels() -> Node {
    let mut node = full();
    node.network.tunnels.insert(Tunnel::Protocol(4), TunnelSources::Any);
    node
}

/// `full`, and what it has less of.
pub fn some() -> Vec<Node> {
    let full = full();
    let mut without_nodes = full.clone();
    without_nodes.nodes.clear();
    let mut with_nodes_of_v4 = full.clone();
    with_nodes_of_v4.nodes.retain(IpAddr::is_ipv4);
    let mut any = full.clone();
    any.network.tunnels = with_sources(TunnelSources::Any);
    let mut without_tunnels = full.clone();
    without_tunnels.network.tunnels.clear();
    let mut without_isolation = full.clone();
    without_isolation.isolated.clear();
    let nothing = Node {
        network: NodeNetwork::default(),
        isolated: [pod(11)].into(),
        nodes: Default::default(),
    };
    vec![
        full,
        without_nodes,
        with_nodes_of_v4,
        any,
        with_both_tunnels(),
        without_tunnels,
        without_isolation,
        nothing,
    ]
}

/// Any node.
pub fn random() -> impl Strategy<Value = Node> {
    let place = select(vec![None, Some(None), Some(Some(2)), Some(Some(3))]);
    let flag = any::<bool>();
    let ports = prop::collection::vec((place, flag), PORTS.len());
    let rest = (flag, flag, flag, flag, flag);
    let family = select(vec![None, Some(true), Some(false)]);
    (ports, rest, family).prop_map(|(places, (one, other, tunnels, nodes, sources), v4)| {
        let full = full();
        let mut network = NodeNetwork::default();
        let mut isolated = std::collections::BTreeSet::new();
        for (index, (place, is_isolated)) in PORTS.into_iter().zip(places) {
            let name = u8::try_from(index).expect("a small number");
            let Some(on) = place else { continue };
            network.ports.insert(InterfaceIndex(index), port(name, on));
            isolated.extend(is_isolated.then(|| pod(name)));
            for (of, only_pods) in BRIDGES.into_iter().zip([one, other]) {
                if on == Some(of) {
                    let last = 100 + u8::try_from(of).expect("a small number");
                    network.bridges.insert(InterfaceIndex(of), bridge(last, only_pods));
                }
            }
        }
        if tunnels {
            network.tunnels = full.network.tunnels;
        }
        if sources && tunnels {
            network.tunnels.insert(Tunnel::Protocol(4), TunnelSources::Any);
        }
        let mut nodes = if nodes && tunnels { full.nodes } else { Default::default() };
        nodes.retain(|node| v4.is_none_or(|v4| node.is_ipv4() == v4));
        Node { network, isolated, nodes }
    })
}

fn some_mac() -> impl Strategy<Value = [u8; 6]> {
    select(vec![11, 12, 13, 14, 15, 102, 103, 99]).prop_map(|last| mac(last).0)
}

fn last() -> impl Strategy<Value = u8> {
    select(vec![11, 12, 13, 14, 15, 102, 103, 99])
}

fn some_v6() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        last().prop_map(v6),
        last().prop_map(link_local),
        Just(v6(201)),
        Just(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ]
}

fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let some_v4 = || prop_oneof![4 => last().prop_map(v4), 1 => (1u8..4).prop_map(node_address)];
    prop_oneof![(some_v4(), some_v4()), (some_v6(), some_v6())]
}

/// Any frame, at any interface.
pub fn packet() -> impl Strategy<Value = Packet> {
    let body = (
        select(vec![1, 4, 6, 17, 58, 58, 58, 132, 200]),
        select(vec![0, 5, 8, 128, 130, 131, 132, 133, 134, 135, 136, 137, 143]),
        select(vec![53, 8471, 8472, 8473]),
    );
    let interface = || select([&BRIDGES[..], &PORTS[..], &[99]].concat());
    let tag = prop_oneof![
        3 => Just(None),
        1 => (select(vec![TagType::Dot1q, TagType::Dot1ad]), select(vec![0, 5]))
            .prop_map(|(tag_type, vlan)| Some(Tag { tag_type, vlan })),
    ];
    let arp = (some_mac(), last()).prop_map(|(sender_mac, last)| {
        Content::Arp(Arp { sender_mac, sender: Ipv4Addr::new(10, 0, 0, last) })
    });
    let content = prop_oneof![6 => Just(Content::Ip), 2 => arp, 1 => Just(Content::Other)];
    let target = prop::option::weighted(0.9, some_v6());
    let frame = ((interface(), interface()), some_mac(), some_mac(), tag, content);
    let flow = (any::<bool>(), select(vec![None, Some(53), Some(8472)]), ends());
    (ends(), body, target, frame, flow).prop_map(
        |((source, destination), (protocol, kind, port), target, frame, flow)| {
            let ((input, output), source_mac, destination_mac, tag, content) = frame;
            let (translated, source_port, (opener, _)) = flow;
            let is = |number, v4| protocol == number && source.is_ipv4() == v4;
            Packet {
                destination_port: [6, 17, 132].contains(&protocol).then_some(port),
                icmp_type: is(Match::ICMP, true).then_some(kind),
                icmpv6_type: is(Match::ICMPV6, false).then_some(kind),
                target: target.and_then(|target| match target {
                    IpAddr::V4(_) => None,
                    IpAddr::V6(target) => Some(target),
                }),
                ct: CtState::New,
                translated,
                source_port: source_port.filter(|_| [6, 17, 132].contains(&protocol)),
                flow: [Some(opener).filter(|one| one.is_ipv4() == source.is_ipv4()), None],
                frame: Frame {
                    in_interface: input,
                    out_interface: output,
                    source_mac,
                    destination_mac,
                    tag,
                    content,
                },
                ..Packet::new(source, destination, protocol)
            }
        },
    )
}

/// The frame at a hook: only a bridge sees tags.
pub fn at(family: TableFamily, hook: Hook, packet: Packet) -> Packet {
    let mut frame = packet.frame;
    if family == TableFamily::Inet {
        frame = Frame { tag: None, ..frame };
    }
    match hook {
        Hook::Prerouting | Hook::Input => frame.out_interface = 0,
        Hook::Forward => {}
        Hook::Output | Hook::Postrouting => frame.in_interface = 0,
    }
    Packet { frame, ..packet }
}

pub fn is_ip(packet: &Packet) -> bool {
    packet.frame.content == Content::Ip
}
