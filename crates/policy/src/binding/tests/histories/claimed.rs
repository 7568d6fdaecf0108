//! Honest pods come and go, some leave their interface behind, and others get their
//! addresses. An attacker makes interfaces with what addresses it likes, at any time.

use super::*;

const ATTACKER: &str = "10.0.0.99";

#[derive(Clone, Debug)]
enum Event {
    /// A pod gets an interface and the address of its place.
    Arrive(u32),
    /// Its Pod object reports the address.
    Report(u32),
    /// Its Pod object is gone, and its interface, or only the first.
    Leave(u32, bool),
    /// The interfaces that were left behind are gone.
    Tidy(u32),
    /// An interface of the attacker's has these addresses. The first two are in the
    /// namespace of its pod.
    Claim(u32, Vec<u32>, bool),
    /// It is gone.
    Unclaim(u32),
}

/// The pod at a place.
#[derive(Clone, Debug)]
struct Tenant {
    name: String,
    port: SeenPort,
    is_reported: bool,
}

#[derive(Default)]
struct World {
    time: u32,
    tenants: BTreeMap<u32, Tenant>,
    left: Vec<(u32, SeenPort)>,
    claims: BTreeMap<u32, SeenPort>,
}

fn event() -> impl Strategy<Value = Event> {
    let place = 0..PLACES;
    prop_oneof![
        3 => place.clone().prop_map(Event::Arrive),
        3 => place.clone().prop_map(Event::Report),
        2 => (place.clone(), any::<bool>()).prop_map(|(place, leaks)| Event::Leave(place, leaks)),
        1 => place.prop_map(Event::Tidy),
        4 => (0..4_u32, proptest::collection::vec(0..PLACES, 0..3), any::<bool>())
            .prop_map(|(which, places, own)| Event::Claim(which, places, own)),
        1 => (0..4_u32).prop_map(Event::Unclaim),
    ]
}

impl World {
    fn port(&mut self, namespace: Option<i32>, addresses: &[String]) -> SeenPort {
        let time = self.time;
        let addresses: Vec<(&str, u32)> = addresses.iter().map(|one| (&**one, time)).collect();
        let made = port(time, &addresses);
        let namespace = namespace.map_or(made.namespace, NetworkNamespace);
        let mac = Mac([2, 0, 0, 0, (time >> 8) as u8, time as u8]);
        SeenPort { mac, namespace, ..made }
    }

    fn follow(&mut self, event: &Event) {
        self.time += 100;
        match event {
            Event::Arrive(place) if !self.tenants.contains_key(place) => {
                let port = self.port(None, &[address(*place)]);
                let name = format!("pod-{}", self.time);
                self.tenants.insert(*place, Tenant { name, port, is_reported: false });
            }
            Event::Report(place) => {
                let tenant = self.tenants.get_mut(place);
                tenant.into_iter().for_each(|tenant| tenant.is_reported = true);
            }
            Event::Leave(place, leaks) => {
                let port = self.tenants.remove(place).map(|tenant| (*place, tenant.port));
                self.left.extend(port.filter(|_| *leaks));
            }
            Event::Tidy(place) => self.left.retain(|(of, _)| of != place),
            Event::Claim(which, places, own) => {
                let own = own.then(|| ATTACKER.to_owned());
                let all: Vec<String> = places.iter().map(|of| address(*of)).chain(own).collect();
                let namespace = (*which < 2).then_some(-1);
                let mut port = self.port(namespace, &all);
                if let Some(known) = self.claims.get(which) {
                    port = SeenPort { index: known.index, mac: known.mac, ..port };
                }
                self.claims.insert(*which, port);
            }
            Event::Unclaim(which) => drop(self.claims.remove(which)),
            Event::Arrive(_) => {}
        }
    }

    fn seen(&self) -> Seen {
        let ports = self.tenants.values().map(|tenant| &tenant.port);
        let ports = ports.chain(self.left.iter().map(|(_, port)| port)).chain(self.claims.values());
        seen(ports.cloned())
    }

    fn pods(&self) -> Vec<Pod> {
        let there = self.tenants.iter().filter(|(_, tenant)| tenant.is_reported);
        let pods = there.map(|(place, tenant)| {
            let created = i64::from(tenant.port.index.0);
            Pod { created, ..pod(&tenant.name, &[&address(*place)]) }
        });
        pods.chain([pod("attacker", &[ATTACKER])]).collect()
    }

    /// An address of a pod whose interface is there is that interface's. While another
    /// interface has it or had it, it can be nobody's, so that nobody can use it. Or an
    /// interface holds it that another pod left behind.
    fn check(&self, resolved: &Resolved) {
        let ports = &resolved.network.ports;
        let holders = |wanted: IpAddr| {
            let of = ports.iter().filter(move |(_, port)| port.addresses.contains(&wanted));
            of.map(|(index, _)| *index).collect::<Vec<_>>()
        };
        for (place, tenant) in self.tenants.iter().filter(|(_, tenant)| tenant.is_reported) {
            let holders = holders(ip(&address(*place)));
            let [holder] = holders[..] else { panic!("{tenant:?} has {holders:?}") };
            let is_left = self.left.iter().any(|(of, port)| of == place && port.index == holder);
            let is_own = [tenant.port.index, InterfaceIndex::NOBODYS].contains(&holder);
            assert!(is_own || is_left, "{tenant:?} has {holders:?}");
            let is_contested = self.left.iter().any(|(of, _)| of == place)
                || !self.claims.is_empty()
                || holder != InterfaceIndex::NOBODYS;
            assert!(is_contested, "{tenant:?} is cut off and nobody contests its address");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The agent sees some of the states, and restarts now and then.
    #[test]
    fn no_attacker_gets_the_address_of_a_pod_that_has_it(
        events in proptest::collection::vec((event(), 0..8_u8), 1..40)
    ) {
        let mut world = World::default();
        let mut last = Resolved::default();
        for (event, agent) in &events {
            world.follow(event);
            let before = match agent {
                0 => continue,
                1 => last.network.claims(),
                2 => Claims::default(),
                3.. => last.claims.clone(),
            };
            last = resolve(&world.seen(), &world.pods(), &before);
            world.check(&last);
        }
    }
}
