//! What `author::Reach` says of all ports at once is what the specification says of each
//! port. Random clusters; no kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use author::Reach;
use author::reach::{Family, Side};
use policy::spec::{self, Packet, ProtocolPort};
use policy::{Direction, Protocol, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use samples::random;

/// The same cases in every run, so that a failure can be repeated. `PROPTEST_CASES`
/// draws that many new ones.
fn cases() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

/// Both sides of the ends of every range in the random policies, and the ends of all.
const PORTS: [u16; 14] = [0, 1, 8, 9, 10, 79, 80, 81, 82, 442, 443, 8080, 8081, 65535];

fn transports() -> Vec<ProtocolPort> {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let ported =
        protocols.iter().flat_map(|&protocol| PORTS.map(|port| ProtocolPort::Port(protocol, port)));
    ported.chain([1, 58, 255].map(ProtocolPort::Other)).collect()
}

/// The pairs of addresses of one family.
fn pairs(snapshot: &Snapshot) -> BTreeSet<(IpAddr, IpAddr)> {
    let packets = random::packets(&[snapshot]).into_iter();
    packets.map(|packet| (packet.source, packet.destination)).collect()
}

/// Of the same kind, and with the same policies.
fn same_side(reach: &Side<'_>, spec: &spec::Side, transport: ProtocolPort) -> bool {
    match (reach, spec) {
        (Side::NotIsolated, spec::Side::NotIsolated) | (Side::Exempt, spec::Side::Exempt) => true,
        (Side::Isolated(_, ports), spec::Side::Allowed(_)) => ports.contains(transport),
        (Side::Isolated(policies, ports), spec::Side::Denied(keys) | spec::Side::Shut(keys)) => {
            !ports.contains(transport) && policies.iter().map(|one| &one.key).eq(keys)
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_ports_that_pass_are_those_that_the_specification_lets_pass(
        snapshot in random::snapshot()
    ) {
        let (owners, reach) = (spec::owners(&snapshot), Reach::new(&snapshot));
        for (source, destination) in pairs(&snapshot) {
            let ports = reach.ports(source, destination);
            let sides = Direction::BOTH.map(|way| reach.side(way, source, destination));
            for transport in transports() {
                let packet = Packet { source, destination, transport };
                let expected = spec::decide_with(&snapshot, &owners, None, &packet);
                prop_assert_eq!(
                    ports.contains(transport), expected.passes(),
                    "{:?}: {} and {:?}", packet, ports, expected
                );
                let [egress, ingress] = &sides;
                prop_assert!(
                    same_side(egress, &expected.egress, transport)
                        && same_side(ingress, &expected.ingress, transport),
                    "{:?}: {:?} and {:?}", packet, sides, expected
                );
            }
        }
    }

    #[test]
    fn addresses_of_one_class_are_treated_alike(snapshot in random::snapshot()) {
        let reach = Reach::new(&snapshot);
        let pods: Vec<IpAddr> =
            snapshot.pods.values().flat_map(|pod| pod.addresses.clone()).collect();
        let special = |address: &IpAddr| {
            reach.owner(*address).is_some()
                || snapshot.kept.contains_key(address)
                || pods.contains(address)
                || snapshot.pods.values().any(|pod| pod.host_addresses.contains(address))
        };
        for family in Family::BOTH {
            let classes = reach.classes(family);
            let mut ranges: Vec<_> = classes.iter().flatten().copied().collect();
            ranges.sort_unstable();
            check_partition(&ranges, family)?;
            for class in &classes {
                let mut ends: Vec<IpAddr> =
                    class.iter().flat_map(|&(first, last)| [first, last]).collect();
                ends.retain(|address| !special(address));
                for &pod in pods.iter().filter(|pod| family.has(**pod)) {
                    let ports: BTreeSet<_> = ends
                        .iter()
                        .map(|&end| (reach.ports(pod, end), reach.ports(end, pod)))
                        .collect();
                    prop_assert!(ports.len() <= 1, "{pod} and {class:?}: {ports:?}");
                }
            }
        }
    }
}

/// The ranges are all addresses of the family, each once.
fn check_partition(ranges: &[(IpAddr, IpAddr)], family: Family) -> Result<(), TestCaseError> {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let last = match family {
        Family::Ipv4 => u128::from(u32::MAX),
        Family::Ipv6 => u128::MAX,
    };
    prop_assert_eq!(ranges.first().map(|&(first, _)| number(first)), Some(0));
    prop_assert_eq!(ranges.last().map(|&(_, last)| number(last)), Some(last));
    for pair in ranges.windows(2) {
        let [(_, before), (next, _)] = *pair else { continue };
        prop_assert_eq!(number(before).checked_add(1), Some(number(next)));
    }
    Ok(())
}

#[test]
fn addresses_of_different_families_reach_nothing() {
    let snapshot = Snapshot::default();
    let reach = Reach::new(&snapshot);
    let [v4, v6]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 9].into()];
    assert!(reach.ports(v4, v6).is_empty() && reach.ports(v4, v4).is_everything());
}
