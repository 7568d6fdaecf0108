//! The binding while the node's network and its policies change: every moment of a
//! change, over all hooks and both tables that a packet passes. Random clusters and
//! networks in the simulator; no kernel.

#![expect(clippy::unwrap_used, reason = "an error in a plan or table fails the test")]

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use compiler::{Compiled, Layout, Options};
use policy::spec;
use policy::spec::binding::{Binding, isolated_pods, nodes};
use policy::spec::edges::AtEdges;
use policy::spec::frame::Message;
use policy::spec::refusal::Refusal;
use policy::{
    BoundPort, Direction, InterfaceIndex, Isolation, Mac, NodeNetwork, ObjectKey, Owners, Snapshot,
    isolation, subjects,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use ruleset::plan::plan;
use ruleset::simulator::{
    Content, Frame, Outcome, Packet, Passage, Witness, possible_outcomes_along, simulate_at,
};
use ruleset::{Hook, Ruleset, TableFamily};
use samples::frames::{self, AnyFrame};
use samples::from_scratch::compiled_on;
use samples::judge::{self, NodeVerdict, is_forwarded};
use samples::random::{self, NODES};

const NODE: &str = NODES[0].0;
const NODE_ADDRESS: &str = NODES[0].1;

/// As in `meaning.rs`.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default,
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), ..default },
    }
}

fn options() -> Options {
    Options { node: Some(NODE.to_owned()), ..Options::default() }
}

/// All that decides about a packet, and the tables for it.
struct State {
    snapshot: Snapshot,
    network: NodeNetwork,
    isolated: BTreeSet<ObjectKey>,
    nodes: BTreeSet<IpAddr>,
    at_edges: AtEdges,
    tables: Compiled,
}

impl State {
    fn new(snapshot: Snapshot, network: NodeNetwork) -> Self {
        Self {
            isolated: isolated_pods(&snapshot, Some(NODE)),
            nodes: nodes(&snapshot, &network),
            at_edges: AtEdges::of(&snapshot, &network, Some(NODE)),
            tables: compiled_on(&snapshot, &network, &options()),
            snapshot,
            network,
        }
    }

    fn binding(&self) -> Binding<'_> {
        Binding { network: &self.network, isolated: &self.isolated, nodes: &self.nodes }
    }

    /// Why a packet does not pass a stop. Empty if it does.
    fn refuses(&self, owners: &Owners<'_>, stop: &Stop) -> BTreeSet<Reason> {
        let Stop { table, hook, packet } = stop;
        if (*table, *hook) == (TableFamily::Inet, Hook::Forward) {
            return self.stops_forwarding(owners, packet);
        }
        frames::said(&self.binding(), *table, *hook, packet)
            .map(Reason::Binding)
            .into_iter()
            .collect()
    }

    /// Redirects, the edges, rules D and T, and the policies. Policies alone judge what
    /// goes to an address that is isolated for ingress.
    fn stops_forwarding(&self, owners: &Owners<'_>, packet: &Packet) -> BTreeSet<Reason> {
        let ip = frames::ip(packet);
        match self.at_edges.judge(&ip, packet.to_host) {
            _ if ip.body.message() == Message::Redirect => return [Reason::Redirect].into(),
            Some(true) => return BTreeSet::new(),
            Some(false) => return [Reason::Edges].into(),
            None => {}
        }
        let there = subjects(&self.snapshot, Some(NODE), packet.destination);
        let isolated_there =
            isolation(&self.snapshot, &there, Direction::Ingress) != Isolation::None;
        let output = InterfaceIndex(packet.frame.out_interface);
        let unreported = self.binding().leaves_node(output, packet.destination).err();
        let said = judge::in_the_specification(packet);
        let policies = NodeVerdict::on(&self.network, &self.snapshot, owners, Some(NODE), &said);
        let reasons = [
            self.binding().crosses_node(&ip).err().map(Reason::Binding),
            unreported.filter(|_| !isolated_there).map(Reason::Binding),
            (!policies.egress).then_some(Reason::Policies(Direction::Egress)),
            (!policies.ingress).then_some(Reason::Policies(Direction::Ingress)),
        ];
        reasons.into_iter().flatten().collect()
    }

    fn bridge(&self) -> Ruleset {
        let name = &self.tables.ruleset.table;
        self.tables.bridge.clone().unwrap_or_else(|| Ruleset::bridge(name.clone()))
    }
}

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Binding(Refusal),
    Edges,
    Redirect,
    Policies(Direction),
}

/// A hook on a packet's way, and the packet there.
#[derive(Clone, Debug)]
struct Stop {
    table: TableFamily,
    hook: Hook,
    packet: Packet,
}

/// A packet, and where it goes.
#[derive(Clone, Debug)]
struct Trip {
    frame: AnyFrame,
    out: Index,
    /// Whether the destination and its MAC are those of the port where it goes out.
    arrives: bool,
    address: Index,
    to_node: bool,
    /// Whether it is for many: one of [`GROUPS`], and a frame for all.
    group: Option<usize>,
}

/// Groups of one link and of several, and all hosts of a link.
const GROUPS: [[IpAddr; 2]; 3] = [
    [v4(224, 0, 0, 251), v6(0xff02, 0xfb)],
    [v4(239, 1, 2, 3), v6(0xff05, 0x1_3)],
    [v4(255, 255, 255, 255), v6(0xff02, 1)],
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(first: u16, last: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last))
}

fn trip() -> impl Strategy<Value = Trip> {
    let out = (any::<Index>(), prop::bool::weighted(0.7), any::<Index>());
    let group = prop::option::weighted(0.2, 0..GROUPS.len());
    (frames::any(), out, prop::bool::weighted(0.2), group).prop_map(
        |(frame, (out, arrives, address), to_node, group)| Trip {
            frame,
            out,
            arrives,
            address,
            to_node: to_node && group.is_none(),
            group,
        },
    )
}

impl Trip {
    /// The stops of this trip in a network.
    fn stops(&self, network: &NodeNetwork) -> Vec<Stop> {
        let first = self.frame.at(network, TableFamily::Bridge, Hook::Prerouting);
        let input = InterfaceIndex(first.frame.in_interface);
        let bridge = network.ports.get(&input).and_then(|port| port.bridge);
        let ports: Vec<(&InterfaceIndex, &BoundPort)> = network.ports.iter().collect();
        let out = (!ports.is_empty()).then(|| ports[self.out.index(ports.len())]);
        let mut packet = first;
        if let Some((_, port)) = out.filter(|_| self.arrives && !self.to_node) {
            let of_family = |one: &&IpAddr| one.is_ipv4() == packet.source.is_ipv4();
            let own: Vec<IpAddr> = port.addresses.iter().filter(of_family).copied().collect();
            if !own.is_empty() {
                packet.destination = own[self.address.index(own.len())];
            }
            packet.frame.destination_mac = port.mac.0;
        }
        if let Some(group) = self.group {
            packet.to_host = false;
            packet.frame.destination_mac = [0xff; 6];
            packet.destination = GROUPS[group][usize::from(packet.source.is_ipv6())];
        }
        let stop = |table, hook, input: u32, output: u32| {
            let frame = Frame { in_interface: input, out_interface: output, ..packet.frame };
            let tag = frame.tag.filter(|_| table == TableFamily::Bridge);
            Stop { table, hook, packet: Packet { frame: Frame { tag, ..frame }, ..packet } }
        };
        let mut stops = Vec::new();
        if bridge.is_some() {
            stops.push(stop(TableFamily::Bridge, Hook::Prerouting, input.0, 0));
        }
        let is_ip = packet.frame.content == Content::Ip;
        let (arrives_by, leaves_by) = (
            bridge.unwrap_or(input).0,
            out.map_or(0, |(index, port)| port.bridge.unwrap_or(*index).0),
        );
        // br_netfilter hands on no tagged frames.
        if is_ip && packet.frame.tag.is_none() {
            stops.push(stop(TableFamily::Inet, Hook::Prerouting, arrives_by, 0));
            if self.to_node {
                stops.push(stop(TableFamily::Inet, Hook::Input, arrives_by, 0));
            } else if is_judged(&packet) {
                stops.push(stop(TableFamily::Inet, Hook::Forward, arrives_by, leaves_by));
            }
        }
        if let Some((index, port)) = out.filter(|_| !self.to_node)
            && port.bridge.is_some()
        {
            stops.push(stop(TableFamily::Bridge, Hook::Postrouting, 0, index.0));
        }
        stops
    }
}

/// Whether the forward hook sees it: not from a host without an address, and not from or
/// to the node itself.
fn is_judged(packet: &Packet) -> bool {
    !packet.source.is_unspecified()
        && !packet.destination.is_unspecified()
        && is_forwarded(NODE_ADDRESS, &judge::in_the_specification(packet))
}

/// A change of one port. An address never moves from one living interface to another,
/// so there is no such change.
#[derive(Clone, Debug)]
enum Rewire {
    /// A port goes; backwards: it comes.
    Gone,
    /// Its pod has another MAC.
    Mac,
    /// Its pod has lost an address.
    Address(Index),
    /// It has left its bridge.
    Routed,
    /// It is gone, and another one has its addresses.
    Replaced,
    /// The tunnels go.
    Tunnels,
}

fn rewire() -> impl Strategy<Value = Rewire> {
    prop_oneof![
        3 => Just(Rewire::Gone),
        2 => Just(Rewire::Mac),
        2 => any::<Index>().prop_map(Rewire::Address),
        1 => Just(Rewire::Routed),
        3 => Just(Rewire::Replaced),
        1 => Just(Rewire::Tunnels),
    ]
}

impl Rewire {
    fn apply(&self, network: &NodeNetwork, at: Index) -> Option<NodeNetwork> {
        let mut network = network.clone();
        let keys: Vec<InterfaceIndex> = network.ports.keys().copied().collect();
        let key = *keys.get(at.index(keys.len().max(1)))?;
        let port = network.ports.get(&key)?.clone();
        match self {
            Self::Gone => drop(network.ports.remove(&key)),
            Self::Mac => {
                network.ports.insert(key, BoundPort { mac: Mac([2, 0, 0, 0, 8, 8]), ..port });
            }
            Self::Address(of) => {
                let address = *port.addresses.iter().nth(of.index(port.addresses.len().max(1)))?;
                network.ports.get_mut(&key)?.addresses.remove(&address);
            }
            Self::Routed => drop(network.ports.insert(key, BoundPort { bridge: None, ..port })),
            Self::Replaced => {
                network.ports.remove(&key);
                network.ports.insert(InterfaceIndex(key.0 + 1_000), port);
            }
            Self::Tunnels => network.tunnels.clear(),
        }
        let used: BTreeSet<InterfaceIndex> =
            network.ports.values().filter_map(|port| port.bridge).collect();
        let bridges = network.bridges.into_iter();
        network.bridges = bridges.filter(|(index, _)| used.contains(index)).collect();
        Some(network)
    }
}

/// Whether one network is the other with a port gone: another one has its addresses, so
/// nothing comes from it any more.
fn is_replaced(network: &NodeNetwork, later: &NodeNetwork, at: InterfaceIndex) -> bool {
    network.ports.get(&at).is_some_and(|port| {
        later
            .ports
            .iter()
            .any(|(index, one)| *index != at && !one.addresses.is_disjoint(&reported(port)))
    })
}

/// The addresses that are a pod's beyond its own link.
fn reported(port: &BoundPort) -> BTreeSet<IpAddr> {
    let beyond = |address: &&IpAddr| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    };
    port.addresses.iter().filter(beyond).copied().collect()
}

/// Whether a bound address goes to another port. Then the former port is gone, and two
/// hooks can deny for different reasons before and after.
fn moves(before: &NodeNetwork, after: &NodeNetwork) -> bool {
    let place = |network: &NodeNetwork, address: &IpAddr| {
        let mut ports = network.ports.iter();
        let found = ports.find(|(_, port)| port.addresses.contains(address));
        found.map(|(index, port)| (*index, port.bridge))
    };
    before.ports.values().flat_map(reported).any(|address| {
        let then = place(after, &address);
        then.is_some() && then != place(before, &address)
    })
}

/// Whether a packet leaves by another interface than that of its destination. The node
/// routes an address to the interface that has it.
fn is_astray(stops: &[Stop], network: &NodeNetwork) -> bool {
    stops.iter().any(|stop| {
        let Packet { destination, frame, .. } = &stop.packet;
        let to = InterfaceIndex(frame.out_interface);
        let mut ports = network.ports.iter();
        let has = |port: &BoundPort| reported(port).contains(destination);
        let there = ports.find(|(_, port)| has(port)).map(|(index, port)| match stop.table {
            TableFamily::Inet => port.bridge.unwrap_or(*index),
            TableFamily::Bridge => *index,
        });
        to.0 != 0 && there.is_some_and(|there| there != to)
    })
}

/// Whether this is a router's message from a port that becomes or ceases to be a pod's.
/// Its address is known to be its own a moment before the port is known to be a pod's.
/// Until then it could say the same from any address that is nobody's.
fn is_of_new_router(stops: &[Stop], before: &NodeNetwork, after: &NodeNetwork) -> bool {
    stops.iter().any(|stop| {
        let at = InterfaceIndex(stop.packet.frame.in_interface);
        let says = match frames::ip(&stop.packet).body.message() {
            Message::RouterAdvertisement | Message::Redirect => true,
            Message::ListenerDiscovery
            | Message::NeighbourSolicitation(_)
            | Message::NeighbourAdvertisement(_)
            | Message::None => false,
        };
        says && before.ports.contains_key(&at) != after.ports.contains_key(&at)
    })
}

/// Whether this is ARP from a port that has another MAC afterwards. Both MACs are its
/// own for a moment, and ARP names two.
fn is_arp_of_two_macs(stops: &[Stop], before: &NodeNetwork, after: &NodeNetwork) -> bool {
    stops.iter().any(|stop| {
        let at = InterfaceIndex(stop.packet.frame.in_interface);
        let mac = |network: &NodeNetwork| network.ports.get(&at).map(|port| port.mac);
        matches!(stop.packet.frame.content, Content::Arp(_)) && mac(before) != mac(after)
    })
}

/// Whether a frame to its own source's MAC leaves by another port. A bridge learns the
/// source before it looks the destination up, so such a frame goes nowhere
/// (`br_handle_frame_finish`, net/bridge/br_input.c, Linux 6.18).
fn is_to_its_source(stops: &[Stop]) -> bool {
    let from = stops.first().map(|stop| stop.packet.frame.in_interface);
    stops.iter().any(|stop| {
        let Frame { source_mac, destination_mac, out_interface, .. } = stop.packet.frame;
        let is_out = stop.table == TableFamily::Bridge && stop.hook == Hook::Postrouting;
        is_out && source_mac == destination_mac && Some(out_interface) != from
    })
}

/// A network whose guards are all in force.
fn in_force(network: NodeNetwork) -> NodeNetwork {
    NodeNetwork { guards_pending: false, ..network }
}

/// Whether a frame leaves by the port that it came in by. Only a hairpin port does that
/// (`should_deliver`, net/bridge/br_forward.c, Linux 6.18), and then a pod hears itself.
fn is_to_itself(stops: &[Stop]) -> bool {
    let from = stops.first().map(|stop| stop.packet.frame.in_interface);
    stops.iter().any(|stop| {
        let is_out = stop.table == TableFamily::Bridge && stop.hook == Hook::Postrouting;
        is_out && Some(stop.packet.frame.out_interface) == from
    })
}

/// The states of both tables while plans are committed, one after the other: `inet`
/// first, unless [`Layout::bridge_goes_first`]. Where it must wait for guards, it is
/// one that leaves nothing to them, and goes once more afterwards.
fn history(before: &State, after: &State) -> [Vec<Ruleset>; 2] {
    let (old, new) = (before.tables.bridge.as_ref(), after.tables.bridge.as_ref());
    let last = &after.tables.ruleset;
    let first = match waits(before, after) {
        true => {
            let network = NodeNetwork { guards_pending: true, ..after.network.clone() };
            compiled_on(&after.snapshot, &network, &options()).ruleset
        }
        false => last.clone(),
    };
    let inet = states(&before.tables.ruleset, &first);
    let bridge = states(&before.bridge(), &after.bridge());
    let again = states(&first, last).split_off(1);
    let hold = |state: &Ruleset, times: usize| vec![state.clone(); times];
    let (inet_more, bridge_more) = (inet.len() - 1, bridge.len() - 1);
    let [mut inet, mut bridge] = match Layout::bridge_goes_first(old, new) {
        true => [
            [hold(&inet[0], bridge_more), inet].concat(),
            [bridge.clone(), hold(&bridge[bridge_more], inet_more)].concat(),
        ],
        false => [
            [inet.clone(), hold(&inet[inet_more], bridge_more)].concat(),
            [hold(&bridge[0], inet_more), bridge].concat(),
        ],
    };
    bridge.extend(hold(&after.bridge(), again.len()));
    inet.extend(again);
    [inet, bridge]
}

/// Whether `inet` shuts for all what goes to many, until guards are in force.
fn waits(before: &State, after: &State) -> bool {
    let in_force = [Some(&before.tables.ruleset), before.tables.bridge.as_ref()];
    let wanted = (&after.tables.ruleset, after.tables.bridge.as_ref());
    Layout::waits_for_guards(in_force, wanted)
}

fn states(old: &Ruleset, new: &Ruleset) -> Vec<Ruleset> {
    let mut states = vec![old.clone()];
    for batch in plan(Some(old), new).unwrap() {
        let mut next = states.last().unwrap().clone();
        next.apply(&batch).unwrap();
        states.push(next);
    }
    states
}

/// `one`: one thing changes. Then a packet that both states deny is dropped throughout,
/// and one that both let pass is never dropped, but for what goes to many while a guard is
/// to come. Otherwise only what both deny for one
/// reason is dropped throughout.
fn check(before: &State, after: &State, trips: &[Trip], one: bool) -> Result<(), TestCaseError> {
    let owners = [spec::owners(&before.snapshot), spec::owners(&after.snapshot)];
    let histories = &history(before, after);
    let waits = waits(before, after);
    let one = one && !moves(&before.network, &after.network);
    for trip in trips {
        for stops in [trip.stops(&before.network), trip.stops(&after.network)] {
            if is_excluded(&stops, &before.network, &after.network) {
                continue;
            }
            let reasons: Vec<_> = stops
                .iter()
                .map(|stop| (before.refuses(&owners[0], stop), after.refuses(&owners[1], stop)))
                .collect();
            let first = reasons.iter().all(|(first, _)| first.is_empty());
            let then = reasons.iter().all(|(_, then)| then.is_empty());
            let for_one_reason = reasons.iter().any(|(first, then)| !first.is_disjoint(then));
            let denied = if one { !first && !then } else { for_one_reason };
            let waits = waits && trip.group.is_some();
            let wrong = match (denied, first && then && one && !waits) {
                (true, _) => Outcome::Accept,
                (false, true) => Outcome::Drop,
                (false, false) => continue,
            };
            if let Some(witness) = possible(wrong, histories, &stops) {
                let context = [before, after].map(|state| &state.network);
                prop_assert!(false, "{wrong:?}: {witness}\n{stops:?}\n{reasons:?}\n{context:?}");
            }
        }
    }
    Ok(())
}

/// How a packet that meets at most one commit on its way can have this outcome.
fn possible(
    outcome: Outcome,
    [inet, bridge]: &[Vec<Ruleset>; 2],
    stops: &[Stop],
) -> Option<Witness> {
    let passage = |stop: &Stop| Passage {
        history: match stop.table {
            TableFamily::Inet => inet,
            TableFamily::Bridge => bridge,
        },
        hook: stop.hook,
        packet: stop.packet,
    };
    let way: Vec<Passage<'_>> = stops.iter().map(passage).collect();
    let possible = possible_outcomes_along(&way, 1).unwrap();
    match outcome {
        Outcome::Accept => possible.accept,
        Outcome::Drop => possible.drop,
    }
}

/// Ways that no packet goes, and those that no order of the changes suits.
fn is_excluded(stops: &[Stop], before: &NodeNetwork, after: &NodeNetwork) -> bool {
    let from = stops.first().map(|stop| InterfaceIndex(stop.packet.frame.in_interface));
    is_to_its_source(stops)
        || is_to_itself(stops)
        || [before, after].into_iter().any(|network| is_astray(stops, network))
        || from.is_some_and(|from| is_replaced(before, after, from))
        || is_arp_of_two_macs(stops, before, after)
        || is_of_new_router(stops, before, after)
}

proptest! {
    #![proptest_config(cases(80))]

    #[test]
    fn the_tables_mean_what_the_specification_says(
        snapshot in random::snapshot(), wiring in random::wiring(),
        trips in prop::collection::vec(trip(), 300),
    ) {
        let network = wiring.network(&snapshot, Some(NODE));
        let state = State::new(snapshot, network);
        let owners = spec::owners(&state.snapshot);
        let bridge = state.bridge();
        for stop in trips.iter().flat_map(|trip| trip.stops(&state.network)) {
            let table = match stop.table {
                TableFamily::Inet => &state.tables.ruleset,
                TableFamily::Bridge => &bridge,
            };
            let seen = simulate_at(table, stop.hook, &stop.packet).unwrap();
            prop_assert_eq!(
                seen.outcome == Outcome::Accept, state.refuses(&owners, &stop).is_empty(),
                "{:#?}: {:?}", stop, seen
            );
        }
    }

    #[test]
    fn no_packet_meets_a_mixture_while_one_port_changes(
        snapshot in random::snapshot(), wiring in random::wiring(),
        rewire in rewire(), at in any::<Index>(), backwards in any::<bool>(),
        trips in prop::collection::vec(trip(), 40),
    ) {
        let network = in_force(wiring.network(&snapshot, Some(NODE)));
        if let Some(other) = rewire.apply(&network, at) {
            let (one, other) =
                (State::new(snapshot.clone(), network), State::new(snapshot, other));
            let (before, after) = if backwards { (other, one) } else { (one, other) };
            // Rule S ends for an address where rule D begins: no order suits both.
            let one = !matches!(rewire, Rewire::Address(_));
            check(&before, &after, &trips, one)?;
        }
    }

    /// The pods' ports stay as they are, but whether they are guarded follows the
    /// policies.
    #[test]
    fn no_packet_meets_a_mixture_while_one_object_changes(
        (before, after) in random::single_change(), wiring in random::wiring(),
        trips in prop::collection::vec(trip(), 40),
    ) {
        let networks =
            [&before, &after].map(|snapshot| in_force(wiring.network(snapshot, Some(NODE))));
        let [first, then] = networks;
        check(&State::new(before, first), &State::new(after, then), &trips, true)?;
    }

    #[test]
    fn what_is_denied_for_one_reason_before_and_after_never_passes_while_much_changes(
        (before, after) in random::many_changes(),
        (wiring, rewired) in (random::wiring(), random::wiring()),
        trips in prop::collection::vec(trip(), 40),
    ) {
        let first = in_force(wiring.network(&before, Some(NODE)));
        let then = in_force(rewired.network(&after, Some(NODE)));
        check(&State::new(before, first), &State::new(after, then), &trips, false)?;
    }
}
