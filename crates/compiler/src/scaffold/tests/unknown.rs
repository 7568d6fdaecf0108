//! What becomes of addresses that no object names, and how many look-ups that costs.

use std::net::IpAddr;

use policy::pod_ranges;
use ruleset::simulator::{CtState, Outcome, Packet, simulate};

use super::super::unknown::{Shut, is_known_set, of_known};
use super::super::*;
use crate::names::constant;
use crate::{Layout, LogOptions};

const NAMED: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "fd00::2", "fd00::3"];
/// Isolated, and named.
const ISOLATED: [&str; 2] = ["10.0.0.3", "fd00::3"];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn shut(subnets: &[&str]) -> Shut {
    let subnets = subnets.iter().map(|text| text.parse().expect("a subnet"));
    Shut { ranges: pod_ranges(subnets), log: Some(LogOptions::default()) }
}

/// A table that shuts unknown addresses of these subnets, in which everything may go to
/// and from what is isolated.
fn table(subnets: &[&str]) -> Ruleset {
    let (place, shut) = (Place::forward(), shut(subnets));
    let mut table = of(&place, true, true);
    fit(&mut table, &place, &Network { shut: shut.clone(), ..Network::default() });
    for placed in of_known(NAMED.map(ip), &shut.ranges) {
        table.sets.get_mut(&placed.set).expect("the set").elements.insert(placed.element);
    }
    for (direction, address) in
        Direction::BOTH.into_iter().flat_map(|one| ISOLATED.map(|it| (one, ip(it))))
    {
        let (family, chain) = (Family::of(address), constant(&format!("{direction}.all")));
        let all = plain(None, vec![Rule::new([], allowing(direction))]);
        table.chains.insert(chain.clone(), all.into());
        let set = isolated_set(direction, family);
        table.sets.get_mut(&set).expect("the set").elements.insert(Element::Address(address));
        let map = dispatch(direction, family);
        table.maps.get_mut(&map).expect("the map").entries.insert(address, chain);
    }
    table
}

fn passes(table: &Ruleset, packet: &Packet) -> bool {
    simulate(table, packet).expect("a table without mistakes").outcome == Outcome::Accept
}

#[test]
fn an_address_in_the_ranges_that_nobody_names_sends_and_receives_nothing_new() {
    let table = table(&["10.0.0.0/24", "fd00::/64"]);
    let families = [
        ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.9", "10.0.1.9"],
        ["fd00::1", "fd00::2", "fd00::3", "fd00::9", "fd01::9"],
    ];
    for [one, other, isolated, unknown, outside] in families.map(|family| family.map(ip)) {
        for (from, to, expected) in [
            (one, other, true),
            (one, isolated, true),
            (isolated, one, true),
            (one, outside, true),
            (outside, one, true),
            (outside, isolated, true),
            (unknown, one, false),
            (one, unknown, false),
            // Its ingress policies accept everything.
            (unknown, isolated, false),
            (isolated, unknown, false),
            (unknown, outside, false),
            (outside, unknown, false),
            (unknown, unknown, false),
        ] {
            for protocol in [6, 17, 132] {
                let packet = Packet::new(from, to, protocol);
                assert_eq!(passes(&table, &packet), expected, "{from} to {to}, {protocol}");
                for ct in [CtState::Established, CtState::Related] {
                    assert!(passes(&table, &Packet { ct, ..packet }), "{ct:?} {from} to {to}");
                }
            }
        }
    }
    let neighbour = Packet::neighbour_discovery(ip("fd00::9"), ip("fd00::1"), 135);
    assert!(passes(&table, &neighbour), "neighbours are found");
    let broadcast = Packet::new(ip("10.0.0.1"), ip("10.0.0.255"), 17);
    assert!(passes(&table, &broadcast), "the subnet's broadcast address is no pod's");
}

/// One look-up for each end that could be unknown, and none of it in a table that shuts
/// nothing.
#[test]
fn a_new_flow_pays_one_look_up_for_each_end_in_the_ranges() {
    let [open, closed] = [table(&[]), table(&["10.0.0.0/24", "10.2.0.0/16"])];
    assert!(open.sets.keys().all(|name| !is_known_set(name)));
    let cases = [
        ("between two pods", "10.0.0.1", "10.0.0.2", 2),
        ("out of the node", "10.0.0.1", "10.1.0.1", 1),
        ("into the node", "10.1.0.1", "10.0.0.1", 1),
        ("to an isolated pod", "10.1.0.1", "10.0.0.3", 0),
        ("from a pod to an isolated one", "10.0.0.1", "10.0.0.3", 1),
        ("from an isolated pod out of the node", "10.0.0.3", "10.1.0.1", 1),
        ("past the node's pods", "10.1.0.1", "10.1.0.2", 0),
    ];
    for (what, from, to, expected) in cases {
        let packet = Packet::new(ip(from), ip(to), 17);
        for (table, expected) in [(&open, 0), (&closed, expected)] {
            let seen = simulate(table, &packet).expect("a table without mistakes");
            let asks = |at: &ruleset::simulator::RulePosition| {
                let rule = &table.chains[&at.chain].rules[at.rule];
                rule.lookups().any(is_known_set)
            };
            assert_eq!(seen.trace.iter().filter(|at| asks(at)).count(), expected, "{what}");
            assert_eq!(seen.outcome, Outcome::Accept, "{what}");
        }
        let established = Packet { ct: CtState::Established, ..packet };
        let seen = simulate(&closed, &established).expect("a table without mistakes");
        assert_eq!(seen.trace.len(), 1, "{what}, established");
    }
}

/// Rules and elements never change together.
#[test]
fn other_ranges_ask_another_set() {
    let place = Place::forward();
    let mut table = of(&place, false, true);
    let before = table.clone();
    let mut fitted = |subnets: &[&str]| {
        fit(&mut table, &place, &Network { shut: shut(subnets), ..Network::default() });
        let known: BTreeSet<Name> =
            table.sets.keys().filter(|name| is_known_set(name)).cloned().collect();
        (known, table == before, Layout::network(&table, None, |_| None).pod_ranges)
    };
    let (one, _, ranges) = fitted(&["10.0.0.0/24"]);
    assert_eq!((one.len(), ranges), (1, shut(&["10.0.0.0/24"]).ranges));
    let (other, _, ranges) = fitted(&["10.0.0.0/23", "fd00::/64"]);
    assert_eq!((other.len(), ranges), (2, shut(&["10.0.0.0/23", "fd00::/64"]).ranges));
    assert!(one.is_disjoint(&other), "{one:?}, {other:?}");
    let (none, is_as_before, ranges) = fitted(&[]);
    assert!(none.is_empty() && is_as_before && ranges.is_empty());
}

/// A pod that scans the ranges has one limit, and takes no room from the pods whose denied
/// packets are logged.
#[test]
fn a_scan_of_unknown_addresses_is_logged_by_its_sender_alone() {
    let table = table(&["10.0.0.0/24", "fd00::/64"]);
    let of_policies: Vec<Name> = Direction::BOTH
        .into_iter()
        .flat_map(|one| Family::BOTH.map(|family| log_set(one, family)))
        .collect();
    let chains = table.chains.iter().filter(|(name, _)| name.as_str().starts_with("unknown."));
    let logs: Vec<_> = chains
        .flat_map(|(_, chain)| chain.rules.iter().filter_map(|rule| rule.log.as_ref()))
        .collect();
    assert_eq!(logs.len(), 4, "two ends and two families");
    for log in logs {
        assert_eq!(log.field, Field::Source);
        assert!(!of_policies.contains(&log.set) && table.sets.contains_key(&log.set));
    }
    let mut open = table.clone();
    fit(&mut open, &Place::forward(), &Network::default());
    assert!(!open.sets.keys().any(|name| name.as_str().starts_with("logged.u")));
}
