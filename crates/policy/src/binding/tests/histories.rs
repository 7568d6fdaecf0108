//! Random histories of a node: pods come and go, and each writes what it likes on
//! its own end.

mod claimed;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// As many pods can be on the node at a time.
const PLACES: u32 = 4;

/// What can happen to the pod at a place.
#[derive(Clone, Debug)]
enum Step {
    /// Its sandbox is made: an interface with an address of its own.
    Arrive,
    /// Its Pod object reports its address, or is gone.
    Report(bool),
    /// It adds and removes addresses: those of pods, of pods to come, others.
    Addresses(Vec<u32>),
    /// It takes the MAC of the interface at a place, or of the bridge.
    Mac(u32),
    /// Its interface is gone.
    Leave,
}

#[derive(Clone, Debug, Default)]
struct Node {
    time: u32,
    /// The interface of each place.
    ports: BTreeMap<u32, SeenPort>,
    reported: BTreeMap<u32, bool>,
    /// The places that took another MAC.
    took: BTreeSet<u32>,
}

fn step() -> impl Strategy<Value = (u32, Step)> {
    let step = prop_oneof![
        3 => Just(Step::Arrive),
        3 => any::<bool>().prop_map(Step::Report),
        3 => proptest::collection::vec(0..PLACES + 2, 0..4).prop_map(Step::Addresses),
        2 => (0..=PLACES).prop_map(Step::Mac),
        1 => Just(Step::Leave),
    ];
    (0..PLACES, step)
}

/// The address of the pod at a place; others are nobody's. The first one is the
/// gateway's.
fn address(place: u32) -> String {
    match place {
        PLACES => "10.0.0.1".to_owned(),
        place => format!("10.0.0.{}", 10 + place),
    }
}

impl Node {
    fn follow(&mut self, place: u32, step: &Step) {
        self.time += 100;
        let time = self.time;
        let index = time + place;
        match step {
            Step::Arrive => {
                self.ports.entry(place).or_insert_with(|| SeenPort {
                    bridge: (place != 0).then_some(BRIDGE),
                    mac: Mac([2, 0, 0, 0, (index >> 8) as u8, index as u8]),
                    ..port(index, &[(&address(place), time)])
                });
            }
            Step::Report(is_there) => drop(self.reported.insert(place, *is_there)),
            Step::Addresses(wanted) => {
                let Some(port) = self.ports.get_mut(&place) else { return };
                let wanted: BTreeSet<IpAddr> =
                    wanted.iter().map(|&other| ip(&address(other))).collect();
                port.addresses.retain(|one| wanted.contains(&one.address));
                let had: Vec<IpAddr> = port.addresses.iter().map(|one| one.address).collect();
                let new = wanted.into_iter().filter(|address| !had.contains(address));
                let new = new.map(|address| SeenAddress { address, created: time.into() });
                port.addresses.extend(new);
            }
            Step::Mac(of) => {
                let wanted = self.ports.get(of).map_or(mac(1), |port| port.mac);
                if let Some(port) = self.ports.get_mut(&place) {
                    port.mac = wanted;
                    self.took.insert(place);
                }
            }
            Step::Leave => {
                self.ports.remove(&place);
                self.took.remove(&place);
            }
        }
    }

    fn seen(&self) -> Seen {
        seen(self.ports.values().cloned())
    }

    /// Their Pod objects. One without an interface is reported, too: its node
    /// lags behind.
    fn pods(&self) -> Vec<Pod> {
        let there = self.reported.iter().filter(|(_, is_there)| **is_there);
        there.map(|(place, _)| pod(&format!("p{place}"), &[&address(*place)])).collect()
    }
}

/// What holds in every state, whatever happened before.
fn is_sound(node: &Node, resolved: &Resolved) {
    let network = &resolved.network;
    let mut holders: BTreeMap<(IpAddr, Option<InterfaceIndex>), InterfaceIndex> = BTreeMap::new();
    let mut macs: BTreeSet<(Option<InterfaceIndex>, Mac)> = BTreeSet::new();
    macs.insert((Some(BRIDGE), mac(1)));
    for (&index, port) in &network.ports {
        if index == InterfaceIndex::NOBODYS {
            for &address in &port.addresses {
                assert!(node.pods().iter().any(|pod| pod.addresses.contains(&address)));
                assert_eq!(holders.insert((address, None), index), None, "{address} twice");
            }
            continue;
        }
        let reported = node.pods().into_iter().find(|pod| pod.key == port.pod).expect("a pod");
        let link = port.bridge.or(Some(index));
        for &address in &port.addresses {
            assert!(is_link_local(address) || reported.addresses.contains(&address));
            let link = link.filter(|_| is_link_local(address));
            assert_eq!(holders.insert((address, link), index), None, "{address} twice");
        }
        if port.mac == Mac::NONE {
            continue;
        }
        assert!(macs.insert((link, port.mac)), "a MAC twice: {network:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The agent sees each step. Then each pod is bound to its own interface, with
    /// its first address and with its MAC, whatever the others do.
    #[test]
    fn each_pod_is_bound_to_its_own_interface_alone(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let mut node = Node::default();
        let mut claims = Claims::default();
        for (place, step) in &steps {
            node.follow(*place, step);
            let pods = node.pods();
            let seen = node.seen();
            let resolved = resolve(&seen, &pods, &claims);
            is_sound(&node, &resolved);
            for (place, port) in &node.ports {
                let key = ObjectKey::new("dev", format!("p{place}"));
                let is_reported = node.reported.get(place) == Some(&true);
                let bound = resolved.network.ports.get(&port.index);
                prop_assert_eq!(bound.map(|bound| &bound.pod), is_reported.then_some(&key));
                let own = ip(&address(*place));
                prop_assert!(bound.is_none_or(|bound| bound.addresses.contains(&own)));
                if let Some(bound) = bound.filter(|_| !node.took.contains(place)) {
                    prop_assert_eq!(bound.mac, port.mac);
                }
            }
            claims = resolved.claims;
        }
    }

    /// The agent restarts at any time and sees only some of the states.
    #[test]
    fn nothing_moves_while_its_interface_lives(
        steps in proptest::collection::vec((step(), 0..8_u8), 1..40)
    ) {
        let mut node = Node::default();
        let mut claims = Claims::default();
        let mut last = NodeNetwork::default();
        for ((place, step), agent) in &steps {
            node.follow(*place, step);
            if *agent == 0 {
                continue;
            }
            if *agent == 1 {
                claims = last.claims();
            }
            let pods = node.pods();
            let seen = node.seen();
            let resolved = resolve(&seen, &pods, &claims);
            is_sound(&node, &resolved);
            let lives = |index: &InterfaceIndex| seen.ports.iter().any(|port| port.index == *index);
            for (before, port) in last.ports.iter().filter(|(index, _)| lives(index)) {
                for (after, other) in resolved.network.ports.iter().filter(|(one, _)| *one != before) {
                    let moved: Vec<_> = port
                        .addresses
                        .intersection(&other.addresses)
                        .filter(|address| !is_link_local(**address))
                        .collect();
                    prop_assert!(moved.is_empty(), "{moved:?} from {before:?} to {after:?}");
                }
                let now = resolved.network.ports.get(before);
                // One that may be anybody's now says nothing at all.
                let speaks = |now: &&BoundPort| now.mac != Mac::NONE || !now.addresses.is_empty();
                let now = now.filter(speaks);
                if let Some(now) = now.filter(|_| port.bridge.is_some() && port.mac != Mac::NONE) {
                    prop_assert_eq!(now.mac, port.mac);
                }
            }
            last = resolved.network;
            claims = resolved.claims;
        }
    }

    #[test]
    fn the_order_of_lists_is_irrelevant(
        steps in proptest::collection::vec(step(), 1..30), turn in 0..4_usize
    ) {
        let mut node = Node::default();
        for (place, step) in &steps {
            node.follow(*place, step);
        }
        let (seen, mut pods) = (node.seen(), node.pods());
        let resolved = resolve(&seen, &pods, &Claims::default());
        let mut turned = seen.clone();
        turned.ports.reverse();
        let count = turned.ports.len().max(1);
        turned.ports.rotate_left(turn % count);
        turned.ports.iter_mut().for_each(|port| port.addresses.reverse());
        pods.reverse();
        prop_assert_eq!(resolve(&turned, &pods, &Claims::default()), resolved);
    }
}
