//! Where a node's tunnel is, and what it takes.
//!
//! Reads the nodes' devices, as a pod learns them from a node exporter or from flannel's
//! annotations of the Node objects. Never: sends anything.

use std::net::IpAddr;

use anyhow::{Context, Result};
use kubebed::kubernetes::{Backend, Network};
use netbed::net::Namespace;
use netbed::program;
use netbed::testbed::Endpoint;
use serde_json::Value;

use super::packet;
use crate::scene::Scene;

/// The ports of flannel's backends (Documentation/backends.md of flannel 0.28).
pub const VXLAN: u16 = 8472;
pub const UDP: u16 = 8285;

/// A node's tunnel in one family.
pub struct Tunnel {
    pub node: Endpoint,
    /// None: flannel's backend UDP, which takes the packet as it is.
    device: Option<[u8; 6]>,
    pub gateway: IpAddr,
    /// Of a Service in front of it: its ClusterIP and its node port.
    pub service: Option<(IpAddr, u16)>,
}

/// What flannel's `--ip-masq` does to what a pod sends to another node's tunnel
/// (pkg/trafficmngr of flannel 0.28), or to a node port that leads there: the datagram
/// leaves with its node's address. Other traffic stays as it is, since kube-proxy's own
/// translation is tried beside this one.
const MASQUERADE: &str = "\
add table inet as-flannel
add chain inet as-flannel postrouting { type nat hook postrouting priority srcnat; }
add rule inet as-flannel postrouting fib saddr type != local udp dport { 8285, 8472, 30093, 30094 } masquerade
";

impl Scene {
    /// Lets the nodes masquerade what their pods send to tunnels.
    pub fn masquerade(&self) -> Result<()> {
        for node in self.kubernetes.cluster().nodes() {
            let command = self.kubernetes.command(&node.name, &["nft", "-f", "-"])?;
            program::finish(command, MASQUERADE)?.success()?;
        }
        Ok(())
    }

    /// The tunnel of a node, and a Service in front of it if that has a port.
    pub fn tunnel(&self, node: &str, v6: bool, service: Option<u16>) -> Result<Tunnel> {
        let kubernetes = &self.kubernetes;
        let found = kubernetes.cluster().endpoint(node)?;
        let (role, addresses) = (found.role, found.addresses.clone());
        let namespace = Namespace::lent(found.namespace.path())?;
        let own = found.address(v6).context("a node's address")?;
        let links = |device: &str| -> Result<Value> {
            let words = ["ip", "-j", "address", "show", "dev", device];
            Ok(serde_json::from_str(&kubernetes.exec(node, &words)?.success()?)?)
        };
        let device = match kubernetes.options().network {
            Network::Flannel(Backend::Udp) => None,
            _ => {
                let links = links(if v6 { "flannel-v6.1" } else { "flannel.1" })?;
                Some(hardware(links[0]["address"].as_str().context("a hardware address")?)?)
            }
        };
        let bridge = links("cni0")?;
        let gateways = bridge[0]["addr_info"].as_array().into_iter().flatten();
        let mut gateways = gateways.filter(|one| one["scope"] == "global");
        let gateway = gateways.find_map(|one| {
            let address: IpAddr = one["local"].as_str()?.parse().ok()?;
            (address.is_ipv6() == v6).then_some(address)
        });
        let service = service.map(|port| self.service_to_tunnel(own, port)).transpose()?;
        Ok(Tunnel {
            node: Endpoint { name: node.to_owned(), role, namespace, addresses },
            device,
            gateway: gateway.with_context(|| format!("{node} has no address on cni0"))?,
            service,
        })
    }
}

impl Tunnel {
    pub fn port(&self) -> u16 {
        if self.device.is_some() { VXLAN } else { UDP }
    }

    pub fn wrap(&self, packet: &[u8]) -> Vec<u8> {
        match self.device {
            Some(device) => packet::vxlan(device, packet),
            None => packet.to_vec(),
        }
    }
}

/// `02:00:00:00:00:01`.
fn hardware(text: &str) -> Result<[u8; 6]> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().context("read a hardware address")?;
    bytes.try_into().ok().context("a hardware address has six bytes")
}
