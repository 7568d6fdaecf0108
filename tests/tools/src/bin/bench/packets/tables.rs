//! The tables to compare, as scripts for nft(8).

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use compiler::{Engine, Options};
use policy::{
    BoundBridge, BoundPort, InterfaceIndex, Labels, Mac, Namespace, NetworkPolicy, NodeNetwork,
    ObjectKey, Peer, Peers, Phase, Pod, PodPeer, Ports, Rule, Selector, Snapshot,
};
use ruleset::text;

use super::bed::{
    BRIDGE, BRIDGE_MAC, Bed, ESTABLISHED, GATEWAY, Links, MACS, PORTS, RECEIVER, SENDER,
};
use super::kube_proxy::{self, Mode};
use super::kube_router;

/// Accepts established flows. Any policy with connection tracking costs this much.
const FLOOR: &str = "table inet floor {
    chain forward {
        type filter hook forward priority 0
        ct state established,related accept
    }
}";
const NODE: &str = "node";
const NAMESPACE: &str = "dev";
/// The number of the first interface that is only in the table.
const FURTHER: u32 = 1000;

/// A table.
pub struct Table {
    pub name: String,
    /// The form of the table, and the number of pods or Services in it, for pictures.
    pub form: &'static str,
    pub size: u32,
    kind: Kind,
}

enum Kind {
    None,
    Floor,
    /// Of this many pods that are isolated in both directions. The pods that send and
    /// receive are among them if there are any.
    Nftpol {
        pods: u32,
        bound: bool,
    },
    KubeRouter(u32),
    KubeProxy(Mode, u32),
    File(String),
}

/// The numbers of isolated pods.
pub const SIZES: [u32; 4] = [0, 10, 250, 1000];

/// No table, the floor, nftpol's own with each number of pods, those of others, and those
/// of files, `NAME=FILE`. A name that begins with `routed` or `bridged` is for that network
/// alone. Others have only routed pods.
pub fn tables(links: Links, sizes: &[u32], files: &[String]) -> Result<Vec<Table>> {
    let mut all = vec![
        table("no table", "no table", 0, Kind::None),
        table("`ct state established,related` alone", "ct state alone", 0, Kind::Floor),
    ];
    for &pods in sizes {
        for (bound, form) in [(false, "nftpol, interfaces not known"), (true, "nftpol, bound")] {
            all.push(table(
                &format!("{form}, {pods} pods"),
                form,
                pods,
                Kind::Nftpol { pods, bound },
            ));
        }
    }
    if links == Links::Routed {
        all.extend(sizes.iter().filter(|&&size| size > 0).flat_map(|&size| others(size)));
    }
    for file in files {
        let (name, path) = file.split_once('=').context("a table is NAME=FILE")?;
        let other = match links {
            Links::Routed => "bridged",
            Links::Bridged => "routed",
        };
        if !name.starts_with(other) {
            all.push(table(name, "file", 0, Kind::File(path.to_owned())));
        }
    }
    Ok(all)
}

fn others(size: u32) -> [Table; 3] {
    let (nftables, iptables) = ("kube-proxy, nftables", "kube-proxy, iptables' rules");
    let proxy = |form, mode| {
        table(&format!("{form}, {size} Services"), form, size, Kind::KubeProxy(mode, size))
    };
    [
        table(&format!("kube-router, {size} pods"), "kube-router", size, Kind::KubeRouter(size)),
        proxy(nftables, Mode::Nftables),
        proxy(iptables, Mode::Iptables),
    ]
}

fn table(name: &str, form: &'static str, size: u32, kind: Kind) -> Table {
    Table { name: name.to_owned(), form, size, kind }
}

impl Table {
    /// The address that leads to the receiver: its own, or a Service's.
    pub fn target(&self) -> Ipv4Addr {
        match self.kind {
            Kind::KubeProxy(_, services) => kube_proxy::service(services),
            Kind::None
            | Kind::Floor
            | Kind::Nftpol { .. }
            | Kind::KubeRouter(_)
            | Kind::File(_) => RECEIVER,
        }
    }

    /// Its script for this bed.
    pub fn script(&self, links: Links, bed: &Bed) -> Result<String> {
        Ok(match &self.kind {
            Kind::None => String::new(),
            Kind::Floor => FLOOR.to_owned(),
            Kind::File(path) => fs::read_to_string(path).with_context(|| format!("read {path}"))?,
            Kind::Nftpol { pods, bound } => {
                let real = PORTS.len() as u32;
                let network = match bound {
                    true => network(links, bed, real.max(*pods))?,
                    false => NodeNetwork::default(),
                };
                compiled(*pods, real.max(*pods), &network)
            }
            Kind::KubeRouter(pods) => {
                let pods: Vec<Ipv4Addr> = (0..*pods).map(address).collect();
                kube_router::table(&pods)
            }
            Kind::KubeProxy(mode, services) => {
                kube_proxy::table(*mode, *services, RECEIVER, ESTABLISHED)
            }
        })
    }
}

/// A table for these pods. Without isolated ones there is no policy.
fn compiled(isolated: u32, pods: u32, network: &NodeNetwork) -> String {
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    let mut engine = Engine::new(options);
    let namespace = Namespace::synthesised(NAMESPACE.to_owned());
    let policies = (isolated > 0).then(policy);
    let snapshot = Snapshot::new(policies, (0..pods).map(pod), [namespace]);
    let compiled = engine.update(&snapshot, network);
    let bridge = compiled.bridge.as_ref().map(text::ruleset).unwrap_or_default();
    text::ruleset(&compiled.ruleset) + &bridge
}

/// All pods reach each other, and nobody else reaches them or is reached.
fn policy() -> NetworkPolicy {
    let pods = PodPeer { namespaces: None, pods: Selector::everything() };
    let rule = Rule { peers: Peers::Only(vec![Peer::Pods(pods)]), ports: Ports::All };
    NetworkPolicy {
        key: ObjectKey::new(NAMESPACE, "each-other"),
        uid: String::new(),
        audit: Default::default(),
        pod_selector: Selector::everything(),
        ingress: Some(vec![rule.clone()]),
        egress: Some(vec![rule]),
    }
}

fn key(number: u32) -> ObjectKey {
    ObjectKey::new(NAMESPACE, format!("pod-{number}"))
}

/// The first two are the bed's.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(SENDER.to_bits() + number)
}

fn pod(number: u32) -> Pod {
    Pod {
        key: key(number),
        labels: Labels::default(),
        node: Some(NODE.to_owned()),
        addresses: vec![address(number).into()],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}

/// The bed's two interfaces, and further ones that do not exist.
fn network(links: Links, bed: &Bed, pods: u32) -> Result<NodeNetwork> {
    let mut network = NodeNetwork::default();
    let bridge = match links {
        Links::Routed => None,
        Links::Bridged => Some(InterfaceIndex(bed.index(BRIDGE)?)),
    };
    for number in 0..pods {
        let real = PORTS.iter().zip(MACS).nth(number as usize);
        let [_, _, high, low] = number.to_be_bytes();
        let (index, mac) = match real {
            Some((port, mac)) => (bed.index(port)?, mac),
            None => (FURTHER + number, [2, 0, 0, 1, high, low]),
        };
        let addresses = [address(number).into()].into();
        let port = BoundPort { pod: key(number), bridge, mac: Mac(mac), addresses };
        network.ports.insert(InterfaceIndex(index), port);
    }
    if let Some(bridge) = bridge {
        let addresses = [GATEWAY.into()].into();
        let bound = BoundBridge { mac: Mac(BRIDGE_MAC), addresses, only_pods: true };
        network.bridges.insert(bridge, bound);
    }
    Ok(network)
}
