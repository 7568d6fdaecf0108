//! A pod `x` (port 2) against a pod `v` (port 3), step by step.

mod early;
mod macs;
mod reuse;

use super::*;

/// What happens on the node, in order.
#[derive(Default)]
struct Story {
    before: Claims,
}

impl Story {
    fn then(&mut self, ports: impl IntoIterator<Item = SeenPort>, pods: &[&Pod]) -> Resolved {
        let resolved = resolve(&seen(ports), pods.iter().copied(), &self.before);
        self.before = resolved.claims.clone();
        resolved
    }

    /// The agent restarts: what is left are the kernel's tables.
    fn restart(&mut self, last: &Resolved) {
        self.before = last.network.claims();
    }
}

fn x() -> Pod {
    pod("x", &["10.0.0.2"])
}

fn v() -> Pod {
    pod("v", &["10.0.0.3"])
}

/// The port of nobody, with the contested addresses; `name` is one of their pods.
fn nobodys(name: &str, addresses: &str) -> String {
    format!("0: dev/{name} mac 00 {addresses}")
}

const UNBOUND: &str = "interface veth4 of bridge cni0 is bound to no pod: it can send under any \
                       address but pods' own";
const X: &str = "2: dev/x mac 02 10.0.0.2";
const V: &str = "3: dev/v mac 03 10.0.0.3";

fn port_x() -> SeenPort {
    port(2, &[("10.0.0.2", 100)])
}

fn port_v() -> SeenPort {
    port(3, &[("10.0.0.3", 900)])
}

#[test]
fn an_address_added_later_stays_the_victims() {
    let claim = port(2, &[("10.0.0.2", 100), ("10.0.0.3", 1000)]);
    for agent_saw_before in [true, false] {
        let mut story = Story::default();
        if agent_saw_before {
            story.then([port_x(), port_v()], &[&x(), &v()]);
        }
        let resolved = story.then([claim.clone(), port_v()], &[&x(), &v()]);
        assert_eq!(bound(&resolved), [X, V]);
        let expected =
            ["interface veth2 of pod dev/x claims the address 10.0.0.3 of pod dev/v, which \
             interface veth3 of pod dev/v holds"];
        assert_eq!(findings(&resolved), expected);
    }
}

#[test]
fn an_address_added_before_its_pod_exists_is_not_the_attackers() {
    let claim = port(2, &[("10.0.0.2", 100), ("10.0.0.3", 200)]);
    let mut story = Story::default();
    story.then([claim.clone()], &[&x()]);
    assert_eq!(bound(&story.then([claim.clone(), port_v()], &[&x()])), [X]);
    assert_eq!(bound(&story.then([claim.clone(), port_v()], &[&x(), &v()])), [X, V]);
    // An agent that sees all of that at once concludes the same.
    assert_eq!(bound(&Story::default().then([claim, port_v()], &[&x(), &v()])), [X, V]);
}

#[test]
fn the_attackers_own_address_removed_does_not_free_its_interface() {
    let bare = port(2, &[("10.0.0.3", 200)]);
    // Bound before.
    let mut story = Story::default();
    let first = story.then([port_x()], &[&x()]);
    assert_eq!(bound(&story.then([bare.clone(), port_v()], &[&x(), &v()])), [X, V]);
    story.restart(&first);
    assert_eq!(bound(&story.then([bare.clone(), port_v()], &[&x(), &v()])), [X, V]);
    // Seen before, but its Pod object did not report the address yet.
    let mut story = Story::default();
    story.then([port_x()], &[]);
    story.then([bare.clone(), port_v()], &[]);
    assert_eq!(bound(&story.then([bare.clone(), port_v()], &[&v()])), [V]);
    assert_eq!(bound(&story.then([bare, port_v()], &[&v(), &x()])), [X, V]);
}

#[test]
fn removed_and_added_again_it_is_the_only_interface_for_its_own_address() {
    let again = port(2, &[("10.0.0.3", 200), ("10.0.0.2", 300)]);
    assert_eq!(bound(&Story::default().then([again.clone(), port_v()], &[&x(), &v()])), [X, V]);
    // Neither the first address nor the one with the lowest number decides.
    let late = port(2, &[("10.0.0.9", 100), ("10.0.0.2", 300)]);
    assert_eq!(bound(&Story::default().then([late], &[&x()])), [X]);
}

#[test]
fn an_address_that_the_victim_dropped_is_not_free() {
    let mut story = Story::default();
    story.then([port_x(), port_v()], &[&x(), &v()]);
    let claim = port(2, &[("10.0.0.2", 100), ("10.0.0.3", 1000)]);
    let last = story.then([claim.clone(), port(3, &[])], &[&x(), &v()]);
    assert_eq!(bound(&last), [X, V]);
    story.restart(&last);
    assert_eq!(bound(&story.then([claim.clone(), port(3, &[])], &[&x(), &v()])), [X, V]);
    // Not even while the victim's object is gone for a moment.
    assert_eq!(bound(&story.then([claim.clone(), port(3, &[])], &[&x()])), [X]);
    assert_eq!(bound(&story.then([claim, port(3, &[])], &[&x(), &v()])), [X, V]);
}

#[test]
fn an_interface_that_is_another_pods_keeps_what_it_had() {
    let both = Pod { key: x().key, ..pod("both", &["10.0.0.2", "fd00::2"]) };
    let mut story = Story::default();
    let ports = || port(2, &[("10.0.0.2", 100), ("fd00::2", 100)]);
    story.then([ports()], &[&both]);
    // The second address is reported by another pod now.
    let thief = port(4, &[("fd00::2", 500)]);
    let resolved = story.then([ports(), thief], &[&x(), &pod("y", &["fd00::2"])]);
    assert_eq!(bound(&resolved), [X]);
    assert_eq!(
        findings(&resolved),
        [
            "pod dev/y: no interface of this node is bound to its address fd00::2",
            "interface veth2 of pod dev/x claims the address fd00::2 of pod dev/y, which no \
             interface holds",
            "interface veth4 of an unknown pod claims the address fd00::2 of pod dev/y, which \
             interface veth2 of pod dev/x holds",
            UNBOUND,
        ]
    );
}

/// A pod with CAP_NET_ADMIN can add links to the node's namespace.
#[test]
fn an_interface_that_the_attacker_added_is_named() {
    let own = |index, bridge| SeenPort { bridge, ..port(index, &[("10.0.0.77", 200)]) };
    let story = |ports: &[SeenPort]| {
        let ports = [port_x(), port_v()].into_iter().chain(ports.iter().cloned());
        findings(&Story::default().then(ports, &[&x(), &v()]))
    };
    assert_eq!(story(&[own(4, Some(BRIDGE)), own(1, Some(BRIDGE))]), [UNBOUND]);
    // Nobody's bridge, and a node without routed pods.
    assert_eq!(story(&[own(8, Some(InterfaceIndex(99))), own(7, None)]), Vec::<String>::new());
    // With routed pods, the youngest that is not the node's uplink.
    let routed = |port| SeenPort { bridge: None, ..port };
    let uplink = SeenPort { is_uplink: true, ..own(9, None) };
    let ports = [routed(port_x()), uplink, own(8, None), own(7, None)];
    let found = findings(&Story::default().then(ports, &[&x()]));
    let expected =
        "interface veth8 is bound to no pod: it can send under any address but pods' own";
    assert_eq!(found, [expected]);
}

#[test]
fn the_gateways_address_is_nobodys() {
    let gateway = pod("gateway", &["10.0.0.1"]);
    let claim = port(2, &[("10.0.0.2", 100), ("10.0.0.1", 200), ("fe80::1", 200)]);
    let resolved = Story::default().then([claim], &[&x(), &gateway]);
    assert_eq!(bound(&resolved), [X]);
    let text = findings(&resolved).join("\n");
    assert!(text.contains("no interface of this node is bound to its address 10.0.0.1"), "{text}");
    assert!(text.contains("does not report the address 10.0.0.1 (and 1 more)"), "{text}");
}

#[test]
fn a_neighbours_link_local_address_stays_the_neighbours() {
    let claim = port(2, &[("10.0.0.2", 100), ("fe80::3", 200), ("fe80::ff:fe00:3", 1)]);
    let neighbour = port(3, &[("10.0.0.3", 900), ("fe80::3", 901)]);
    let mut story = Story::default();
    story.then([port_x(), neighbour.clone()], &[&x(), &v()]);
    let resolved = story.then([claim.clone(), neighbour.clone()], &[&x(), &v()]);
    // What the kernel makes from the victim's MAC is the victim's, whoever was
    // first.
    assert_eq!(bound(&resolved), [X, "3: dev/v mac 03 10.0.0.3 fe80::3"]);
    let own = ip("fe80::ff:fe00:3");
    assert!(!resolved.network.ports[&InterfaceIndex(2)].addresses.contains(&own));
    // Another link has addresses of its own.
    let routed = SeenPort { bridge: None, ..claim };
    let resolved = Story::default().then([routed, neighbour], &[&x(), &v()]);
    let own = &resolved.network.ports[&InterfaceIndex(2)].addresses;
    assert!(own.contains(&ip("fe80::3")), "{own:?}");
}

/// Behind the other ports of a bridge are hosts that nobody lists.
#[test]
fn a_link_local_address_beyond_the_bridge_is_no_pods() {
    let claim = port(2, &[("10.0.0.2", 100), ("fe80::5", 200)]);
    let mut seen = seen([claim]);
    let before = resolve(&seen, [&x()], &Claims::default());
    assert_eq!(bound(&before), ["2: dev/x mac 02 10.0.0.2 fe80::5"]);
    seen.bridges[0].has_other_ports = true;
    for claims in [Claims::default(), before.claims] {
        let resolved = resolve(&seen, [&x()], &claims);
        assert_eq!(bound(&resolved), [X]);
        let own = ip("fe80::ff:fe00:2");
        assert!(resolved.network.ports[&InterfaceIndex(2)].addresses.contains(&own));
        let expected =
            ["pod dev/x, interface veth2: its Pod object does not report the address fe80::5"];
        assert_eq!(findings(&resolved), expected);
    }
}

#[test]
fn hundreds_of_addresses_give_few_findings_and_few_bound_ones() {
    let mut claim = port_x();
    let more = (0..2000_u32).flat_map(|number| {
        let [_, _, high, low] = number.to_be_bytes();
        [format!("10.0.{high}.{low}"), format!("fe80::{number:x}"), format!("fd00::{number:x}")]
    });
    let more = more.map(|address| SeenAddress { address: ip(&address), created: 200 });
    claim.addresses.extend(more);
    let victims: Vec<Pod> =
        (3..250).map(|last| pod(&format!("v{last}"), &[&format!("10.0.0.{last}")])).collect();
    let ports = (3..250).map(|last| port(last, &[(&format!("10.0.0.{last}"), 900)]));
    let ports: Vec<SeenPort> = ports.chain([claim]).collect();
    let pods: Vec<&Pod> = victims.iter().collect();
    let (attacker, mut story) = (x(), Story::default());
    for _ in 0..2 {
        let resolved = story.then(ports.clone(), &[&pods[..], &[&attacker]].concat());
        assert_eq!(resolved.network.ports.len(), 248);
        let port = &resolved.network.ports[&InterfaceIndex(2)];
        assert_eq!(port.pod, attacker.key);
        assert!(port.addresses.len() <= 2 + LINK_LOCAL_ADDRESSES, "{port:?}");
        assert!(resolved.findings.len() <= 2, "{:?}", findings(&resolved));
        let claim = &resolved.claims.0[&InterfaceIndex(2)];
        assert!(claim.first.len() <= FIRST_ADDRESSES, "{claim:?}");
    }
}

const PODS: u32 = 1000;

/// The names and addresses of many pods.
fn many() -> Vec<(String, String)> {
    let address = |pod: u32| format!("10.1.{}.{}", pod / 200, pod % 200 + 1);
    (0..PODS).map(|number| (format!("pod-{number}"), address(number))).collect()
}

/// Each pod has the address of the next one, too, so each is a round of its own.
#[test]
fn the_work_grows_with_the_claims_and_not_faster() {
    let names = many();
    let pods: Vec<Pod> = names.iter().map(|(name, address)| pod(name, &[address])).collect();
    let next = names.iter().cycle().skip(1);
    let ports = (0..).zip(names.iter().zip(next)).map(|(number, ((_, own), (_, next)))| {
        let both = [(&**own, 1), (&**next, 2)];
        port(10 + number, if number + 1 == PODS { &both[..1] } else { &both })
    });
    let (seen, claims) = (seen(ports), Claims::default());
    let held = addresses::hold(&View::new(&seen, &pods, &Placements::default(), &claims));
    assert_eq!(held.pods.len(), names.len());
    assert!(held.contested.is_empty());
    let claims = names.len() * 2;
    assert!(held.looks <= 2 * claims, "{} looks at addresses, for {claims} claims", held.looks);
}

#[test]
fn a_pod_that_claims_all_addresses_gets_its_own() {
    let names = many();
    let pods: Vec<Pod> = names.iter().map(|(name, address)| pod(name, &[address])).collect();
    // The first one adds all others' addresses to itself, after they have them.
    let all: Vec<(&str, u32)> = names.iter().map(|(_, address)| (&**address, 5000)).collect();
    let ports = (0..PODS).zip(&names).map(|(number, (_, address))| match number {
        0 => port(10, &[&[(&**address, 1)], &all[1..]].concat()),
        _ => port(10 + number, &[(address, 1 + number)]),
    });
    let found = resolve(&seen(ports), &pods, &Claims::default());
    assert_eq!(found.network.ports.len(), names.len());
    for (number, (name, address)) in (0..PODS).zip(&names) {
        let bound = &found.network.ports[&InterfaceIndex(10 + number)];
        assert_eq!(bound.pod.name, *name);
        assert!(bound.addresses.contains(&ip(address)));
    }
}
