//! Random networks of a node: which pod is behind which interface.

use std::collections::{BTreeMap, BTreeSet};

use policy::{
    Claims, InterfaceIndex, Mac, NetworkNamespace, NodeNetwork, Pod, Seen, SeenAddress, SeenBridge,
    SeenPort, Snapshot, Tunnel, TunnelSources, UnknownPods, cidr, pod_ranges, resolve,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::{NAMESPACES, POD_NAMES, address};

/// How the pods of a node are connected, whichever there are.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// By the place of the pod's key among all keys.
    links: Vec<Link>,
    /// Of each bridge, whether it has a port that is no pod's.
    others: [bool; 2],
    tunnels: BTreeMap<Tunnel, TunnelSources>,
    peers: BTreeSet<&'static str>,
    unknown: Unknown,
    guards_pending: bool,
    ipvs: bool,
}

/// What becomes of addresses that no object names, and where.
#[derive(Clone, Debug)]
pub struct Unknown {
    mode: UnknownPods,
    subnets: BTreeSet<&'static str>,
}

/// Subnets of pods' addresses, and one of others.
const SUBNETS: [&str; 5] =
    ["10.0.0.0/29", "10.0.0.4/30", "10.0.0.0/24", "fd00::/125", "203.0.113.0/24"];

/// What a random node does with unknown addresses.
pub fn unknown() -> impl Strategy<Value = Unknown> {
    let modes = vec![UnknownPods::Open, UnknownPods::Selected, UnknownPods::Closed];
    let subnets = btree_set(select(SUBNETS.to_vec()), 0..3);
    (select(modes), subnets).prop_map(|(mode, subnets)| Unknown { mode, subnets })
}

impl Unknown {
    /// The network of a node on which this is all that is known.
    pub fn network(&self) -> NodeNetwork {
        NodeNetwork {
            pod_ranges: pod_ranges(self.subnets.iter().filter_map(|one| cidr::parse(one).ok())),
            unknown_pods: self.mode,
            ..NodeNetwork::default()
        }
    }
}

/// How a pod is connected.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// No interface is seen.
    None,
    /// By an interface of its own. The first number tells it from others.
    Routed(u32),
    /// By a port of a bridge. The MAC is the last number.
    Bridged(u32, usize, u8),
}

/// A random wiring. Interfaces of different wirings can have the same number.
pub fn wiring() -> impl Strategy<Value = Wiring> {
    let link = prop_oneof![
        1 => Just(Link::None),
        3 => (0..2_u32).prop_map(Link::Routed),
        // MACs collide, on one bridge and on two.
        4 => (0..2_u32, 0..2_usize, 0..40_u8).prop_map(|(index, bridge, mac)| {
            Link::Bridged(index, bridge, mac)
        }),
    ];
    let sources = prop_oneof![3 => Just(TunnelSources::Nodes), 2 => Just(TunnelSources::Any)];
    let tunnels = [Tunnel::Udp(8472), Tunnel::Udp(80), Tunnel::Protocol(4), Tunnel::Protocol(132)];
    (
        vec(link, NAMESPACES.len() * POD_NAMES.len()),
        any::<[bool; 2]>(),
        btree_map(select(tunnels.to_vec()), sources, 0..3),
        btree_set(select(vec!["192.168.0.2", "192.168.7.7", "2001:db8::7"]), 0..2),
        unknown(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(links, others, tunnels, peers, unknown, guards_pending, ipvs)| Wiring {
            links,
            others,
            tunnels,
            peers,
            unknown,
            guards_pending,
            ipvs,
        })
}

impl Wiring {
    /// The network of a node with these pods. `None` takes all pods as local.
    pub fn network(&self, snapshot: &Snapshot, node: Option<&str>) -> NodeNetwork {
        let pods = || snapshot.pods.values().map(|pod| &**pod).filter(|pod| pod.is_on(node));
        let kept = || snapshot.kept.values().filter(|kept| kept.is_on(node)).map(|kept| &*kept.pod);
        let kept = || kept().filter(|kept| pods().all(|pod| pod.key != kept.key));
        let local = || pods().chain(kept());
        let seen = Seen {
            ports: local()
                .filter(|pod| pod.is_subject())
                .filter_map(|pod| self.port(pod))
                .collect(),
            bridges: (0..2).map(|which| self.bridge(which)).collect(),
            tunnels: self.tunnels.clone(),
            tunnel_peers: self.peers.iter().map(|peer| address(peer)).collect(),
            ipvs: self.ipvs,
        };
        let NodeNetwork { pod_ranges, unknown_pods, .. } = self.unknown.network();
        let network = resolve(&seen, local(), &Claims::default()).network;
        NodeNetwork { pod_ranges, unknown_pods, guards_pending: self.guards_pending, ..network }
    }

    fn port(&self, pod: &Pod) -> Option<SeenPort> {
        let namespace = NAMESPACES.iter().position(|name| *name == pod.key.namespace)?;
        let name = POD_NAMES.iter().position(|name| *name == pod.key.name)?;
        let place = namespace * POD_NAMES.len() + name;
        let number =
            |turn: u32| InterfaceIndex(10 + turn * 100 + u32::try_from(place).unwrap_or(0));
        let (index, bridge, mac) = match self.links.get(place)? {
            Link::None => return None,
            Link::Routed(turn) => (number(*turn), None, 0),
            Link::Bridged(turn, bridge, mac) => (number(*turn), Some(bridge_index(*bridge)), *mac),
        };
        let created = |address: &_| SeenAddress { address: *address, created: index.0.into() };
        Some(SeenPort {
            index,
            name: format!("veth{}", index.0),
            namespace: NetworkNamespace(index.0.cast_signed()),
            bridge,
            is_uplink: false,
            mac: Mac([2, 0, 0, 0, 0, mac]),
            addresses: pod.addresses.iter().map(created).collect(),
            elsewhere: Vec::new(),
        })
    }

    fn bridge(&self, which: usize) -> SeenBridge {
        SeenBridge {
            index: bridge_index(which),
            name: format!("br{which}"),
            mac: Mac([2, 0, 0, 0, 1, 0]),
            addresses: vec![address(["10.0.0.254", "fd00::fe"][which]), address("fe80::fe")],
            subnets: Vec::new(),
            vlan_filtering: false,
            has_other_ports: self.others[which],
        }
    }
}

fn bridge_index(which: usize) -> InterfaceIndex {
    InterfaceIndex(if which == 0 { 1 } else { 2 })
}
