//! Makes the namespaces, wires, addresses and routes of a testbed.
//!
//! In the finished testbed every endpoint reaches every other.

use std::fmt::Write;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use policy::Labels;
use samples::testbed_spec::{
    Between, Network, PodSpec, TestbedSpec, pod_address, pod_prefix, underlay_address,
};

use super::overlay;
use super::tunnel::Tunnel;
use super::{Endpoint, MOST_ENDPOINTS, Role, Testbed, Turn};
use crate::net::{Namespace, veth};

/// The gateway of routed pods, as in Calico. No interface has this address, and
/// proxy ARP answers for it.
const GATEWAY_V4: &str = "169.254.1.1";
/// The hardware address of the host's end of each routed veth.
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";
/// The link-local address that follows from [`HOST_MAC`] (RFC 4291, appendix A). It
/// is the gateway for IPv6.
const GATEWAY_V6: &str = "fe80::ecee:eeff:feee:eeee";

/// Number of the outsider on the switch.
const OUTSIDER: u8 = 1;
/// Number of the switch itself, once it has an address.
const SERVICES: u8 = 254;
/// Number of the router, on both sides.
const ROUTER: u8 = 253;

type Make<'a> = &'a dyn Fn(&str) -> Result<Namespace>;

pub(super) fn build(spec: TestbedSpec, turn: Turn, make: Make<'_>) -> Result<Testbed> {
    // With the outsider.
    let endpoints = spec.pods.len() + spec.nodes.len() + 1;
    ensure!(!turn.is_beside() || endpoints <= MOST_ENDPOINTS, "{endpoints} endpoints");
    let switch = make("switch")?;
    // The switch forwards frames between nodes. Its firewall must not see them.
    switch.sysctl("bridge.bridge-nf-call-iptables", "0")?;
    switch.sysctl("bridge.bridge-nf-call-ip6tables", "0")?;
    switch.ip("link add under0 type bridge\nlink set under0 up")?;
    let router = spec.far.map(|far| router(&spec, far, &switch, make)).transpose()?;
    let outsider = outsider(&spec, &switch, make)?;
    let nodes = (0..spec.nodes.len())
        .map(|index| node(&spec, index, &switch, router.as_ref(), make))
        .collect::<Result<Vec<_>>>()?;
    let tunnelled = nodes.iter().enumerate().filter(|_| spec.between == Between::Udp);
    let tunnels = tunnelled.map(|(index, node)| Tunnel::new(&spec, index, &node.namespace));
    let tunnels = tunnels.collect::<Result<Vec<_>>>()?;
    for (index, node) in nodes.iter().enumerate() {
        overlay::join(&spec, index, &node.namespace)?;
        let routes = match spec.network.is_past_the_node() {
            false => routes_to_pods(&spec, Some(index)),
            true => neighbours("eth0"),
        };
        node.namespace.ip(&routes)?;
    }
    let mut endpoints = spec
        .pods
        .iter()
        .enumerate()
        .filter(|(_, one)| !one.host_network)
        .map(|(index, one)| pod(&spec, index, one, &nodes[one.node].namespace, &switch, make))
        .collect::<Result<Vec<_>>>()?;
    endpoints.extend(nodes);
    endpoints.push(outsider);
    Ok(Testbed { spec, _tunnels: tunnels, endpoints, switch, router, _turn: Some(turn) })
}

/// Connects the switch and the far node. It routes to that node's pods only for the
/// outsider. The nodes' overlay does not need it.
fn router(spec: &TestbedSpec, far: usize, switch: &Namespace, make: Make<'_>) -> Result<Namespace> {
    let namespace = make("router")?;
    forward(&namespace)?;
    join(&namespace, switch, "router", &both(|v6| underlay_address(false, ROUTER, v6)))?;
    let mut lines = "link add far0 type bridge\nlink set far0 up\n".to_owned();
    for v6 in [false, true] {
        let address = underlay_address(true, ROUTER, v6);
        lines.push_str(&add_address(address, underlay_prefix(v6), "far0"));
        let (to, length) = (pod_address(far, 0, v6), pod_prefix(v6));
        let _ = writeln!(lines, "route add {to}/{length} via {}", spec.node_address(far, v6));
    }
    namespace.ip(&lines)?;
    Ok(namespace)
}

fn forward(namespace: &Namespace) -> Result<()> {
    namespace.sysctl("ipv4.ip_forward", "1")?;
    namespace.sysctl("ipv6.conf.all.forwarding", "1")?;
    namespace.sysctl("ipv4.conf.all.rp_filter", "0")?;
    namespace.sysctl("ipv4.conf.default.rp_filter", "0")
}

/// The switch's routes to the far node's subnet.
fn routes_to_far() -> String {
    let route = |v6| {
        let (to, length) = (underlay_address(true, 0, v6), underlay_prefix(v6));
        format!("route add {to}/{length} via {}\n", underlay_address(false, ROUTER, v6))
    };
    [false, true].map(route).concat()
}

fn outsider(spec: &TestbedSpec, switch: &Namespace, make: Make<'_>) -> Result<Endpoint> {
    let namespace = make("outsider")?;
    let addresses = both(|v6| underlay_address(false, OUTSIDER, v6));
    join(&namespace, switch, "out", &addresses)?;
    if spec.far.is_some() {
        namespace.ip(&routes_to_far())?;
    }
    namespace.ip(&match spec.network.is_past_the_node() {
        false => routes_to_pods(spec, None),
        true => neighbours("eth0"),
    })?;
    Ok(Endpoint { name: "outsider".into(), role: Role::Outsider, namespace, addresses })
}

fn node(
    spec: &TestbedSpec,
    index: usize,
    switch: &Namespace,
    router: Option<&Namespace>,
    make: Make<'_>,
) -> Result<Endpoint> {
    let name = spec.nodes[index].clone();
    let namespace = make(&name)?;
    forward(&namespace)?;
    let addresses = both(|v6| spec.node_address(index, v6));
    let far = router.filter(|_| spec.far == Some(index));
    let (other, bridge) = far.map_or((switch, "under0"), |router| (router, "far0"));
    plug(&namespace, (other, bridge), &format!("node{index}"), &addresses)?;
    let mut lines = String::new();
    // Proxy ARP answers only for addresses that are routed elsewhere (arp_process
    // in net/ipv4/arp.c, Linux 6.18).
    let gateway = if far.is_some() { ROUTER } else { OUTSIDER };
    for v6 in [false, true] {
        let gateway = underlay_address(far.is_some(), gateway, v6);
        let _ = writeln!(lines, "route add default via {gateway}");
    }
    if spec.far.is_some() && far.is_none() {
        lines.push_str(&routes_to_far());
    }
    if spec.network == Network::Bridge {
        namespace.sysctl("bridge.bridge-nf-call-iptables", "1")?;
        namespace.sysctl("bridge.bridge-nf-call-ip6tables", "1")?;
        // Without a MAC of its own, a bridge takes the lowest of its ports' MACs, and
        // a port that comes later can change it under the pods' neighbour entries.
        lines.push_str("link add cni0 address 0a:58:0a:00:00:01 type bridge\nlink set cni0 up\n");
        for v6 in [false, true] {
            lines.push_str(&add_address(pod_address(index, 1, v6), pod_prefix(v6), "cni0"));
        }
    }
    if spec.network == Network::Macvlan {
        lines.push_str(&shim(spec, index));
    }
    namespace.ip(&lines)?;
    Ok(Endpoint { name, role: Role::Node { node: index }, namespace, addresses })
}

fn pod(
    spec: &TestbedSpec,
    index: usize,
    pod: &PodSpec,
    node: &Namespace,
    switch: &Namespace,
    make: Make<'_>,
) -> Result<Endpoint> {
    let name = pod.key();
    let namespace = make(&name)?;
    let host_end = format!("veth{index}");
    let pair = || veth((&namespace, "eth0"), (node, &host_end));
    match spec.network {
        Network::Bridge => {
            pair()?;
            bridged(pod, &namespace, node, &host_end)?;
        }
        Network::Routed => {
            pair()?;
            routed(pod, &namespace, node, &host_end)?;
        }
        Network::Macvlan => {
            node.ip(&format!(
                "link add link eth0 name mv{index} type macvlan mode bridge\n\
                 link set mv{index} netns {}",
                namespace.name()
            ))?;
            namespace.ip(&format!("link set mv{index} name eth0\nlink set eth0 up"))?;
            neighbour(pod, &namespace)?;
        }
        Network::Moved => {
            veth((&namespace, "eth0"), (switch, &host_end))?;
            switch.ip(&format!("link set {host_end} master under0"))?;
            neighbour(pod, &namespace)?;
        }
    }
    let addresses = pod.addresses.clone();
    Ok(Endpoint { name, role: Role::Pod { node: pod.node }, namespace, addresses })
}

pub(super) fn further_pod(
    cluster: &Testbed,
    number: usize,
    name: &str,
    addresses: &[IpAddr],
) -> Result<Endpoint> {
    let one = PodSpec {
        namespace: "dev".into(),
        name: name.into(),
        labels: Labels::new(),
        node: 0,
        addresses: addresses.to_vec(),
        host_network: false,
        ports: Vec::new(),
    };
    let node = cluster.nodes().next().context("a node")?;
    pod(&cluster.spec, number, &one, &node.namespace, &cluster.switch, &|_| Namespace::new("fp"))
}

/// All pods are neighbours.
fn neighbours(interface: &str) -> String {
    let route = |v6| format!("route add {} dev {interface}\n", TestbedSpec::pods_range(v6));
    [false, true].map(route).concat()
}

/// The node's own MacVLAN, by which it reaches its own pods: the interface below does not
/// hear those above it. It answers for the node's addresses, IPv6's only if it has them.
fn shim(spec: &TestbedSpec, node: usize) -> String {
    let mut lines =
        "link add link eth0 name shim0 type macvlan mode bridge\nlink set shim0 up\n".to_owned();
    lines.push_str(&add_address(spec.node_address(node, true), 128, "shim0"));
    for v6 in [false, true] {
        let (range, own) = (TestbedSpec::pod_range(node, v6), spec.node_address(node, v6));
        let _ = writeln!(lines, "route add {range} dev shim0 src {own}");
    }
    lines
}

/// A pod on the nodes' own link.
fn neighbour(pod: &PodSpec, namespace: &Namespace) -> Result<()> {
    let mut lines = String::new();
    for &address in &pod.addresses {
        let v6 = address.is_ipv6();
        let all = TestbedSpec::pods_range(v6);
        let length = all.rsplit('/').next().and_then(|length| length.parse().ok());
        lines.push_str(&add_address(address, length.context("a prefix")?, "eth0"));
        let nodes = (underlay_address(false, 0, v6), underlay_prefix(v6));
        let _ = writeln!(lines, "route add {}/{} dev eth0", nodes.0, nodes.1);
    }
    namespace.ip(&lines)
}

fn bridged(pod: &PodSpec, namespace: &Namespace, node: &Namespace, host_end: &str) -> Result<()> {
    // Hairpin, as in flannel and kubenet. A pod that reaches itself through a
    // Service enters and leaves by one port.
    node.ip(&format!(
        "link set {host_end} master cni0\nlink set {host_end} type bridge_slave hairpin on"
    ))?;
    let mut lines = String::new();
    for &address in &pod.addresses {
        let v6 = address.is_ipv6();
        lines.push_str(&add_address(address, pod_prefix(v6), "eth0"));
        let _ = writeln!(lines, "route add default via {}", pod_address(pod.node, 1, v6));
    }
    namespace.ip(&lines)
}

fn routed(pod: &PodSpec, namespace: &Namespace, node: &Namespace, host_end: &str) -> Result<()> {
    node.ip(&format!(
        "link set {host_end} down\nlink set {host_end} address {HOST_MAC}\nlink set {host_end} up"
    ))?;
    node.sysctl(&format!("ipv4.conf.{host_end}.proxy_arp"), "1")?;
    // Otherwise each answer waits for up to 0.8 s.
    node.sysctl(&format!("ipv4.neigh.{host_end}.proxy_delay"), "0")?;
    let (mut inside, mut outside) = (String::new(), String::new());
    for &address in &pod.addresses {
        let (length, gateway) =
            if address.is_ipv6() { (128, GATEWAY_V6) } else { (32, GATEWAY_V4) };
        inside.push_str(&add_address(address, length, "eth0"));
        if address.is_ipv4() {
            let _ = writeln!(inside, "route add {gateway} dev eth0 scope link");
        }
        let _ = writeln!(inside, "route add default via {gateway} dev eth0");
        // `replace`, so that an address can go to another pod.
        let _ = writeln!(outside, "route replace {address}/{length} dev {host_end}");
    }
    namespace.ip(&inside)?;
    node.ip(&outside)
}

pub(super) fn services_address(spec: &TestbedSpec, switch: &Namespace, v6: bool) -> Result<IpAddr> {
    let address = underlay_address(false, SERVICES, v6);
    // `replace`, so that a second call is no error.
    let flags = if v6 { " nodad" } else { "" };
    let length = underlay_prefix(v6);
    let mut lines = format!("addr replace {address}/{length} dev under0{flags}\n");
    for node in 0..spec.nodes.len() {
        let (range, hop) = (TestbedSpec::pod_range(node, v6), spec.node_address(node, v6));
        let _ = writeln!(lines, "route replace {range} via {hop}");
    }
    switch.ip(&lines)?;
    Ok(address)
}

pub(super) fn remove_routes(cluster: &Testbed, node: usize) -> Result<()> {
    let lines: String = routes_to_pods(&cluster.spec, Some(node)).replace("route add", "route del");
    let found = cluster.nodes().nth(node).context("no such node")?;
    found.namespace.ip(&lines)
}

/// Connects a namespace to the switch, as `eth0`.
fn join(namespace: &Namespace, switch: &Namespace, port: &str, addresses: &[IpAddr]) -> Result<()> {
    plug(namespace, (switch, "under0"), port, addresses)
}

/// Connects a namespace to a bridge, as `eth0`.
fn plug(
    namespace: &Namespace,
    (switch, bridge): (&Namespace, &str),
    port: &str,
    addresses: &[IpAddr],
) -> Result<()> {
    veth((namespace, "eth0"), (switch, port))?;
    switch.ip(&format!("link set {port} master {bridge}"))?;
    let lines: String = addresses
        .iter()
        .map(|&address| add_address(address, underlay_prefix(address.is_ipv6()), "eth0"))
        .collect();
    namespace.ip(&lines)
}

/// Routes to the pods of each other node. A node uses the network's own path. The
/// outsider goes through that node.
fn routes_to_pods(spec: &TestbedSpec, from: Option<usize>) -> String {
    let mut lines = String::new();
    for node in (0..spec.nodes.len()).filter(|&node| Some(node) != from) {
        for v6 in [false, true] {
            let hop = match from {
                Some(from) => overlay::hop(spec, from, node, v6),
                None if spec.far == Some(node) => {
                    format!("via {}", underlay_address(false, ROUTER, v6))
                }
                None => format!("via {}", spec.node_address(node, v6)),
            };
            let (to, length) = (pod_address(node, 0, v6), pod_prefix(v6));
            let _ = writeln!(lines, "route add {to}/{length} {hop}");
        }
    }
    lines
}

pub(super) fn add_address(address: IpAddr, length: u8, interface: &str) -> String {
    let flags = if address.is_ipv6() { " nodad" } else { "" };
    format!("addr add {address}/{length} dev {interface}{flags}\n")
}

const fn underlay_prefix(v6: bool) -> u8 {
    if v6 { 64 } else { 24 }
}

fn both(address: impl Fn(bool) -> IpAddr) -> Vec<IpAddr> {
    [false, true].map(address).to_vec()
}
