//! The range: a node, pods that send, and the addresses that they send to.
//!
//! The pods are on routed veths, as a routing CNI makes them. The range has no
//! rules. The test adds them.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::net::{Namespace, veth};

/// A node and its pods.
#[derive(Debug)]
pub struct Range {
    node: Namespace,
    pods: Vec<Namespace>,
    /// All destinations are routed here. No packet ever arrives.
    _sink: Namespace,
}

impl Range {
    /// A node with this many sending pods, up to 250.
    ///
    /// # Errors
    /// Without the rights to create network namespaces.
    pub fn new(pods: u8) -> Result<Self> {
        let node = Namespace::new("fn")?;
        node.sysctl("ipv4.ip_forward", "1")?;
        let mut senders = Vec::new();
        for number in 0..pods {
            let pod = Namespace::new("fp")?;
            let near = format!("pod{number}");
            veth((&node, &near), (&pod, "eth0"))?;
            let address = source(usize::from(number));
            // The gateway is an address that exists only on the link, as in Calico.
            // Neighbours are fixed, so that no address resolution happens under
            // fire.
            pod.ip(&format!(
                "address add {address}/32 dev eth0\n\
                 route add 169.254.1.1 dev eth0\n\
                 route add default via 169.254.1.1 dev eth0\n\
                 neighbour add 169.254.1.1 lladdr {} dev eth0 nud permanent",
                mac(&node, &near)?
            ))?;
            node.ip(&format!("route add {address}/32 dev {near}"))?;
            senders.push(pod);
        }
        let sink = Namespace::new("fs")?;
        veth((&node, "sink"), (&sink, "eth0"))?;
        node.ip("route add 10.77.1.0/24 dev sink")?;
        Ok(Self { node, pods: senders, _sink: sink })
    }

    /// The namespace that forwards the packets.
    pub fn node(&self) -> &Namespace {
        &self.node
    }

    /// The namespaces of the sending pods.
    pub fn pods(&self) -> &[Namespace] {
        &self.pods
    }

    /// The address of pod `number`.
    pub fn source(&self, number: usize) -> Ipv4Addr {
        source(number)
    }

    /// An address that the node routes. `number` is 1 to 254.
    pub fn destination(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 1, number)
    }
}

fn source(number: usize) -> Ipv4Addr {
    let [.., number] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 77, 0, number)
}

/// The hardware address of an interface, as sysfs of its namespace shows it.
fn mac(namespace: &Namespace, interface: &str) -> Result<String> {
    let output = namespace.command("ip").args(["-brief", "link", "show", interface]).output()?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let mac = listing.split_whitespace().find(|word| word.len() == 17 && word.contains(':'));
    mac.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no address of {interface}: {listing}"))
}
