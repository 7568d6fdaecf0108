//! Describes a cluster: names, labels and ports. Assigns nodes and addresses.

mod manifests;
mod model;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy::{Labels, NamedPort};

/// How pods are connected to their node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Ports of one Linux bridge that has the gateway's address: flannel, the
    /// bridge plugin, kube-router.
    Bridge,
    /// One veth per pod, with host routes: Calico, the ptp plugin.
    Routed,
    /// MacVLAN in bridge mode on the node's own interface: packets of pods cross no hook of
    /// the node. Pods and nodes are neighbours on one link. The node speaks to its own pods
    /// by a MacVLAN of its own, as operators set it up.
    Macvlan,
    /// A device that was moved into the pod's namespace, as a virtual function of a card
    /// (SR-IOV) is. A veth whose other end is on the switch stands for it.
    Moved,
}

impl Network {
    /// Whether policies are enforced in the pods' own namespaces.
    pub const fn is_past_the_node(self) -> bool {
        match self {
            Self::Macvlan | Self::Moved => true,
            Self::Bridge | Self::Routed => false,
        }
    }
}

/// How packets between pods travel from node to node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Between {
    /// By routes to the other node's pods through that node: flannel's
    /// host-gw, kube-router, Calico without encapsulation.
    #[default]
    Routes,
    /// By VXLAN, as flannel does it. The device has its own address, and a
    /// permanent neighbour and forwarding entry for each other node.
    Vxlan,
    /// By flannel's DirectRouting: routes between nodes of one subnet, VXLAN to the
    /// others.
    DirectRouting,
    /// By UDP with a TUN device, as flannel's oldest backend does it. This one
    /// carries IPv6, too.
    Udp,
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
    /// Whether it lives in its node's network namespace.
    pub host_network: bool,
    /// Named ports of its only container.
    pub ports: Vec<NamedPort>,
}

/// A cluster.
#[derive(Clone, Debug)]
pub struct TestbedSpec {
    /// How pods are connected to their nodes.
    pub network: Network,
    /// How packets between pods travel from node to node.
    pub between: Between,
    /// The node that is in another subnet, behind a router.
    pub far: Option<usize>,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Namespaces with their labels.
    pub namespaces: BTreeMap<String, Labels>,
    /// Pods.
    pub pods: Vec<PodSpec>,
}

impl TestbedSpec {
    /// A cluster of these nodes, without pods. At most 200 nodes.
    pub fn new(network: Network, nodes: &[&str]) -> Self {
        assert!(nodes.len() <= 200, "node numbers are an octet of the addresses");
        Self {
            network,
            between: Between::Routes,
            far: None,
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

    /// Connects the nodes in another way.
    #[must_use]
    pub fn between(self, between: Between) -> Self {
        Self { between, ..self }
    }

    /// Moves a node into another subnet, behind a router.
    #[must_use]
    pub fn far(self, node: usize) -> Self {
        Self { far: Some(node), ..self }
    }

    /// Adds a namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str, labels: &[(&str, &str)]) -> Self {
        self.namespaces.insert(name.to_owned(), to_labels(labels));
        self
    }

    /// Adds a pod. Nodes are used in turn, addresses count up from `.2`.
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
        let families = match families {
            Families::Both => &[false, true][..],
            Families::V4 => &[false],
            Families::V6 => &[true],
        };
        self.pods.push(PodSpec {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: to_labels(labels),
            node,
            addresses: families.iter().map(|&v6| pod_address(node, number, v6)).collect(),
            host_network: false,
            ports: ports.to_vec(),
        });
        self
    }

    /// Moves the last added pod into its node's network namespace. The pod then has
    /// no endpoint of its own. The node's endpoint has its addresses.
    #[must_use]
    pub fn in_host_network(mut self) -> Self {
        let node = self.last_pod().node;
        let addresses = [false, true].map(|v6| self.node_address(node, v6)).to_vec();
        let pod = self.last_pod();
        pod.addresses = addresses;
        pod.host_network = true;
        self
    }

    /// Removes the addresses of the last added pod. Its namespace then has only a
    /// loopback interface.
    #[must_use]
    pub fn without_address(mut self) -> Self {
        self.last_pod().addresses.clear();
        self
    }

    fn last_pod(&mut self) -> &mut PodSpec {
        self.pods.last_mut().expect("a pod comes first")
    }

    /// The address of a node in its subnet.
    pub fn node_address(&self, node: usize, v6: bool) -> IpAddr {
        underlay_address(self.far == Some(node), octet(node + 11), v6)
    }
}

impl PodSpec {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The prefix of the pod addresses of a node, `10.244.<node + 1>.`, followed by the
/// number. 1 is the gateway.
pub fn pod_address(node: usize, number: usize, v6: bool) -> IpAddr {
    let (node, number) = (octet(node + 1), octet(number));
    if v6 {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, number.into()))
    } else {
        IpAddr::V4(Ipv4Addr::new(10, 244, node, number))
    }
}

/// How many leading bits the addresses of one node's pods share.
pub const fn pod_prefix(v6: bool) -> u8 {
    if v6 { 64 } else { 24 }
}

/// An address on the switch (1 is the outsider), or one behind the router.
pub fn underlay_address(far: bool, number: u8, v6: bool) -> IpAddr {
    let subnet: u8 = if far { 78 } else { 77 };
    if v6 {
        // The hexadecimal digits are the decimal digits of the IPv4 address.
        let subnet = if far { 0x78 } else { 0x77 };
        IpAddr::V6(Ipv6Addr::new(0xfd00, subnet, 0, 0, 0, 0, 0, number.into()))
    } else {
        IpAddr::V4(Ipv4Addr::new(192, 168, subnet, number))
    }
}

fn octet(number: usize) -> u8 {
    u8::try_from(number).expect("at most 200 nodes and 250 pods a node")
}

fn to_labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}
