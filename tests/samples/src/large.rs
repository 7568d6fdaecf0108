//! The large clusters that the tools measure. They are always the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use policy::{
    IpBlock, Labels, Namespace, NetworkPolicy, ObjectKey, Peer, Peers, Phase, Pod, PodPeer, Port,
    PortNumbers, Ports, Protocol, Requirement, Rule, Selector, Snapshot, cidr,
};

/// The node to compile for.
pub const NODE: &str = "node-0";
/// Pods on each node.
const PODS_A_NODE: usize = 250;
/// Namespaces whose pods are spread over the same nodes.
const NAMESPACES_A_GROUP: usize = 100;
/// Namespaces of a team. Its peers are in the same group.
const NAMESPACES_A_TEAM: usize = 10;
const PODS_A_NAMESPACE: usize = 100;
const POLICIES_A_NAMESPACE: usize = 10;

/// 10,000 dual-stack pods in 100 namespaces, 250 of them on [`NODE`], and 1,000
/// policies. Each namespace has ten applications of ten pods, and one policy for
/// each application.
///
/// # Errors
/// When one of its CIDRs is wrong.
pub fn large() -> Result<Snapshot> {
    sized(NAMESPACES_A_GROUP)
}

/// As [`large`], with this many namespaces of 100 pods and 10 policies, up to 10,000.
///
/// [`NODE`] always has 250 pods, and all sets have the same number of members. From
/// 10,000 pods on, the node's table is the same, too: the further pods are groups that
/// have nodes and teams of their own. So what costs more in a larger cluster costs with
/// the cluster, not with the change.
///
/// # Errors
/// As [`large`].
pub fn sized(namespaces: usize) -> Result<Snapshot> {
    Shape::new(namespaces).snapshot(namespaces)
}

/// This many namespaces of [`large`], with their pods and policies.
///
/// # Errors
/// As [`large`].
pub fn first(count: usize) -> Result<Snapshot> {
    Shape::new(NAMESPACES_A_GROUP).snapshot(count)
}

/// A policy that lets every pod of the cluster into the application of
/// [`local_pod`]. Its set has a member for each address.
pub fn everyone() -> NetworkPolicy {
    let peer = PodPeer { namespaces: Some(Selector::everything()), pods: Selector::everything() };
    let rule = Rule { peers: Peers::Only(vec![Peer::Pods(peer)]), ports: tcp(9100) };
    NetworkPolicy {
        key: ObjectKey::new(namespace(0), "everyone"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: equals("app", "app-0".to_owned()),
        ingress: Some(vec![rule]),
        egress: None,
    }
}

/// The key of the policy that isolates [`local_pod`].
pub fn local_policy() -> ObjectKey {
    ObjectKey::new(namespace(0), "app-0")
}

/// The same policy with another port in its first rule.
pub fn edited(policy: &NetworkPolicy) -> NetworkPolicy {
    let mut policy = policy.clone();
    if let Some(rule) = policy.ingress.iter_mut().flatten().next() {
        rule.ports = tcp(8081);
    }
    policy
}

/// The same namespace, in no team.
pub fn without_team(namespace: &Namespace) -> Namespace {
    let name = namespace.name.clone();
    Namespace { name, labels: Labels::default(), is_ending: false, switch: Default::default() }
        .with_metadata_name()
}

/// A pod like [`local_pod`] that is not in any cluster: what it needs, an equal pod on
/// the node has already.
pub fn newcomer(local_pod: &Pod) -> Pod {
    let addresses = vec![
        IpAddr::V4(Ipv4Addr::new(10, 128, 0, 1)),
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 1, 0, 1)),
    ];
    let key = ObjectKey::new(&local_pod.key.namespace, "newcomer");
    Pod { key, addresses, ..local_pod.clone() }
}

/// How pods are spread over nodes, and namespaces over teams.
#[derive(Clone, Copy)]
struct Shape {
    /// Nodes of a group.
    nodes: usize,
    /// Teams of a group.
    teams: usize,
}

impl Shape {
    fn new(namespaces: usize) -> Self {
        let of_a_group = namespaces.clamp(1, NAMESPACES_A_GROUP);
        Self {
            nodes: (of_a_group * PODS_A_NAMESPACE).div_ceil(PODS_A_NODE),
            teams: of_a_group.div_ceil(NAMESPACES_A_TEAM),
        }
    }

    fn snapshot(self, count: usize) -> Result<Snapshot> {
        let namespaces = (0..count).map(|number| {
            let labels = [("team".to_owned(), self.team(number, 0))].into();
            Namespace {
                name: namespace(number),
                labels,
                is_ending: false,
                switch: Default::default(),
            }
            .with_metadata_name()
        });
        let mut policies = Vec::new();
        for number in 0..count {
            for app in 0..POLICIES_A_NAMESPACE {
                policies.push(self.application_policy(number, app)?);
            }
        }
        let pods = (0..count * PODS_A_NAMESPACE).map(|number| self.pod(number));
        Ok(Snapshot::new(policies, pods, namespaces))
    }

    /// The team of a namespace, or another one of the same group.
    fn team(self, namespace: usize, step: usize) -> String {
        let group = namespace / NAMESPACES_A_GROUP;
        format!("team-{}", group * self.teams + (namespace + step) % self.teams)
    }

    fn pod(self, number: usize) -> Pod {
        let [.., high, middle, low] = number.to_be_bytes();
        let group = number / (NAMESPACES_A_GROUP * PODS_A_NAMESPACE);
        let node = group * self.nodes + number % self.nodes;
        let [.., node_high, node_low] = node.to_be_bytes();
        Pod {
            key: ObjectKey::new(namespace(number / PODS_A_NAMESPACE), format!("pod-{number}")),
            // Spread the pods of one application over the nodes.
            labels: app(number / 7 % POLICIES_A_NAMESPACE),
            node: Some(format!("node-{node}")),
            addresses: vec![
                IpAddr::V4(Ipv4Addr::new(10, 64 + high, middle, low)),
                IpAddr::V6(Ipv6Addr::new(
                    0xfd00,
                    0,
                    0,
                    0,
                    0,
                    0,
                    1 + u16::from(high),
                    u16::from_be_bytes([middle, low]),
                )),
            ],
            host_addresses: vec![IpAddr::V4(Ipv4Addr::new(192, 168, node_high, node_low))],
            host_network: false,
            phase: Phase::Running,
            created: 0,
            is_ending: false,
            grace_seconds: 30,
            attachment: policy::Attachment::default(),
            ports: Vec::new(),
        }
    }

    /// Allows ingress from two applications, another team's namespaces and a block.
    /// Allows egress to two applications, name servers and outside addresses.
    fn application_policy(self, number: usize, index: usize) -> Result<NetworkPolicy> {
        let [.., high, low] = number.to_be_bytes();
        let neighbour = |step: usize| {
            let pods = equals("app", format!("app-{}", (index + step) % POLICIES_A_NAMESPACE));
            Peer::Pods(PodPeer { namespaces: None, pods })
        };
        let team = Peer::Pods(PodPeer {
            namespaces: Some(equals("team", self.team(number, index))),
            pods: equals("app", format!("app-{index}")),
        });
        let rule = |peers: Vec<Peer>, ports: Ports| Rule { peers: Peers::Only(peers), ports };
        Ok(NetworkPolicy {
            key: ObjectKey::new(namespace(number), format!("app-{index}")),
            uid: String::new(),
            audit: Default::default(),
            pod_selector: equals("app", format!("app-{index}")),
            ingress: Some(vec![
                rule(vec![neighbour(1), neighbour(2)], tcp(8080)),
                rule(vec![team], tcp(9090)),
                rule(vec![block(&format!("198.{}.{low}.0/24", 18 + high))?], tcp(443)),
            ]),
            egress: Some(vec![
                rule(vec![neighbour(9), neighbour(8)], tcp(8080)),
                Rule { peers: Peers::Anyone, ports: udp(53) },
                rule(vec![block("203.0.113.0/24")?], tcp(443)),
            ]),
        })
    }
}

/// One policy of this many rules, and its pod on [`NODE`]. Each rule has another block
/// and another port.
///
/// # Errors
/// As [`large`].
pub fn many_rules(count: u16) -> Result<Snapshot> {
    let rules: Result<Vec<Rule>> = (0..count)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let peers = Peers::Only(vec![block(&format!("172.16.{high}.{low}/32"))?]);
            Ok(Rule { peers, ports: tcp(1024u16.wrapping_add(number)) })
        })
        .collect();
    let policy = NetworkPolicy {
        key: ObjectKey::new(namespace(0), "many"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(rules?),
        egress: None,
    };
    Ok(Snapshot::new([policy], [Shape::new(1).pod(0)], [Namespace::synthesised(namespace(0))]))
}

/// The key of a pod on [`NODE`].
pub fn local_pod() -> ObjectKey {
    ObjectKey::new(namespace(0), "pod-0")
}

/// The key of a pod on another node.
pub fn remote_pod() -> ObjectKey {
    ObjectKey::new(namespace(0), "pod-1")
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

#[cfg(test)]
mod tests;
