//! The tables to compare, as scripts for nft(8).

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use compiler::{Engine, Options};
use policy::{
    BoundBridge, BoundPort, InterfaceIndex, Labels, Mac, Namespace, NetworkPolicy, NodeNetwork,
    ObjectKey, Peer, Peers, Phase, Pod, PodPeer, Ports, Rule, Selector, Snapshot,
};
use ruleset::text;

use crate::bed::{BRIDGE, BRIDGE_MAC, Bed, GATEWAY, Links, MACS, PORTS, SENDER};

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
    kind: Kind,
}

enum Kind {
    None,
    Floor,
    /// Of this many pods, all isolated in both directions.
    Nftpol {
        pods: u32,
        bound: bool,
    },
    File(String),
}

/// No table, the floor, nftpol's own, and those of files, `NAME=FILE`. A name that
/// begins with `routed` or `bridged` is for that network alone.
pub fn tables(links: Links, files: &[String]) -> Result<Vec<Table>> {
    let table = |name: &str, kind| Table { name: name.to_owned(), kind };
    let mut all =
        vec![table("no table", Kind::None), table("`ct state established` alone", Kind::Floor)];
    for pods in [10, 1000] {
        let name = format!("{pods} pods, interfaces not known");
        all.push(table(&name, Kind::Nftpol { pods, bound: false }));
        all.push(table(&format!("{pods} pods, bound"), Kind::Nftpol { pods, bound: true }));
    }
    for file in files {
        let (name, path) = file.split_once('=').context("a table is NAME=FILE")?;
        let other = match links {
            Links::Routed => "bridged",
            Links::Bridged => "routed",
        };
        if !name.starts_with(other) {
            all.push(table(name, Kind::File(path.to_owned())));
        }
    }
    Ok(all)
}

impl Table {
    /// Its script for this bed.
    pub fn script(&self, links: Links, bed: &Bed) -> Result<String> {
        Ok(match &self.kind {
            Kind::None => String::new(),
            Kind::Floor => FLOOR.to_owned(),
            Kind::File(path) => fs::read_to_string(path).with_context(|| format!("read {path}"))?,
            Kind::Nftpol { pods, bound } => {
                let network =
                    if *bound { network(links, bed, *pods)? } else { NodeNetwork::default() };
                compiled(*pods, &network)
            }
        })
    }
}

fn compiled(pods: u32, network: &NodeNetwork) -> String {
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    let mut engine = Engine::new(options);
    let namespace = Namespace::synthesised(NAMESPACE.to_owned());
    let snapshot = Snapshot::new([policy()], (0..pods).map(pod), [namespace]);
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
        pod_selector: Selector::everything(),
        ingress: Some(vec![rule.clone()]),
        egress: Some(vec![rule]),
    }
}

fn key(number: u32) -> ObjectKey {
    ObjectKey::new(NAMESPACE, format!("pod-{number}"))
}

/// The first two are the bed's.
fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(SENDER.to_bits() + number).into()
}

fn pod(number: u32) -> Pod {
    Pod {
        key: key(number),
        labels: Labels::default(),
        node: Some(NODE.to_owned()),
        addresses: vec![address(number)],
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
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
        let addresses = [address(number)].into();
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
