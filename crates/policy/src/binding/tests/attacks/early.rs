//! An address is claimed before its pod is there, by an interface that is no pod's.

use super::*;

const CONTESTED: &str = "pod dev/v is cut off: its address 10.0.0.3 is on interface veth3 of an \
                         unknown pod and interface veth4 of an unknown pod, and nobody knows which \
                         interface is the pod's";

/// Nobody has the address, and neither interface says anything.
fn cut_off() -> Vec<String> {
    [&*nobodys("v", "10.0.0.3"), "3: dev/v mac 00 ", "4: dev/v mac 00 "].map(str::to_owned).into()
}

fn claim() -> SeenPort {
    port(4, &[("10.0.0.3", 50), ("10.0.0.7", 50)])
}

/// A pod with CAP_NET_ADMIN makes a second pair into the node's namespace, or is given
/// a second interface.
#[test]
fn a_second_interface_of_a_pod_is_no_other_pods() {
    let second = || SeenPort { namespace: port_x().namespace, ..claim() };
    let mut story = Story::default();
    story.then([port_x(), second()], &[&x()]);
    let last = story.then([port_x(), second(), port_v()], &[&x(), &v()]);
    assert_eq!(bound(&last), [X, V]);
    let expected = "interface veth4 of pod dev/x claims the address 10.0.0.3 of pod dev/v, which \
                    interface veth3 of pod dev/v holds";
    assert_eq!(findings(&last)[0], expected);
    // The same for one that sees all at once, and after a restart.
    assert_eq!(
        bound(&Story::default().then([port_x(), second(), port_v()], &[&x(), &v()])),
        [X, V]
    );
    story.restart(&last);
    assert_eq!(bound(&story.then([port_x(), second(), port_v()], &[&x(), &v()])), [X, V]);
}

#[test]
fn it_stays_that_pods_when_the_first_one_is_gone_or_it_is_moved() {
    let second = || SeenPort { namespace: port_x().namespace, ..claim() };
    for later in [second(), claim()] {
        let mut story = Story::default();
        story.then([port_x(), second()], &[&x()]);
        // Alone, too.
        assert_eq!(bound(&story.then([later.clone()], &[&x(), &v()])), Vec::<String>::new());
        assert_eq!(bound(&story.then([later, port_v()], &[&x(), &v()])), [V]);
    }
}

/// Its own address is on the first one. What is reported by the same pod may be on
/// several of its interfaces.
#[test]
fn a_pod_can_have_its_addresses_on_two_interfaces() {
    let both = pod("x", &["10.0.0.2", "fd00::2"]);
    let second = SeenPort { namespace: port_x().namespace, ..port(4, &[("fd00::2", 100)]) };
    let resolved = Story::default().then([port_x(), second], &[&both]);
    assert_eq!(bound(&resolved), [X, "4: dev/x mac 04 fd00::2"]);
}

/// The attacker's pod gave up its own address before anybody looked, or made a pair
/// into a namespace of its own.
#[test]
fn of_two_unknown_interfaces_neither_gets_it() {
    // It was seen before the pod was known.
    let mut story = Story::default();
    story.then([claim()], &[&x()]);
    story.then([claim(), port_v()], &[&x()]);
    let last = story.then([claim(), port_v()], &[&x(), &v()]);
    assert_eq!(bound(&last), cut_off());
    let expected =
        ["pod dev/x: no interface of this node is bound to its address 10.0.0.2", CONTESTED];
    assert_eq!(findings(&last)[..2], expected);
    // Nothing decides it later: neither an address that goes and comes, nor a restart.
    let again = port(4, &[("10.0.0.3", 5000)]);
    assert_eq!(bound(&story.then([again, port_v()], &[&x(), &v()])), cut_off());
    story.restart(&last);
    assert_eq!(bound(&story.then([claim(), port_v()], &[&x(), &v()])), cut_off());
    // It does not matter who was first.
    let late = port(4, &[("10.0.0.3", 5000)]);
    assert_eq!(bound(&Story::default().then([late, port_v()], &[&x(), &v()])), cut_off());
    // It ends with the attacker's interface.
    assert_eq!(bound(&story.then([port_v()], &[&x(), &v()])), [V]);
    assert_eq!(bound(&story.then([claim(), port_v()], &[&x(), &v()])), [V]);
}

/// On a bridge the address is nobody's, so that no third one answers for it.
#[test]
fn a_contested_address_is_nobodys() {
    let resolved = Story::default().then([claim(), port_v()], &[&v()]);
    assert!(resolved.network.bridges[&BRIDGE].addresses.contains(&ip("10.0.0.3")));
    let nobodys = &resolved.network.ports[&InterfaceIndex::NOBODYS];
    assert_eq!(nobodys.addresses, [ip("10.0.0.3")].into());
    let routed = |port| SeenPort { bridge: None, ..port };
    let resolved = Story::default().then([routed(claim()), routed(port_v())], &[&v()]);
    let expected = [&*super::nobodys("v", "10.0.0.3"), "3: dev/v mac 03 ", "4: dev/v mac 04 "];
    assert_eq!(bound(&resolved), expected);
    assert!(resolved.network.bridges.is_empty());
}

/// An interface is one pod's. One that has addresses of several pods contests none.
#[test]
fn one_pod_does_not_contest_all_addresses() {
    let addresses: Vec<String> = (10..60).map(|last| format!("10.0.0.{last}")).collect();
    let pods: Vec<Pod> = addresses.iter().map(|address| pod(address, &[address])).collect();
    let ports = addresses.iter().zip(10..).map(|(address, index)| port(index, &[(address, index)]));
    let all: Vec<(&str, u32)> = addresses.iter().map(|address| (&**address, 5)).collect();
    let ports: Vec<SeenPort> = ports.chain([port(4, &all), port(5, &all)]).collect();
    let resolved = Story::default().then(ports, &pods.iter().chain([&x()]).collect::<Vec<_>>());
    assert_eq!(resolved.network.ports.len(), 50);
    assert!(!resolved.network.ports.contains_key(&InterfaceIndex::NOBODYS));
}

/// Two pods that claim each other's addresses get nothing by that, and cut off nobody.
#[test]
fn accomplices_contest_their_own_addresses_alone() {
    let y = pod("y", &["10.0.0.5"]);
    let claims = || {
        let all = [("10.0.0.2", 50), ("10.0.0.5", 50), ("10.0.0.3", 50)];
        [port(2, &all), port(5, &all), port_v()]
    };
    let resolved = Story::default().then(claims(), &[&x(), &y, &v()]);
    assert_eq!(bound(&resolved)[2], V);
    assert_eq!(resolved.network.ports[&InterfaceIndex::NOBODYS].addresses.len(), 2);
    // Not if they were seen before.
    let mut story = Story::default();
    story.then([port_x(), port(5, &[("10.0.0.5", 40)])], &[&x(), &y]);
    let expected = [X, V, "5: dev/y mac 05 10.0.0.5"];
    assert_eq!(bound(&story.then(claims(), &[&x(), &y, &v()])), expected);
}

/// As of gVisor: the pods' own interfaces have no address.
#[test]
fn an_interface_with_the_addresses_of_several_pods_is_none_of_theirs() {
    let claims = || port(4, &[("10.0.0.2", 60), ("10.0.0.3", 50)]);
    let resolved = Story::default().then([port(2, &[]), port(3, &[]), claims()], &[&x(), &v()]);
    let addresses = &resolved.network.ports[&InterfaceIndex::NOBODYS].addresses;
    assert_eq!(*addresses, [ip("10.0.0.2"), ip("10.0.0.3")].into());
    assert_eq!(resolved.network.ports.len(), 2);
    let expected = "pod dev/x is cut off: its address 10.0.0.2 is on interface veth4 of an unknown \
                    pod, and nobody knows which interface is the pod's";
    assert!(findings(&resolved).contains(&expected.to_owned()), "{:?}", findings(&resolved));
}

/// Only what the CNI plugin gave at first counts, also when a look came in between.
#[test]
fn the_second_address_of_a_pod_is_its_own_though_a_look_came_before_it() {
    let v = pod("v", &["10.0.0.3", "fd00::3"]);
    let claim = || port(4, &[("fd00::3", 50)]);
    let mut story = Story::default();
    story.then([claim()], &[&x()]);
    story.then([claim(), port_v()], &[&x()]);
    let whole = port(3, &[("10.0.0.3", 900), ("fd00::3", 910)]);
    let expected = "3: dev/v mac 03 10.0.0.3 fd00::3";
    assert_eq!(bound(&story.then([claim(), whole], &[&x(), &v])), [expected]);
}

#[test]
fn pods_of_a_bridge_that_filters_vlans_are_not_cut_off() {
    let mut seen = seen([claim(), port_v()]);
    seen.bridges[0].vlan_filtering = true;
    let resolved = resolve(&seen, [&v()], &Claims::default());
    assert!(resolved.network.ports.is_empty());
}
