//! What a pod with CAP_NET_ADMIN may do on its own end, and what becomes of it.

mod announced;
mod attacks;
mod histories;

use super::*;
use crate::{Labels, Mac, NetworkNamespace, Phase, SeenAddress, Tunnel, TunnelSources};

/// A bridge, number 1.
pub(super) const BRIDGE: InterfaceIndex = InterfaceIndex(1);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(super) fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// A port of the bridge with these addresses, each with its time.
pub(super) fn port(index: u32, addresses: &[(&str, u32)]) -> SeenPort {
    SeenPort {
        index: InterfaceIndex(index),
        name: format!("veth{index}"),
        namespace: NetworkNamespace(index.cast_signed()),
        bridge: Some(BRIDGE),
        is_uplink: false,
        mac: mac(index as u8),
        addresses: addresses
            .iter()
            .map(|&(address, created)| SeenAddress {
                address: ip(address),
                created: created.into(),
            })
            .collect(),
        elsewhere: Vec::new(),
    }
}

pub(super) fn seen(ports: impl IntoIterator<Item = SeenPort>) -> Seen {
    let bridge = SeenBridge {
        index: BRIDGE,
        name: "cni0".to_owned(),
        mac: mac(1),
        addresses: vec![ip("10.0.0.1"), ip("fe80::1")],
        subnets: Vec::new(),
        vlan_filtering: false,
        has_other_ports: false,
    };
    Seen { ports: ports.into_iter().collect(), bridges: vec![bridge], ..Seen::default() }
}

pub(super) fn pod(name: &str, addresses: &[&str]) -> Pod {
    Pod {
        key: ObjectKey::new("dev", name),
        labels: Labels::new(),
        node: None,
        addresses: addresses.iter().copied().map(ip).collect(),
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 0,
        attachment: crate::Attachment::default(),
        ports: Vec::new(),
    }
}

/// `2: dev/a mac 02 10.0.0.2`, without the link-local address made from the MAC.
pub(super) fn bound(resolved: &Resolved) -> Vec<String> {
    let line = |(index, port): (&InterfaceIndex, &BoundPort)| {
        let own = link_layer::link_local_of(port.mac);
        let addresses = port.addresses.iter().filter(|address| **address != own);
        let addresses: Vec<String> = addresses.map(IpAddr::to_string).collect();
        format!("{}: {} mac {:02x} {}", index.0, port.pod, port.mac.0[5], addresses.join(" "))
    };
    resolved.network.ports.iter().map(line).collect()
}

pub(super) fn findings(resolved: &Resolved) -> Vec<String> {
    resolved.findings.iter().map(BindingFinding::to_string).collect()
}

#[test]
fn honest_pods_are_bound_to_their_interfaces() {
    let (a, b) = (pod("a", &["10.0.0.2", "fd00::2"]), pod("b", &["fd00::3"]));
    let routed = SeenPort { bridge: None, ..port(3, &[("fd00::3", 9), ("fe80::99", 9)]) };
    let mut seen = seen([port(2, &[("10.0.0.2", 5), ("fd00::2", 6)]), routed, port(4, &[])]);
    seen.tunnels.insert(Tunnel::Udp(8472), TunnelSources::Nodes);
    seen.tunnel_peers.insert(ip("192.0.2.7"));
    let resolved = resolve(&seen, [&a, &b], &Claims::default());
    let expected = ["2: dev/a mac 02 10.0.0.2 fd00::2", "3: dev/b mac 03 fd00::3 fe80::99"];
    assert_eq!(bound(&resolved), expected);
    let unbound = "interface veth4 of bridge cni0 is bound to no pod: it can send under any \
                   address but pods' own";
    assert_eq!(findings(&resolved), [unbound], "perhaps a pod whose address is not reported yet");
    let network = &resolved.network;
    assert_eq!(network.bridges.keys().collect::<Vec<_>>(), [&BRIDGE]);
    assert!(network.bridges[&BRIDGE].only_pods);
    assert_eq!(
        network.tunnels.iter().collect::<Vec<_>>(),
        [(&Tunnel::Udp(8472), &TunnelSources::Nodes)]
    );
    assert_eq!(network.tunnel_peers.iter().collect::<Vec<_>>(), [&ip("192.0.2.7")]);
    // The claims keep everything as it is.
    for claims in [&resolved.claims, &network.claims()] {
        assert_eq!(resolve(&seen, [&a, &b], claims).network, *network);
    }
}

#[test]
fn the_link_local_address_of_the_mac_is_its_own_before_it_is_there() {
    let a = pod("a", &["10.0.0.2"]);
    let resolved = resolve(&seen([port(2, &[("10.0.0.2", 5)])]), [&a], &Claims::default());
    let own = ip("fe80::ff:fe00:2");
    assert!(resolved.network.ports[&InterfaceIndex(2)].addresses.contains(&own));
}

#[test]
fn pods_without_an_address_of_their_own_are_passed_over() {
    let host = Pod { host_network: true, ..pod("host", &["192.0.2.1"]) };
    let ended = Pod { phase: Phase::Succeeded, ..pod("ended", &["10.0.0.2"]) };
    let odd = pod("odd", &["127.0.0.1", "fe80::5", "224.0.0.1", "::"]);
    let new = pod("new", &["10.0.0.2"]);
    let seen = seen([port(2, &[("10.0.0.2", 5), ("fe80::5", 5)])]);
    let resolved = resolve(&seen, [&host, &ended, &odd, &new], &Claims::default());
    assert_eq!(bound(&resolved), ["2: dev/new mac 02 10.0.0.2 fe80::5"]);
}

#[test]
fn an_address_that_two_pods_report_is_the_newer_ones() {
    let old = pod("old", &["10.0.0.2"]);
    let new = Pod { created: 1, ..pod("new", &["10.0.0.2"]) };
    let seen = seen([port(3, &[("10.0.0.2", 9)])]);
    let resolved = resolve(&seen, [&new, &old], &Claims::default());
    assert_eq!(bound(&resolved), ["3: dev/new mac 03 10.0.0.2"]);
}

#[test]
fn a_pod_without_an_interface_is_named() {
    let a = pod("a", &["10.0.0.2", "fd00::2"]);
    let resolved = resolve(&seen([port(2, &[("fd00::2", 5)])]), [&a], &Claims::default());
    assert_eq!(bound(&resolved), ["2: dev/a mac 02 fd00::2"]);
    let expected = ["pod dev/a: no interface of this node is bound to its address 10.0.0.2"];
    assert_eq!(findings(&resolved), expected);
}

#[test]
fn further_addresses_of_a_pod_are_named_on_all_its_devices() {
    let (a, b) = (pod("a", &["10.0.0.2"]), pod("b", &["10.0.0.3"]));
    let mut first = port(2, &[("10.0.0.2", 5), ("fd99::2", 6), ("10.0.0.1", 6)]);
    first.elsewhere = vec![ip("172.17.0.1"), ip("127.0.0.1"), ip("fe80::7"), ip("10.0.0.3")];
    let seen = seen([first, port(3, &[("10.0.0.3", 5)])]);
    let resolved = resolve(&seen, [&a, &b], &Claims::default());
    let expected =
        ["pod dev/a, interface veth2: its Pod object does not report the address 10.0.0.1 \
         (and 3 more)"];
    assert_eq!(findings(&resolved), expected);
    assert_eq!(bound(&resolved), ["2: dev/a mac 02 10.0.0.2", "3: dev/b mac 03 10.0.0.3"]);
}

#[test]
fn the_pods_of_a_bridge_that_filters_vlans_are_not_bound() {
    let mut seen = seen([port(2, &[("10.0.0.2", 5)])]);
    seen.bridges[0].vlan_filtering = true;
    let other =
        SeenBridge { index: InterfaceIndex(9), name: "br9".to_owned(), ..seen.bridges[0].clone() };
    seen.bridges.push(other);
    let resolved = resolve(&seen, [&pod("a", &["10.0.0.2"])], &Claims::default());
    assert!(resolved.network.ports.is_empty() && resolved.network.bridges.is_empty());
    assert_eq!(
        findings(&resolved),
        ["bridge cni0 filters VLANs: its pods are not bound to their ports"]
    );
}

#[test]
fn a_port_of_a_bridge_that_is_not_listed_is_bound() {
    let mut seen = seen([port(2, &[("10.0.0.2", 5)])]);
    seen.bridges.clear();
    let resolved = resolve(&seen, [&pod("a", &["10.0.0.2"])], &Claims::default());
    assert_eq!(bound(&resolved), ["2: dev/a mac 02 10.0.0.2"]);
    assert!(resolved.network.bridges.is_empty());
}
