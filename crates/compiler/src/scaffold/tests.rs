//! What the table does before it looks at any policy.

use ruleset::TcpFlags;
use ruleset::simulator::{CtState, Outcome, Packet, simulate};

pub(crate) mod attacks;
mod unknown;

use std::net::{IpAddr, Ipv6Addr};

use ruleset::BaseChain;

use super::*;
use crate::scaffold::forward::NEIGHBOUR_DISCOVERY;

fn passes(isolated: bool, packet: &Packet) -> bool {
    let seen =
        simulate(&of(&Place::forward(), isolated, true), packet).expect("a table without mistakes");
    seen.outcome == Outcome::Accept
}

#[test]
fn beside_the_pods_addresses_only_discovery_passes_while_a_pod_is_isolated() {
    let ip = |text: &str| text.parse().expect("an address");
    let udp = |to: &str| {
        let from = if to.contains(':') { "fd00::1" } else { "10.0.0.1" };
        Packet::new(ip(from), ip(to), 17)
    };
    let neighbour =
        |to, icmpv6_type| Packet::neighbour_discovery(ip("fd00::1"), ip(to), icmpv6_type);
    let far = |to, icmpv6_type| Packet::icmpv6(ip("fd00::1"), ip(to), icmpv6_type);
    let cases = [
        ("to a stranger", udp("10.0.0.2"), true),
        ("below multicast", udp("223.255.255.255"), true),
        ("first group", udp("224.0.0.0"), false),
        ("last group", udp("239.255.255.255"), false),
        ("above multicast", udp("240.0.0.0"), true),
        ("broadcast", udp("255.255.255.255"), false),
        ("in a broadcast frame", Packet { to_host: false, ..udp("10.0.0.2") }, false),
        ("IPv6 group", udp("ff02::1"), false),
        ("last IPv6 group", udp("ffff::1"), false),
        ("link-local", udp("fe80::1"), false),
        ("a neighbour is looked for", neighbour("ff02::1:ff00:1", 135), true),
        ("a neighbour answers", neighbour("fe80::1", 136), true),
        ("no neighbour", far("fe80::1", 135), false),
        ("no neighbour, to a group", far("ff02::1", 135), false),
        ("a listener", far("ff02::16", 143), true),
        ("echo to a group", neighbour("ff02::1", 128), false),
    ];
    for (case, packet, expected) in cases {
        assert_eq!(passes(true, &packet), expected, "{case}");
        assert!(passes(false, &packet), "{case}, nobody isolated");
    }
}

/// The ports of isolated pods are guarded: one pod's is routed, the others' are a bridge's.
#[test]
fn groups_are_left_to_the_guards_of_isolated_pods_ports() {
    let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let mut table = of(&Place::forward(), true, true);
    let network = Network { edges: Edges::Guarded, is_bound: true, ..Network::default() };
    fit(&mut table, &Place::forward(), &network);
    let mut add = |set: Name, element| {
        table.sets.get_mut(&set).expect("the set").elements.insert(element);
    };
    add(isolated_set(Direction::Ingress, Family::V4), Element::Address(ip("10.0.0.4")));
    add(isolated_set(Direction::Egress, Family::V6), Element::Address(ip("fd00::4")));
    add(muted_set(), Element::Address(ip("fe80::4")));
    let key = ruleset::Key { interface: Some(7), mac: None, address: None };
    add(binding::guarded_set(), Element::Key(key));
    let udp = |from: &str, to: &str| Packet::new(ip(from), ip(to), 17);
    let out = |packet: Packet, out_interface| Packet {
        frame: ruleset::simulator::Frame { out_interface, ..packet.frame },
        ..packet
    };
    let frame = |packet: Packet| Packet { to_host: false, ..packet };
    let cases = [
        ("a group", udp("10.0.0.3", "239.1.2.3"), true),
        ("broadcast", frame(udp("10.0.0.3", "255.255.255.255")), true),
        ("the subnet's broadcast", frame(udp("10.0.0.3", "10.0.0.255")), true),
        ("an IPv6 group", frame(udp("fe80::3", "ff02::fb")), true),
        ("an IPv6 group of the site", frame(udp("fd00::3", "ff05::1")), true),
        ("a group, routed to an isolated pod", out(udp("10.0.0.3", "239.1.2.3"), 7), false),
        ("from an isolated pod", udp("10.0.0.4", "239.1.2.3"), false),
        ("from an isolated pod, IPv6", udp("fd00::4", "ff02::fb"), false),
        ("from an isolated pod, link-local", frame(udp("fe80::4", "ff02::fb")), false),
        ("from an isolated pod, in a broadcast frame", frame(udp("10.0.0.4", "10.0.0.3")), false),
        ("its listener discovery", Packet::icmpv6(ip("fe80::4"), ip("ff02::16"), 143), true),
        ("link-local", udp("fe80::3", "fe80::5"), false),
        ("to link-local", udp("fd00::3", "fe80::5"), false),
        ("from link-local", udp("fe80::3", "fd00::5"), false),
    ];
    for (case, packet, expected) in cases {
        let seen = simulate(&table, &packet).expect("a table without mistakes");
        assert_eq!(seen.outcome == Outcome::Accept, expected, "{case}");
    }
}

#[test]
fn an_isolated_pod_has_no_listener_discovery_and_none_of_distant_neighbours() {
    let mut table = of(&Place::forward(), true, true);
    let pod = IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1));
    for direction in Direction::BOTH {
        let set = table.sets.get_mut(&isolated_set(direction, Family::V6)).expect("the set");
        set.elements.insert(Element::Address(pod));
    }
    let other = IpAddr::from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));
    for (from, to) in [(pod, other), (other, pod)] {
        let passes =
            |packet| simulate(&table, &packet).expect("no mistakes").outcome == Outcome::Accept;
        for icmpv6_type in 0..=u8::MAX {
            let discovery = NEIGHBOUR_DISCOVERY.contains(&icmpv6_type);
            let neighbour = Packet::neighbour_discovery(from, to, icmpv6_type);
            assert_eq!(passes(neighbour), discovery, "type {icmpv6_type} on the link");
            let routed = Packet { hop_limit: 254, ..neighbour };
            assert!(!passes(routed), "type {icmpv6_type} routed");
        }
    }
}

/// Packets that open no flow.
fn midflow_packets(from: IpAddr, to: IpAddr) -> [Packet; 4] {
    [TcpFlags::ACK, TcpFlags::RST, TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0), TcpFlags(0)]
        .map(|flags| Packet { tcp_flags: Some(flags), ..Packet::new(from, to, 6) })
}

#[test]
fn tcp_at_a_pod_isolated_either_way_begins_with_a_syn() {
    let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
    for (pod, other) in [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")] {
        let (pod, other) = (ip(pod), ip(other));
        for direction in Direction::BOTH {
            let mut table = of(&Place::forward(), true, true);
            let set = isolated_set(direction, Family::of(pod));
            let set = table.sets.get_mut(&set).expect("the set");
            set.elements.insert(Element::Address(pod));
            let passes =
                |packet| simulate(&table, &packet).expect("no mistakes").outcome == Outcome::Accept;
            for packet in [midflow_packets(pod, other), midflow_packets(other, pod)].concat() {
                assert!(!passes(packet), "{direction}: {packet:?}");
                assert!(passes(Packet { ct: CtState::Established, ..packet }), "{packet:?}");
                let neither = Packet { source: other, destination: other, ..packet };
                assert!(passes(neither), "{neither:?}");
            }
            // No policy of this direction applies to this end, so it may open
            // flows.
            let (from, to) = match direction {
                Direction::Egress => (other, pod),
                Direction::Ingress => (pod, other),
            };
            assert!(passes(Packet::new(from, to, 6)), "{direction}");
        }
    }
}

#[test]
fn a_scaffold_is_made_for_its_place() {
    let forward = of(&Place::forward(), true, true);
    let base = BaseChain::forward(7);
    let place = Place { table: constant("nftpol-9"), chain: constant("late"), base, pod: None };
    let mut other = of(&place, true, true);
    assert_eq!(other.table, place.table);
    let first = other.chains.remove(&place.chain).expect("the place's base chain");
    assert_eq!(first.base, Some(base));
    assert_eq!(first.rules, forward.chains[&base_chain()].rules);
    // Everything else is the same.
    let rest = Ruleset {
        table: place.table,
        chains: forward.chains.without(&base_chain()),
        ..forward.clone()
    };
    assert_eq!(other, rest);
}
