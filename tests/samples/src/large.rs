//! The large clusters that the tools measure. They are always the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use policy::{
    IpBlock, Labels, Namespace, NetworkPolicy, ObjectKey, Peer, Peers, Phase, Pod, PodPeer, Port,
    PortNumbers, Ports, Protocol, Requirement, Rule, Selector, Snapshot, cidr,
};

/// The node to compile for.
pub const NODE: &str = "node-0";
/// The number of nodes. Each has the same number of pods.
const NODES: usize = 40;
const NAMESPACES: usize = 100;
const PODS_A_NAMESPACE: usize = 100;
const POLICIES_A_NAMESPACE: usize = 10;

/// 10,000 dual-stack pods in 100 namespaces, 250 of them on [`NODE`], and 1,000
/// policies. Each namespace has ten applications of ten pods, and one policy for
/// each application.
///
/// # Errors
/// When one of its CIDRs is wrong.
pub fn large() -> Result<Snapshot> {
    first(NAMESPACES)
}

/// This many namespaces of [`large`], with their pods and policies.
///
/// # Errors
/// As [`large`].
pub fn first(count: usize) -> Result<Snapshot> {
    let namespaces = (0..count).map(|number| {
        let labels = [("team".to_owned(), format!("team-{}", number % 10))].into();
        Namespace { name: namespace(number), labels }.with_metadata_name()
    });
    let pods = (0..count * PODS_A_NAMESPACE).map(pod);
    let mut policies = Vec::new();
    for number in 0..count {
        for app in 0..POLICIES_A_NAMESPACE {
            policies.push(application_policy(number, app)?);
        }
    }
    Ok(Snapshot::new(policies, pods, namespaces))
}

/// One policy of 10,000 rules, and its pod on [`NODE`]. Each rule has another block
/// and another port.
///
/// # Errors
/// As [`large`].
pub fn many_rules() -> Result<Snapshot> {
    let rules: Result<Vec<Rule>> = (0..10_000u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let peers = Peers::Only(vec![block(&format!("172.16.{high}.{low}/32"))?]);
            Ok(Rule { peers, ports: tcp(1024 + number) })
        })
        .collect();
    let policy = NetworkPolicy {
        key: ObjectKey::new(namespace(0), "many"),
        uid: String::new(),
        pod_selector: Selector::everything(),
        ingress: Some(rules?),
        egress: None,
    };
    Ok(Snapshot::new([policy], [pod(0)], [Namespace::synthesised(namespace(0))]))
}

/// The key of a pod on [`NODE`].
pub fn local_pod() -> ObjectKey {
    pod(0).key
}

/// The key of a pod on another node.
pub fn remote_pod() -> ObjectKey {
    pod(1).key
}

/// Labels of another application.
pub fn relabelled(pod: &Pod) -> Pod {
    Pod { labels: app(9), ..pod.clone() }
}

fn namespace(number: usize) -> String {
    format!("ns-{number}")
}

fn app(number: usize) -> Labels {
    [("app".to_owned(), format!("app-{number}"))].into()
}

fn pod(number: usize) -> Pod {
    let [.., high, low] = number.to_be_bytes();
    let low_16 = u16::from_be_bytes([high, low]);
    Pod {
        key: ObjectKey::new(namespace(number / PODS_A_NAMESPACE), format!("pod-{number}")),
        // Spread the pods of one application over the nodes.
        labels: app(number / 7 % POLICIES_A_NAMESPACE),
        node: Some(format!("node-{}", number % NODES)),
        addresses: vec![
            IpAddr::V4(Ipv4Addr::new(10, 64, high, low)),
            IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, low_16)),
        ],
        host_addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 168, 0, (number % NODES) as u8))],
        host_network: false,
        phase: Phase::Running,
        created: 0,
        ports: Vec::new(),
    }
}

/// Allows ingress from two applications, another team's namespaces and a block.
/// Allows egress to two applications, name servers and outside addresses.
fn application_policy(number: usize, index: usize) -> Result<NetworkPolicy> {
    let neighbour = |step: usize| {
        let pods = equals("app", format!("app-{}", (index + step) % POLICIES_A_NAMESPACE));
        Peer::Pods(PodPeer { namespaces: None, pods })
    };
    let team = Peer::Pods(PodPeer {
        namespaces: Some(equals("team", format!("team-{}", (number + index) % 10))),
        pods: equals("app", format!("app-{index}")),
    });
    let rule = |peers: Vec<Peer>, ports: Ports| Rule { peers: Peers::Only(peers), ports };
    Ok(NetworkPolicy {
        key: ObjectKey::new(namespace(number), format!("app-{index}")),
        uid: String::new(),
        pod_selector: equals("app", format!("app-{index}")),
        ingress: Some(vec![
            rule(vec![neighbour(1), neighbour(2)], tcp(8080)),
            rule(vec![team], tcp(9090)),
            rule(vec![block(&format!("198.18.{number}.0/24"))?], tcp(443)),
        ]),
        egress: Some(vec![
            rule(vec![neighbour(9), neighbour(8)], tcp(8080)),
            Rule { peers: Peers::Anyone, ports: udp(53) },
            rule(vec![block("203.0.113.0/24")?], tcp(443)),
        ]),
    })
}

fn equals(key: &str, value: String) -> Selector {
    Selector::new([Requirement::equals(key, value)])
}

fn block(text: &str) -> Result<Peer> {
    Ok(Peer::IpBlock(IpBlock::new(cidr::parse(text)?, [])?))
}

fn tcp(port: u16) -> Ports {
    ports(Protocol::Tcp, port)
}

fn udp(port: u16) -> Ports {
    ports(Protocol::Udp, port)
}

fn ports(protocol: Protocol, port: u16) -> Ports {
    Ports::Only(vec![Port { protocol, numbers: PortNumbers::Range(port, port) }])
}
