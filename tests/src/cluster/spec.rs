//! The description of a cluster.
//!
//! In: names, labels, ports. Out: the same with nodes and addresses given
//! out. Never: anything real.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::{Labels, NamedPort};

/// How pods hang on their node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Ports of one Linux bridge that has the gateway's address: flannel,
    /// the bridge plugin, kube-router.
    Bridge,
    /// A veth each with host routes: Calico, the ptp plugin.
    Routed,
}

/// Which families a pod has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

/// A pod.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: Labels,
    /// Index of its node.
    pub node: usize,
    /// `status.podIPs`.
    pub addresses: Vec<IpAddr>,
    /// Named ports of its one container.
    pub ports: Vec<NamedPort>,
}

/// A cluster.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// How pods hang on their nodes.
    pub network: Network,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Namespaces with their labels.
    pub namespaces: BTreeMap<String, Labels>,
    /// Pods.
    pub pods: Vec<PodSpec>,
}

impl ClusterSpec {
    /// A cluster of these nodes, as yet without pods. At most 200 nodes.
    pub fn new(network: Network, nodes: &[&str]) -> Self {
        assert!(nodes.len() <= 200, "node numbers are an octet of the addresses");
        Self {
            network,
            nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
            namespaces: BTreeMap::new(),
            pods: Vec::new(),
        }
    }

    /// The addresses of the pods of the node with this index: `10.244.1.0/24`.
    pub fn pod_range(node: usize, v6: bool) -> String {
        format!("{}/{}", pod_address(node, 0, v6), pod_prefix(v6))
    }

    /// The addresses of all pods.
    pub fn pods_range(v6: bool) -> String {
        if v6 { "fd00:10:244::/48".to_owned() } else { "10.244.0.0/16".to_owned() }
    }

    /// Adds a namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str, labels: &[(&str, &str)]) -> Self {
        self.namespaces.insert(name.to_owned(), to_labels(labels));
        self
    }

    /// Adds a pod. Nodes take turns; addresses count up from `.2`.
    #[must_use]
    pub fn pod(
        self,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        families: Families,
        ports: &[NamedPort],
    ) -> Self {
        let node = self.pods.len() % self.nodes.len();
        self.pod_on(node, namespace, name, labels, families, ports)
    }

    /// Adds a pod to the node with this index.
    #[must_use]
    pub fn pod_on(
        mut self,
        node: usize,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        families: Families,
        ports: &[NamedPort],
    ) -> Self {
        assert!(self.namespaces.contains_key(namespace), "namespace {namespace} comes first");
        let number = 2 + self.pods.iter().filter(|pod| pod.node == node).count();
        let mut addresses = Vec::new();
        if families != Families::V6 {
            addresses.push(pod_address(node, number, false));
        }
        if families != Families::V4 {
            addresses.push(pod_address(node, number, true));
        }
        self.pods.push(PodSpec {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: to_labels(labels),
            node,
            addresses,
            ports: ports.to_vec(),
        });
        self
    }
}

impl PodSpec {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The pod network's prefix of a node: `10.244.<node + 1>.` with the number.
/// 1 is the gateway.
pub(super) fn pod_address(node: usize, number: usize, v6: bool) -> IpAddr {
    let (node, number) = (octet(node + 1), octet(number));
    if v6 {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, number.into()))
    } else {
        IpAddr::V4(Ipv4Addr::new(10, 244, node, number))
    }
}

/// How many leading bits the addresses of one node's pods share.
pub(super) const fn pod_prefix(v6: bool) -> u8 {
    if v6 { 64 } else { 24 }
}

/// The address of a node on the switch.
pub(super) fn node_address(node: usize, v6: bool) -> IpAddr {
    underlay_address(octet(node + 11), v6)
}

/// An address on the switch; 1 is the outsider.
pub(super) fn underlay_address(number: u8, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, number.into()))
    } else {
        IpAddr::V4(Ipv4Addr::new(192, 168, 77, number))
    }
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).expect("at most 200 nodes and 250 pods a node")
}

fn to_labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}
