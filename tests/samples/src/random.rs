//! Random clusters, small enough that their objects collide.
//!
//! Generates snapshots, changes of them, histories as watches deliver them, and
//! packets between all addresses that matter.

mod draws;
mod edit;
mod further;
mod history;
mod network;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use policy::spec::{Packet, ProtocolPort};
use policy::{
    Audit, IpBlock, Kept, KeptFor, Labels, Mode, NamedPort, Namespace, NetworkPolicy, ObjectKey,
    Operator, Peer, Peers, Phase, Pod, PodPeer, Port, PortNumbers, Ports, Protocol, Requirement,
    Rule, Selector, Snapshot, Switch, cidr,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub use draws::Draws;
pub use edit::{Edit, edit, upheaval};
pub use further::{further_networks, moved};
pub use history::{Delivery, Grouping, Step, Watches, step};
pub use network::{Unknown, Wiring, unknown, wiring};

/// The nodes of a random cluster, with their addresses.
pub const NODES: [(&str, &str); 2] = [("n1", "192.168.0.1"), ("n2", "192.168.0.2")];
const NAMESPACES: [&str; 3] = ["a", "a-b", "c"];
const POD_NAMES: [&str; 4] = ["p", "q", "b-c", "r"];
const POLICY_NAMES: [&str; 4] = ["b-c", "c", "one", "two"];
const CIDRS: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/29",
    "10.0.0.2/32",
    "203.0.113.0/24",
    "::/0",
    "fd00::/64",
    "fd00::2/128",
];
const EXCEPTS: [&str; 7] = [
    "10.0.0.0/30",
    "10.0.0.2/32",
    "10.0.0.4/31",
    "203.0.113.5/32",
    "fd00::2/128",
    "fd00::/126",
    "10.0.0.6/32",
];
/// Addresses that belong to no pod.
const OUTSIDERS: [&str; 4] = ["203.0.113.5", "203.0.113.6", "2001:db8::1", "fd00::99"];

/// A random cluster.
pub fn snapshot() -> impl Strategy<Value = Snapshot> {
    of(0..6, 1..7)
}

/// A random cluster with something to lose.
pub fn crowd() -> impl Strategy<Value = Snapshot> {
    of(3..8, 8..16)
}

/// A random cluster with this many policies and pods. Objects with the same name
/// replace each other, so there may be fewer.
fn of(policies: Range<usize>, pods: Range<usize>) -> impl Strategy<Value = Snapshot> {
    let namespaces = subsequence(NAMESPACES.to_vec(), 2..=3)
        .prop_flat_map(|names| names.into_iter().map(namespace).collect::<Vec<_>>());
    let objects = (vec(policy(), policies), vec(pod(), pods), namespaces);
    let kept = prop_oneof![3 => Just(Vec::new()), 2 => vec(kept(), 1..3)];
    (objects, kept).prop_map(|((policies, pods, namespaces), kept)| Snapshot {
        kept: kept.into_iter().map(|(address, kept)| (address, Arc::new(kept))).collect(),
        ..Snapshot::new(policies, pods, namespaces)
    })
}

/// An address that is kept although no object reports it, or although one does.
fn kept() -> impl Strategy<Value = (IpAddr, Kept)> {
    let address =
        (1u8..8, any::<bool>()).prop_map(|(last, v6)| if v6 { pod_v6(last) } else { pod_v4(last) });
    (address, pod(), prop::bool::weighted(0.3)).prop_map(|(address, pod, shut)| {
        let kept = match shut {
            true => Kept {
                pod: Arc::new(Kept::stand_in(Kept::key_of_restart(address), vec![address])),
                why: KeptFor::Restart,
            },
            false => Kept { pod: Arc::new(pod), why: KeptFor::Running },
        };
        (address, kept)
    })
}

/// A cluster, and the same cluster after one pod or policy changed, appeared or
/// disappeared.
pub fn single_change() -> impl Strategy<Value = (Snapshot, Snapshot)> {
    let of_one_pod_or_policy = |edit: &Edit| !matches!(edit, Edit::SetNamespace(_));
    changed_by(edit().prop_filter("not a namespace", of_one_pod_or_policy))
}

/// A cluster, and the same cluster after a namespace appeared or was relabelled.
pub fn namespace_change() -> impl Strategy<Value = (Snapshot, Snapshot)> {
    changed_by(select(NAMESPACES.to_vec()).prop_flat_map(namespace).prop_map(Edit::SetNamespace))
}

fn changed_by(edit: impl Strategy<Value = Edit>) -> impl Strategy<Value = (Snapshot, Snapshot)> {
    (snapshot(), edit).prop_map(|(before, edit)| {
        let mut after = before.clone();
        edit.apply(&mut after);
        (before, after)
    })
}

/// A cluster, and the same cluster after several changes at once.
pub fn many_changes() -> impl Strategy<Value = (Snapshot, Snapshot)> {
    (snapshot(), vec(edit(), 2..8)).prop_map(|(before, edits)| {
        let mut after = before.clone();
        edits.iter().for_each(|edit| edit.apply(&mut after));
        (before, after)
    })
}

/// The same, and also addresses that move between pods, and pods that end.
pub fn many_upheavals() -> impl Strategy<Value = (Snapshot, Snapshot)> {
    (snapshot(), vec(upheaval(), 2..8)).prop_map(|(before, edits)| {
        let mut after = before.clone();
        edits.iter().for_each(|edit| edit.apply(&mut after));
        (before, after)
    })
}

/// Packets between all addresses of these snapshots, outsiders and nodes. Their
/// ports are on both sides of every range in the policies.
pub fn packets(snapshots: &[&Snapshot]) -> Vec<Packet> {
    let pods = snapshots.iter().flat_map(|snapshot| snapshot.pods.values());
    let mut addresses: Vec<IpAddr> = pods.flat_map(|pod| pod.addresses.clone()).collect();
    addresses.extend(snapshots.iter().flat_map(|snapshot| snapshot.kept.keys()));
    addresses.extend(OUTSIDERS.iter().chain(NODES.iter().map(|(_, ip)| ip)).map(|ip| address(ip)));
    addresses.sort();
    addresses.dedup();
    let transports = [
        ProtocolPort::Port(Protocol::Tcp, 80),
        ProtocolPort::Port(Protocol::Tcp, 81),
        ProtocolPort::Port(Protocol::Tcp, 8080),
        ProtocolPort::Port(Protocol::Udp, 80),
        ProtocolPort::Port(Protocol::Sctp, 80),
        ProtocolPort::Other(1),
        ProtocolPort::Other(58),
    ];
    let pairs = addresses.iter().flat_map(|source| addresses.iter().map(move |to| (*source, *to)));
    pairs
        .filter(|(source, destination)| source.is_ipv4() == destination.is_ipv4())
        .flat_map(|(source, destination)| {
            transports.map(|transport| Packet { source, destination, transport })
        })
        .collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address literal")
}

fn pod_v4(last: u8) -> IpAddr {
    address(&format!("10.0.0.{last}"))
}

fn pod_v6(last: u8) -> IpAddr {
    address(&format!("fd00::{last}"))
}

fn namespace(name: &'static str) -> impl Strategy<Value = Namespace> {
    labels().prop_map(move |labels| {
        Namespace { labels, ..Namespace::synthesised(name) }.with_metadata_name()
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(select(vec!["app", "tier"]), select(vec!["x", "y", ""]), 0..3).prop_map(owned)
}

fn owned(labels: BTreeMap<&str, &str>) -> Labels {
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn key(names: &[&'static str]) -> impl Strategy<Value = ObjectKey> + use<> {
    (select(NAMESPACES.to_vec()), select(names.to_vec()))
        .prop_map(|(namespace, name)| ObjectKey::new(namespace, name))
}

fn pod() -> impl Strategy<Value = Pod> {
    let phase = prop_oneof![8 => Just(Phase::Running), 1 => Just(Phase::Succeeded), 1 => Just(Phase::Pending)];
    let addresses = (option::weighted(0.9, 1u8..8), option::weighted(0.5, 1u8..8));
    let node = select(NODES.to_vec());
    let ports = vec((select(vec!["http", "alt"]), protocol(), select(vec![80u16, 81, 8080])), 0..3);
    let life = (phase, 0i64..3, prop::bool::weighted(0.2));
    let rest = (life, addresses, node, prop::bool::weighted(0.1), ports);
    (key(&POD_NAMES), labels(), rest).prop_map(
        |(key, labels, (life, (v4, v6), (node, host), host_network, ports))| {
            let (phase, created, is_ending) = life;
            let (v4, v6) = (v4.map(pod_v4), v6.map(pod_v6));
            let addresses = match host_network {
                true => vec![address(host)],
                false => v4.into_iter().chain(v6).collect(),
            };
            let ports = ports
                .into_iter()
                .map(|(name, protocol, port)| NamedPort { name: name.to_owned(), protocol, port })
                .collect();
            Pod {
                key,
                labels,
                node: Some(node.to_owned()),
                addresses,
                host_addresses: vec![address(host)],
                host_network,
                phase,
                created,
                is_ending,
                grace_seconds: 30,
                attachment: policy::Attachment::default(),
                ports,
            }
        },
    )
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
    let rules = || option::weighted(0.6, vec(rule(), 0..4));
    (key(&POLICY_NAMES), selector(), rules(), rules(), audit()).prop_map(
        |(key, pod_selector, ingress, egress, audit)| NetworkPolicy {
            key,
            uid: String::new(),
            pod_selector,
            ingress,
            egress,
            audit,
        },
    )
}

/// Most policies say nothing, and are enforced.
fn audit() -> impl Strategy<Value = Audit> {
    let mode = prop_oneof![
        3 => Just(None),
        1 => select(Mode::BOTH.to_vec()).prop_map(Some),
    ];
    mode.prop_map(|mode| Audit::written(Switch { mode, until: None }))
}

fn selector() -> impl Strategy<Value = Selector> {
    let values = || vec(select(vec!["x", "y", ""]), 1..3);
    let to_set = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
    let operator = prop_oneof![
        4 => values().prop_map(move |values| Operator::In(to_set(values))),
        1 => values().prop_map(move |values| Operator::NotIn(to_set(values))),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    let requirement = (select(vec!["app", "tier"]), operator)
        .prop_map(|(key, operator)| Requirement { key: key.to_owned(), operator });
    vec(requirement, 0..3).prop_map(Selector::new)
}

fn rule() -> impl Strategy<Value = Rule> {
    let peers = prop_oneof![
        1 => Just(Peers::Anyone),
        5 => vec(peer(), 0..4).prop_map(Peers::Only),
    ];
    let ports = prop_oneof![
        2 => Just(Ports::All),
        5 => vec(port(), 0..4).prop_map(Ports::Only),
    ];
    (peers, ports).prop_map(|(peers, ports)| Rule { peers, ports })
}

fn peer() -> impl Strategy<Value = Peer> {
    let pods = (option::of(selector()), selector())
        .prop_map(|(namespaces, pods)| Peer::Pods(PodPeer { namespaces, pods }));
    let block = (select(CIDRS.to_vec()), subsequence(EXCEPTS.to_vec(), 0..4)).prop_map(
        |(block, excepts)| {
            let net = |text: &str| cidr::parse(text).expect("a CIDR literal");
            let inside = excepts
                .into_iter()
                .map(net)
                .filter(|except| IpBlock::new(net(block), [*except]).is_ok());
            Peer::IpBlock(IpBlock::new(net(block), inside).expect("excepts that lie inside"))
        },
    );
    prop_oneof![3 => pods, 2 => block]
}

fn port() -> impl Strategy<Value = Port> {
    let numbers = prop_oneof![
        1 => Just(PortNumbers::All),
        3 => select(vec![(80, 80), (81, 81), (80, 81), (1, 79), (82, 65535), (8080, 8080), (443, 443), (9, 9)])
            .prop_map(|(first, last)| PortNumbers::Range(first, last)),
        2 => select(vec!["http", "alt"]).prop_map(|name| PortNumbers::Named(name.to_owned())),
    ];
    (protocol(), numbers).prop_map(|(protocol, numbers)| Port { protocol, numbers })
}
