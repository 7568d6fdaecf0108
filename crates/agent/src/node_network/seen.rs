//! From what the kernel lists to what the model sees.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use nft::links::{self, NodeLinks};
use policy::{
    InterfaceIndex, Mac, NetworkNamespace, Seen, SeenAddress, SeenBridge, SeenPort, Tunnel,
    TunnelSources,
};

/// What one look at the node's links showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// For [`policy::resolve`].
    pub seen: Seen,
    /// Ports whose other end cannot be read, by name: what is behind them stays
    /// unbound.
    pub unreadable: Vec<String>,
    /// Ports into namespaces with very many addresses, by name, and how many
    /// addresses were left out. Addresses that pods report never are.
    pub crowded: Vec<(String, usize)>,
}

/// What the operator says of the node's tunnels, beside what is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// More tunnels between nodes.
    pub tunnels: BTreeSet<Tunnel>,
    /// More other ends.
    pub tunnel_peers: BTreeSet<IpAddr>,
    /// Whether all tunnels take packets from anywhere but the node's own pods.
    pub any_source: bool,
    /// Where pods have their addresses, beside the subnets of the bridges that they are on.
    pub pod_cidrs: BTreeSet<IpNet>,
}

impl Look {
    /// What is listed. `ipvs`: whether the kernel has it.
    ///
    /// The node's own addresses are left out: they say nothing of where other
    /// nodes' tunnels come from, and a list of peers that lacks the others would
    /// cut them off.
    pub(super) fn of(links: NodeLinks, ipvs: bool) -> Self {
        let NodeLinks { ports, bridges, tunnels, tunnel_peers, own_addresses: _ } = links;
        let unreadable = ports.iter().filter(|port| !port.is_readable);
        let crowded = ports.iter().filter(|port| port.left_out > 0);
        Self {
            unreadable: unreadable.map(|port| port.name.clone()).collect(),
            crowded: crowded.map(|port| (port.name.clone(), port.left_out)).collect(),
            seen: Seen {
                ports: ports.into_iter().map(port).collect(),
                bridges: bridges.into_iter().map(bridge).collect(),
                tunnels: tunnels.into_iter().map(tunnel).collect(),
                tunnel_peers,
                ipvs,
            },
        }
    }
}

fn port(port: links::Port) -> SeenPort {
    let address = |one: links::Address| {
        let links::Address { address, created } = one;
        SeenAddress { address, created }
    };
    SeenPort {
        index: InterfaceIndex(port.index),
        name: port.name,
        namespace: NetworkNamespace(port.namespace),
        bridge: port.bridge.map(InterfaceIndex),
        is_uplink: port.has_own_address,
        mac: Mac(port.mac),
        addresses: port.addresses.into_iter().map(address).collect(),
        elsewhere: port.elsewhere,
    }
}

fn bridge(bridge: links::Bridge) -> SeenBridge {
    SeenBridge {
        index: InterfaceIndex(bridge.index),
        name: bridge.name,
        mac: Mac(bridge.mac),
        addresses: bridge.addresses,
        subnets: bridge.subnets.into_iter().filter_map(subnet).collect(),
        vlan_filtering: bridge.vlan_filtering,
        has_other_ports: bridge.has_other_ports,
    }
}

/// `None` for a length that no prefix has.
fn subnet((address, length): (IpAddr, u8)) -> Option<IpNet> {
    IpNet::new(address, length).ok().map(|net| net.trunc())
}

/// The other ends that a tunnel names are nodes. A tunnel that names none can be for
/// anything.
const fn tunnel((tunnel, ends): (links::Tunnel, links::Ends)) -> (Tunnel, TunnelSources) {
    let tunnel = match tunnel {
        links::Tunnel::Udp(port) => Tunnel::Udp(port),
        links::Tunnel::Protocol(number) => Tunnel::Protocol(number),
    };
    let sources = match ends {
        links::Ends::Named => TunnelSources::Nodes,
        links::Ends::Unknown => TunnelSources::Any,
    };
    (tunnel, sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_listed_is_seen() {
        let listed = |index, name: &str, is_readable, left_out| links::Port {
            index,
            name: name.to_owned(),
            namespace: 4,
            bridge: Some(3),
            has_own_address: true,
            mac: [2, 0, 0, 0, 0, 9],
            addresses: vec![links::Address { address: ip("10.0.0.2"), created: 7 }],
            elsewhere: vec![ip("10.1.0.2")],
            left_out,
            is_readable,
        };
        let links = NodeLinks {
            ports: vec![
                listed(5, "five", true, 0),
                listed(6, "six", true, 9),
                listed(7, "seven", false, 0),
            ],
            bridges: vec![links::Bridge {
                index: 3,
                name: "cni0".to_owned(),
                mac: [2, 0, 0, 0, 0, 1],
                addresses: vec![ip("10.0.0.1")],
                subnets: vec![(ip("10.0.0.1"), 24), (ip("10.0.0.1"), 33)],
                vlan_filtering: true,
                has_other_ports: true,
            }],
            tunnels: [
                (links::Tunnel::Udp(8472), links::Ends::Named),
                (links::Tunnel::Protocol(4), links::Ends::Unknown),
            ]
            .into(),
            tunnel_peers: [ip("192.0.2.2")].into(),
            own_addresses: [ip("192.0.2.1")].into(),
        };
        let look = Look::of(links, true);
        let seen = |index, name: &str| SeenPort {
            index: InterfaceIndex(index),
            name: name.to_owned(),
            namespace: NetworkNamespace(4),
            bridge: Some(InterfaceIndex(3)),
            is_uplink: true,
            mac: Mac([2, 0, 0, 0, 0, 9]),
            addresses: vec![SeenAddress { address: ip("10.0.0.2"), created: 7 }],
            elsewhere: vec![ip("10.1.0.2")],
        };
        let expected = Look {
            seen: Seen {
                ports: vec![seen(5, "five"), seen(6, "six"), seen(7, "seven")],
                bridges: vec![SeenBridge {
                    index: InterfaceIndex(3),
                    name: "cni0".to_owned(),
                    mac: Mac([2, 0, 0, 0, 0, 1]),
                    addresses: vec![ip("10.0.0.1")],
                    subnets: vec!["10.0.0.0/24".parse().unwrap()],
                    vlan_filtering: true,
                    has_other_ports: true,
                }],
                tunnels: [
                    (Tunnel::Udp(8472), TunnelSources::Nodes),
                    (Tunnel::Protocol(4), TunnelSources::Any),
                ]
                .into(),
                tunnel_peers: [ip("192.0.2.2")].into(),
                ipvs: true,
            },
            unreadable: vec!["seven".to_owned()],
            crowded: vec![("six".to_owned(), 9)],
        };
        assert_eq!(look, expected);
    }
}
