//! Random nodes, changes and packets.

use std::net::{IpAddr, Ipv6Addr};

use proptest::collection::{btree_set, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};
use ruleset::Transport;
use ruleset::simulator::{Arp, Content, Frame, Packet};

use crate::tables::{Node, Port, ip};
use crate::way::{End, Sent};

const ADDRESSES: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "fd00::3"];
const PORTS: [(u32, bool); 4] = [(11, true), (12, true), (21, false), (22, false)];
pub const NODES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const STRANGERS: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const TUNNELS: [u16; 2] = [4789, 8472];
/// Those that each port can have.
const MACS: [[[u8; 6]; 2]; 4] = [
    [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 0xa1]],
    [[2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 1, 0xa2]],
    [[2, 0, 0, 0, 1, 3], [2, 0, 0, 0, 1, 0xa3]],
    [[2, 0, 0, 0, 1, 4], [2, 0, 0, 0, 1, 0xa4]],
];

/// Ports with addresses that no two of them share.
pub fn any_node() -> impl Strategy<Value = Node> {
    let places = vec(select(vec![None, Some(0), Some(1), Some(2), Some(3)]), ADDRESSES.len());
    let isolated = vec(any::<bool>(), PORTS.len());
    let macs = vec(any::<bool>(), PORTS.len());
    let tunnels = btree_set(select(&TUNNELS[..]), 0..=2);
    let nodes = subsequence(NODES.to_vec(), 0..=2);
    let friends = subsequence(ADDRESSES.to_vec(), 0..=3);
    (places, isolated, macs, tunnels, nodes, friends).prop_map(
        |(places, isolated, macs, tunnels, nodes, friends)| {
            let port = |at: usize, (index, is_bridged): (u32, bool)| Port {
                index,
                is_bridged,
                mac: MACS[at][usize::from(macs[at])],
                addresses: ADDRESSES
                    .iter()
                    .zip(&places)
                    .filter(|(_, place)| **place == Some(at))
                    .map(|(address, _)| ip(address))
                    .collect(),
                is_isolated: isolated[at],
            };
            let ports = PORTS.into_iter().enumerate().map(|(at, of)| port(at, of));
            Node {
                ports: ports.filter(|port| !port.addresses.is_empty()).collect(),
                tunnels,
                nodes: nodes.into_iter().map(ip).collect(),
                friends: friends.into_iter().map(ip).collect(),
            }
        },
    )
}

/// What differs between two nodes.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// A port is there or not.
    Port(usize),
    /// It gets an address, which another may have had, or loses it. It keeps one.
    Address(usize, &'static str),
    Mac(usize),
    Isolation(usize),
    Tunnels,
    Nodes,
    Friends,
}

/// `one` with this of `other`.
pub fn changed(one: &Node, other: &Node, change: Change) -> Node {
    let of = |node: &Node, at: usize| -> Option<Port> {
        node.ports.iter().find(|port| port.index == PORTS[at].0).cloned()
    };
    let with = |at, change: fn(&mut Port, &Port)| {
        let (mut port, other) = (of(one, at)?, of(other, at)?);
        change(&mut port, &other);
        Some(port)
    };
    match change {
        Change::Tunnels => Node { tunnels: other.tunnels.clone(), ..one.clone() },
        Change::Nodes => Node { nodes: other.nodes.clone(), ..one.clone() },
        Change::Friends => Node { friends: other.friends.clone(), ..one.clone() },
        Change::Port(at) => match of(one, at) {
            Some(_) => replaced(one, at, None),
            None => replaced(one, at, of(other, at)),
        },
        Change::Address(at, address) => {
            let mut port = of(one, at);
            if let Some(port) = &mut port
                && (!port.addresses.remove(&ip(address)) || port.addresses.is_empty())
            {
                port.addresses.insert(ip(address));
            }
            replaced(one, at, port)
        }
        Change::Mac(at) => replaced(one, at, with(at, |port, other| port.mac = other.mac)),
        Change::Isolation(at) => {
            replaced(one, at, with(at, |port, other| port.is_isolated = other.is_isolated))
        }
    }
}

/// The node with this port. Others lose its addresses, but for their last one. None
/// moves between the bridge and the rest: for that, both tables would have to take
/// before either gives.
fn replaced(node: &Node, at: usize, mut port: Option<Port>) -> Node {
    let mut after = node.clone();
    after.ports.retain(|port| port.index != PORTS[at].0);
    for other in &mut after.ports {
        if let Some(port) = &mut port {
            if other.is_bridged != port.is_bridged || other.addresses.is_subset(&port.addresses) {
                port.addresses.retain(|address| !other.addresses.contains(address));
            }
            other.addresses.retain(|address| !port.addresses.contains(address));
        }
    }
    after.ports.extend(port.filter(|port| !port.addresses.is_empty()));
    after
}

pub fn any_change() -> impl Strategy<Value = Change> {
    let port = || 0..PORTS.len();
    prop_oneof![
        3 => port().prop_map(Change::Port),
        3 => (port(), select(&ADDRESSES[..])).prop_map(|(at, address)| Change::Address(at, address)),
        1 => port().prop_map(Change::Mac),
        2 => port().prop_map(Change::Isolation),
        1 => Just(Change::Tunnels),
        1 => Just(Change::Nodes),
        1 => Just(Change::Friends),
    ]
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let of = |is_ipv4: bool| -> Vec<IpAddr> {
        let all = [&ADDRESSES[..], &NODES, &STRANGERS].concat();
        all.into_iter().map(ip).filter(|address| address.is_ipv4() == is_ipv4).collect()
    };
    let pair = |is_ipv4| (select(of(is_ipv4)), select(of(is_ipv4)));
    let alike = prop_oneof![pair(true), pair(false)];
    let ports = select(vec![81, 4789, 8472]);
    let packet = (alike, ports, 0..12_u8, select(&ADDRESSES[..])).prop_map(
        |((source, destination), port, kind, other)| match (kind, source, ip(other)) {
            (0, IpAddr::V4(_), _) => {
                Packet { icmp_type: Some(5), ..Packet::new(source, destination, 1) }
            }
            (0, IpAddr::V6(_), IpAddr::V6(target)) => advert(source, destination, 136, target),
            (1, IpAddr::V6(_), IpAddr::V6(target)) => {
                advert(Ipv6Addr::UNSPECIFIED.into(), destination, 135, target)
            }
            (1, _, _) => Packet { icmp_type: Some(8), ..Packet::new(source, destination, 1) },
            (2, IpAddr::V4(sender), _) => {
                let packet = Packet::new(source, destination, 1);
                let content = Content::Arp(Arp { sender_mac: MACS[0][0], sender });
                Packet { frame: Frame { content, ..packet.frame }, ..packet }
            }
            (3, _, _) => {
                let packet = Packet::new(source, destination, 1);
                Packet { frame: Frame { content: Content::Other, ..packet.frame }, ..packet }
            }
            _ => Packet::to_port(source, destination, Transport::Udp, port),
        },
    );
    let mac = || select(MACS.concat());
    (packet, mac(), mac()).prop_map(|(packet, source_mac, destination_mac)| {
        let content = match packet.frame.content {
            Content::Arp(arp) => Content::Arp(Arp { sender_mac: source_mac, ..arp }),
            other @ (Content::Ip | Content::Other) => other,
        };
        Packet { frame: Frame { source_mac, destination_mac, content, ..packet.frame }, ..packet }
    })
}

fn advert(source: IpAddr, destination: IpAddr, icmpv6_type: u8, target: Ipv6Addr) -> Packet {
    Packet { target: Some(target), ..Packet::neighbour_discovery(source, destination, icmpv6_type) }
}

pub fn any_sent() -> impl Strategy<Value = Sent> {
    let ends = vec![
        End::Bridged(11),
        End::Bridged(12),
        End::Bridged(13),
        End::Routed(21),
        End::Routed(22),
        End::Routed(1),
    ];
    let to = [ends.clone(), vec![End::Node]].concat();
    (any_packet(), select(ends), select(to)).prop_map(|(packet, from, to)| Sent {
        from,
        to,
        packet,
    })
}
