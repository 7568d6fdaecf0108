//! A testbed on which pods forge packets.
//!
//! You get a station for each endpoint: it sends any frame and sees every frame that
//! arrives. Two nodes have the same pods, so each attack has a victim on the
//! attacker's node and one on the other node.
//!
//! | pod | its policy |
//! |---|---|
//! | `victim`, `victim-2` | ingress from `friend`s and from [`ALLOWED_V4`], [`ALLOWED_V6`] |
//! | `server`, `server-2` | ingress to port 8080 from `friend`s and from the nodes |
//! | `prisoner`, `prisoner-2` | egress to `friend`s |
//! | `friend`, `attacker`, `bystander` and those with `-2` | none |
//!
//! Each node has a second address, as that of a virtual router, which no Pod object
//! names: [`further_address`].
//!
//! On the first node there is a `stranger`, too: a pod that no Pod object names.

mod policies;
mod sending;
mod services;
mod station;
mod volley;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use samples::objects;
use samples::testbed_spec::{Between, Families, Network, TestbedSpec, pod_address};

use crate::fire::nft;
use crate::forge::{self, Mac, Marker};
use crate::testbed::{Endpoint, Role, Testbed};
use crate::{program, scenario};
pub use policies::{ALLOWED_V4, ALLOWED_V6};
pub use services::{CLUSTER_IPS, NODE_PORTS, ServiceAddress, TUNNEL_PORTS};
use station::Station;
pub use volley::{Hits, Shot, fire};

const QUIET: &str = "table inet quiet {
  chain input {
    type filter hook input priority 0;
    tcp dport >= 20000 tcp flags & (syn | ack) == syn drop
  }
}";

/// The roles. A pod of each is on both nodes.
const ROLES: [&str; 6] = ["victim", "server", "prisoner", "friend", "attacker", "bystander"];

/// A packet that has not arrived by then is lost. On one machine it takes
/// microseconds.
const PATIENCE: Duration = Duration::from_millis(30);
/// What must arrive gets more time, because the machine may be busy.
const LONG_PATIENCE: Duration = Duration::from_secs(2);

/// A two-node testbed, its Services, and its stations.
#[derive(Debug)]
pub struct Arena {
    /// Declared first: stations hold devices of the testbed's namespaces.
    stations: BTreeMap<String, Station>,
    testbed: Testbed,
    patience: Duration,
    ports: AtomicU16,
}

/// The hardware address that a frame goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The node's: the node routes the packet.
    Gateway,
    /// The receiver's, a neighbour on the same bridge.
    Neighbour,
    /// Broadcast.
    Broadcast,
}

impl Arena {
    /// Builds it. Every pair of endpoints has answered a ping.
    ///
    /// # Errors
    /// Without root, or when it does not come up.
    pub fn new(network: Network, between: Between) -> Result<Self> {
        let mut spec =
            TestbedSpec::new(network, &["node-1", "node-2"]).between(between).namespace("dev", &[]);
        for role in ROLES {
            for (node, suffix) in ["", "-2"].into_iter().enumerate() {
                let name = format!("{role}{suffix}");
                spec = spec.pod_on(node, "dev", &name, &[("app", role)], Families::Both, &[]);
            }
        }
        let mut testbed = scenario::connected(spec, "at")?;
        testbed.add_pod(99, "stranger", &[false, true].map(|v6| pod_address(0, 150, v6)))?;
        for (index, node) in testbed.nodes().enumerate() {
            for v6 in [false, true] {
                let (address, length) = (further_address(index, v6), if v6 { 128 } else { 32 });
                // The node says that it is there, but uses it for nothing of its own.
                let flags = if v6 { " nodad preferred_lft 0" } else { "" };
                node.namespace.ip(&format!("addr add {address}/{length} dev eth0{flags}"))?;
            }
        }
        services::install(&testbed)?;
        for endpoint in testbed.endpoints() {
            // Errors are limited to one a second for each destination.
            endpoint.namespace.sysctl("ipv4.icmp_ratelimit", "0")?;
            endpoint.namespace.sysctl("ipv6.icmp.ratelimit", "0")?;
        }
        for name in ["attacker", "attacker-2", "prisoner", "prisoner-2"] {
            // Its kernel must not refuse the connections that it opens under other names.
            nft(&testbed.endpoint(&format!("dev/{name}"))?.namespace, QUIET)?;
        }
        let mut stations = BTreeMap::new();
        for endpoint in testbed.endpoints() {
            let station = Station::at(&testbed, endpoint)?;
            stations.insert(short(&endpoint.name).to_owned(), station);
        }
        Ok(Self { stations, testbed, patience: LONG_PATIENCE, ports: AtomicU16::new(20_000) })
    }

    /// The testbed.
    pub fn testbed(&self) -> &Testbed {
        &self.testbed
    }

    /// Enforces the policies on both nodes.
    ///
    /// # Errors
    /// When `nftpol` refuses them.
    pub fn enforce(&mut self) -> Result<()> {
        scenario::apply(&self.testbed, &Self::policies())?;
        self.patience = PATIENCE;
        Ok(())
    }

    /// Lets `nftpol verify` prove the kernel's tables on both nodes.
    ///
    /// # Errors
    /// When it finds a difference, or cannot prove them.
    pub fn prove(&self) -> Result<()> {
        let input = objects::manifests(self.testbed.spec(), &Self::policies());
        for node in self.testbed.nodes() {
            let arguments = ["verify", "--kernel", "-f", "-", "--node", &node.name];
            program::run(&node.namespace, &arguments, &input)?.success()?;
        }
        Ok(())
    }

    /// The endpoint of a pod of namespace `dev`, a node, or `outsider`.
    ///
    /// # Errors
    /// When there is none.
    pub fn endpoint(&self, name: &str) -> Result<&Endpoint> {
        self.testbed.endpoints().iter().find(|one| short(&one.name) == name).context("an endpoint")
    }

    /// Its address.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn address(&self, name: &str, v6: bool) -> Result<IpAddr> {
        self.endpoint(name)?.address(v6).context("an address of this family")
    }

    /// Its IPv6 address.
    ///
    /// # Errors
    /// As [`Arena::address`].
    pub fn address6(&self, name: &str) -> Result<Ipv6Addr> {
        match self.address(name, true)? {
            IpAddr::V6(address) => Ok(address),
            IpAddr::V4(_) => unreachable!("asked for IPv6"),
        }
    }

    /// Its link-local IPv6 address.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn link_local(&self, name: &str) -> Result<Ipv6Addr> {
        Ok(self.station(name)?.link_local)
    }

    /// The hardware address of its interface.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn mac(&self, name: &str) -> Result<Mac> {
        Ok(self.station(name)?.mac)
    }

    /// The hardware address of its gateway. The outsider's is the first node.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn gateway(&self, name: &str) -> Result<Mac> {
        Ok(self.station(name)?.gateway)
    }

    /// The index of the node of a pod, or of a node. The outsider attacks the first.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn node(&self, name: &str) -> Result<usize> {
        Ok(match self.endpoint(name)?.role {
            Role::Pod { node } | Role::Node { node } => node,
            Role::Outsider => 0,
        })
    }

    /// The address of a node that its pods know as their gateway. Routed pods have
    /// none, and use the node's own.
    pub fn gateway_address(&self, node: usize, v6: bool) -> IpAddr {
        match self.testbed.spec().network {
            Network::Bridge => pod_address(node, 1, v6),
            Network::Routed | Network::Macvlan | Network::Moved => {
                self.testbed.spec().node_address(node, v6)
            }
        }
    }

    /// A port that no packet had before.
    pub fn port(&self) -> u16 {
        self.ports.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a pod to a node. It has a station from now on, and loses it with
    /// [`Arena::remove`]. It has these addresses, and no Pod object.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn add(&mut self, name: &str, number: usize, addresses: &[IpAddr]) -> Result<()> {
        self.testbed.add_pod(number, name, addresses)?;
        let endpoint = self.testbed.endpoint(&format!("dev/{name}"))?;
        let station = Station::at(&self.testbed, endpoint)?;
        self.stations.insert(name.to_owned(), station);
        Ok(())
    }

    /// Removes a pod that was added, with its interface.
    ///
    /// # Errors
    /// When there is none.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.stations.remove(name).context("a station")?;
        self.testbed.remove_pod(&format!("dev/{name}"))
    }

    /// Whether a frame with this marker arrives at an endpoint soon.
    ///
    /// # Errors
    /// When there is no such endpoint or its socket fails.
    pub fn arrives(&self, at: &str, marker: Marker) -> Result<bool> {
        Ok(self.catch(at, marker)?.is_some())
    }

    /// The frame with this marker that arrives at an endpoint soon.
    ///
    /// # Errors
    /// As [`Arena::arrives`].
    pub fn catch(&self, at: &str, marker: Marker) -> Result<Option<Vec<u8>>> {
        self.station(at)?.catch(marker, self.patience)
    }

    /// Forgets all neighbours, and lets every bridge learn the pods' places anew.
    ///
    /// # Errors
    /// When `ip` fails or a frame cannot be sent.
    pub fn restore(&self) -> Result<()> {
        for endpoint in self.testbed.endpoints() {
            endpoint.namespace.ip("neigh flush all")?;
            if endpoint.is_pod() {
                self.restore_place(short(&endpoint.name))?;
            }
        }
        Ok(())
    }

    /// Lets the bridge learn a pod's place anew: the pod asks for its gateway.
    ///
    /// # Errors
    /// When the frame cannot be sent.
    pub fn restore_place(&self, of: &str) -> Result<()> {
        let gateway = self.gateway_address(self.node(of)?, false);
        let (IpAddr::V4(own), IpAddr::V4(to)) = (self.address(of, false)?, gateway) else {
            return Ok(());
        };
        let mac = self.mac(of)?;
        let ask = forge::arp(false, (mac, own), ([0; 6], to), forge::marker());
        self.send(of, &forge::frame(self.gateway(of)?, mac, forge::EtherTypes::ARP.0, &ask))
    }

    fn station(&self, name: &str) -> Result<&Station> {
        self.stations.get(name).with_context(|| format!("no station {name}"))
    }
}

/// An address of a node that no Pod object names.
pub fn further_address(node: usize, v6: bool) -> IpAddr {
    let last = 201 + u8::from(node != 0);
    match v6 {
        false => Ipv4Addr::new(192, 168, 77, last).into(),
        true => Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// Without the namespace.
fn short(name: &str) -> &str {
    name.strip_prefix("dev/").unwrap_or(name)
}
