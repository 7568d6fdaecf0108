//! What leaves by another way than a policy allows it.

use super::*;

/// A frame from one port of the bridge to another and to a MAC.
fn sent((in_interface, out_interface): (u32, u32), to_mac: [u8; 6], packet: Packet) -> Packet {
    let frame = Frame { in_interface, out_interface, destination_mac: to_mac, ..packet.frame };
    Packet { frame, ..packet }
}

fn to_address(destination: IpAddr) -> Packet {
    let source = own(V)[usize::from(destination.is_ipv6())];
    Packet { destination, ..udp(source) }
}

#[test]
fn an_isolated_pod_sends_to_a_port_what_is_for_that_pod_alone() {
    let table = compiled(&network(&[V, X])).bridge.expect("a bridge table");
    let across = (V, X);
    let [v4, v6, link_local] = own(X);
    let friend = || to_address(ip("10.0.0.77"));
    let about_x = |icmpv6_type| sent(across, mac(X), about(own(V)[1], icmpv6_type, v6));
    check(
        &table,
        Hook::Forward,
        vec![
            ("to the pod", sent(across, mac(X), to_address(v4)), true),
            ("to the pod, IPv6", sent(across, mac(X), to_address(v6)), true),
            ("to the pod, link-local", sent(across, mac(X), to_address(link_local)), true),
            ("to itself", sent((V, V), mac(V), to_address(own(V)[0])), true),
            ("ARP", sent(across, mac(X), arp(mac(V), "10.0.0.9")), true),
            ("a solicitation", about_x(135), true),
            ("an advertisement", about_x(136), true),
            ("a report of groups", about_x(143), true),
            ("to a port that is no pod's", sent((V, NO_POD), mac(99), friend()), true),
            ("of a pod that is not isolated", sent((X, V), mac(V), friend()), true),
            ("of no pod", sent((NO_POD, X), mac(X), friend()), true),
            ("to an accomplice, as to a friend", sent(across, mac(X), friend()), false),
            (
                "to an accomplice, as to a friend, IPv6",
                sent(across, mac(X), to_address(ip("fd00::77"))),
                false,
            ),
            ("to its address, under another MAC", sent(across, mac(99), to_address(v4)), false),
            ("to all", sent(across, [0xff; 6], to_address(ip("224.0.0.9"))), false),
            ("echo", about_x(128), false),
            ("LLDP", sent(across, mac(X), other(friend())), false),
            ("a tag", sent(across, mac(X), tagged(TagType::Dot1q, 7, to_address(v4))), false),
        ],
    );
}

#[test]
fn a_node_masquerades_nothing_from_pods_into_tunnels() {
    let mut network = network(&[V, R]);
    let tunnels = [Tunnel::Udp(8472), Tunnel::Protocol(4)];
    network.tunnels = tunnels.map(|tunnel| (tunnel, TunnelSources::Nodes)).into_iter().collect();
    network.tunnel_peers = ["192.0.2.2", "fd01::1"].map(ip).into_iter().collect();
    let table = compiled(&network).ruleset;
    let vxlan = |source: IpAddr, destination: IpAddr| {
        Packet::to_port(source, destination, Transport::Udp, 8472)
    };
    let ipip = |source: IpAddr, destination: IpAddr| Packet::new(source, destination, 4);
    let opened = |opener: IpAddr, packet| Packet { flow: [Some(opener), None], ..packet };
    // The other node's address that nobody knows.
    let further = [ip("192.0.2.20"), ip("fd01::20")];
    for (at, node) in [ip("192.0.2.1"), ip("fd01::1")].into_iter().enumerate() {
        let address = |port| own(port)[at];
        for tunnel in [&vxlan as &dyn Fn(IpAddr, IpAddr) -> Packet, &ipip] {
            let out = to(OTHERS, tunnel(node, further[at]));
            let to_pod = |port, by| opened(address(port), to(by, tunnel(node, address(port))));
            check(
                &table,
                Hook::Postrouting,
                vec![
                    ("a routed pod", opened(address(R), out), false),
                    ("a bridged pod", opened(address(V), out), false),
                    ("the node", opened(node, out), true),
                    ("not tracked", out, true),
                    ("a pod that is not bound", opened(address(Y), out), true),
                    (
                        "not masqueraded",
                        opened(address(R), to(OTHERS, tunnel(address(R), further[at]))),
                        true,
                    ),
                    ("an answer to a routed pod", to_pod(R, R), true),
                    ("an answer to a bridged pod", to_pod(V, BRIDGE), true),
                    ("no answer: by another's interface", to_pod(V, R), false),
                ],
            );
        }
        let dns = to(OTHERS, Packet::to_port(node, further[at], Transport::Udp, 53));
        let from_tunnel = Packet { source_port: Some(8472), ..dns };
        let to_node = Packet { destination: node, ..from_tunnel };
        check(
            &table,
            Hook::Postrouting,
            vec![
                ("no tunnel", opened(address(R), dns), true),
                ("from a tunnel's port, to no node", opened(address(R), from_tunnel), true),
                ("from a tunnel's port, to a node", opened(address(R), to_node), false),
                ("the same, the node's own", opened(node, to_node), true),
            ],
        );
    }
}
