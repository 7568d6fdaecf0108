//! Services as kube-proxy makes them, and masquerading as flannel does it.
//!
//! The rules are written by hand, in tables of their own, on both nodes.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use samples::testbed_spec::TestbedSpec;

use crate::fire::nft;
use crate::testbed::Testbed;

/// A Service's address and the endpoint behind it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceAddress {
    /// The address of each family.
    pub address: [&'static str; 2],
    /// The Service's port, UDP and TCP.
    pub port: u16,
    /// The pod behind it.
    pub pod: &'static str,
    /// The pod's port.
    pub target: u16,
}

/// ClusterIPs, and addresses of load balancers.
pub const CLUSTER_IPS: [ServiceAddress; 6] = [
    cluster_ip(["10.96.0.10", "fd00:96::10"], "victim"),
    cluster_ip(["10.96.0.11", "fd00:96::11"], "server"),
    cluster_ip(["10.96.0.12", "fd00:96::12"], "server-2"),
    cluster_ip(["10.96.0.13", "fd00:96::13"], "friend"),
    cluster_ip(["198.51.100.10", "fd00:198::10"], "server"),
    cluster_ip(["198.51.100.11", "fd00:198::11"], "server-2"),
];

const fn cluster_ip(address: [&'static str; 2], pod: &'static str) -> ServiceAddress {
    ServiceAddress { address, port: 80, pod, target: 8080 }
}

/// Node ports, the pod and port behind each, and whether the client is masqueraded
/// (`externalTrafficPolicy: Cluster`).
pub const NODE_PORTS: [(u16, &str, u16, bool); 5] = [
    (30080, "server", 8080, true),
    (30081, "server-2", 8080, true),
    (30082, "server", 8080, false),
    (30083, "server-2", 8080, false),
    // The attacker's own Service.
    (30090, "attacker", 5000, true),
];

/// Node ports of Services whose endpoint is not a pod but the tunnel of a node.
pub const TUNNEL_PORTS: [(u16, usize); 2] = [(30100, 0), (30101, 1)];

pub(super) fn install(testbed: &Testbed) -> Result<()> {
    for (index, node) in testbed.nodes().enumerate() {
        nft(&node.namespace, &rules(testbed, index)?)?;
    }
    Ok(())
}

fn rules(testbed: &Testbed, node: usize) -> Result<String> {
    let mut text = String::new();
    for v6 in [false, true] {
        let (family, pods) = (if v6 { "ip6" } else { "ip" }, TestbedSpec::pods_range(v6));
        let address = |pod: &str| -> Result<IpAddr> {
            let endpoint = testbed.endpoint(&format!("dev/{pod}"))?;
            Ok(endpoint.addresses[usize::from(v6)])
        };
        let mut nat = String::new();
        for service in CLUSTER_IPS {
            let to = SocketAddr::new(address(service.pod)?, service.target);
            for protocol in ["tcp", "udp"] {
                let at = service.address[usize::from(v6)];
                let port = service.port;
                let _ = writeln!(nat, "{family} daddr {at} {protocol} dport {port} dnat to {to}");
            }
        }
        let own = testbed.spec().node_address(node, v6);
        let mut node_port = |port: u16, to: SocketAddr, masquerade: bool| {
            let mark = if masquerade { "meta mark set 0x4000" } else { "" };
            for protocol in ["tcp", "udp"] {
                let at = format!("{family} daddr {own} {protocol} dport {port}");
                let _ = writeln!(nat, "{at} {mark} dnat to {to}");
            }
        };
        for (port, pod, target, masquerade) in NODE_PORTS {
            node_port(port, SocketAddr::new(address(pod)?, target), masquerade);
        }
        for (port, to) in TUNNEL_PORTS {
            let to = testbed.spec().node_address(to, v6);
            node_port(port, SocketAddr::new(to, 8472), true);
            node_port(port + 10, SocketAddr::new(to, 8285), true);
        }
        let _ = write!(
            text,
            "table {family} services {{
               chain prerouting {{ type nat hook prerouting priority dstnat;\n{nat} }}
               chain output {{ type nat hook output priority -100;\n{nat} }}
               chain postrouting {{ type nat hook postrouting priority srcnat;
                 meta mark 0x4000 masquerade
                 {hairpin}
                 {family} saddr {pods} {family} daddr {pods} return
                 {family} saddr {pods} oifname \"eth0\" masquerade
               }}
             }}\n",
            hairpin = hairpins(testbed, v6),
        );
    }
    Ok(text)
}

/// A pod that reaches itself through its Service is masqueraded.
fn hairpins(testbed: &Testbed, v6: bool) -> String {
    let family = if v6 { "ip6" } else { "ip" };
    let pods = testbed.endpoints().iter().filter(|endpoint| endpoint.is_pod());
    pods.filter_map(|pod| pod.address(v6))
        .map(|at| format!("{family} saddr {at} {family} daddr {at} masquerade\n"))
        .collect()
}
