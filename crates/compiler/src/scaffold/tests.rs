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
