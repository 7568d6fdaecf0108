//! What may pass between two addresses, on all ports at once.
//!
//! In: a snapshot. Out: for each pair of addresses the ports that [`policy::spec`] lets
//! pass; the addresses outside the cluster in classes that policies treat alike.
//! Never: a node. As for an author, all pods are local.

mod classes;

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy::{
    Direction, Isolation, NetworkPolicy, Owners, Peer, Peers, Pod, Port, PortNumbers, Ports,
    Protocol, Rule, Snapshot, Subject, all_subjects, isolation, spec,
};

use serde::Serialize;

use crate::PortSet;

/// Answers for one snapshot.
pub struct Reach<'a> {
    snapshot: &'a Snapshot,
    owners: Owners<'a>,
    subjects: BTreeMap<IpAddr, Vec<Subject<'a>>>,
}

/// What one side's policies let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side<'a> {
    /// No policy of this direction selects the pod, or there is no pod.
    NotIsolated,
    /// Policies do not apply: a pod and itself, a pod and its own node.
    Exempt,
    /// Isolated by these policies, which let this much pass.
    Isolated(Vec<&'a NetworkPolicy>, PortSet),
}

impl Side<'_> {
    /// What passes.
    pub fn ports(&self) -> PortSet {
        match self {
            Self::NotIsolated | Self::Exempt => PortSet::everything(),
            Self::Isolated(_, ports) => ports.clone(),
        }
    }
}

impl<'a> Reach<'a> {
    /// For this snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, owners: spec::owners(snapshot), subjects: all_subjects(snapshot, None) }
    }

    /// The pod that has an address.
    pub fn owner(&self, address: IpAddr) -> Option<&'a Pod> {
        self.owners.owner(address)
    }

    /// What may pass from one address to another. Addresses of different families reach
    /// nothing.
    pub fn ports(&self, source: IpAddr, destination: IpAddr) -> PortSet {
        if source.is_ipv4() != destination.is_ipv4() {
            return PortSet::nothing();
        }
        let egress = self.side(Direction::Egress, source, destination).ports();
        if egress.is_empty() {
            return egress;
        }
        egress.intersection(&self.side(Direction::Ingress, source, destination).ports())
    }

    /// What the policies of one side let pass, as [`spec::decide`] judges it.
    pub fn side(&self, direction: Direction, source: IpAddr, destination: IpAddr) -> Side<'a> {
        let (address, peer_address) = match direction {
            Direction::Egress => (source, destination),
            Direction::Ingress => (destination, source),
        };
        let subjects = self.subjects.get(&address).map(Vec::as_slice).unwrap_or_default();
        let isolation = isolation(self.snapshot, subjects, direction);
        if isolation == Isolation::None {
            return Side::NotIsolated;
        }
        let peer = self.owner(peer_address);
        let of_node = subjects.iter().any(|one| one.pod.host_addresses.contains(&peer_address));
        if address == peer_address || (peer.is_none() && of_node) {
            return Side::Exempt;
        }
        match isolation {
            Isolation::None => Side::NotIsolated,
            Isolation::Shut(policies) => Side::Isolated(policies, PortSet::nothing()),
            Isolation::By(pod, policies) => {
                let destination = match direction {
                    Direction::Egress => peer,
                    Direction::Ingress => Some(pod),
                };
                let rules = policies.iter().flat_map(|&policy| {
                    let rules = policy.rules(direction).unwrap_or_default().iter();
                    rules.map(move |rule| (policy, rule))
                });
                let allowed = rules
                    .filter(|(policy, rule)| self.selects(policy, rule, peer_address, peer))
                    .map(|(_, rule)| rule_ports(rule, destination))
                    .collect();
                Side::Isolated(policies, allowed)
            }
        }
    }

    /// Whether a rule has an address, or the pod that owns it, among its peers.
    pub fn selects(
        &self,
        policy: &NetworkPolicy,
        rule: &Rule,
        address: IpAddr,
        pod: Option<&Pod>,
    ) -> bool {
        match &rule.peers {
            Peers::Anyone => true,
            Peers::Only(peers) => {
                peers.iter().any(|peer| self.peer_selects(policy, peer, address, pod))
            }
        }
    }

    /// Whether a peer is an address, or the pod that owns it.
    pub fn peer_selects(
        &self,
        policy: &NetworkPolicy,
        peer: &Peer,
        address: IpAddr,
        pod: Option<&Pod>,
    ) -> bool {
        match peer {
            Peer::IpBlock(block) => block.contains(address),
            Peer::Pods(pods) => {
                pod.is_some_and(|pod| self.snapshot.peer_selects(pods, &policy.key.namespace, pod))
            }
        }
    }

    /// The addresses of a family in classes: no `ipBlock` tells two addresses of one class
    /// apart. Addresses of pods and nodes are in their classes, too. A class is a list of
    /// ranges, ascending, both ends included.
    pub fn classes(&self, family: Family) -> Vec<Vec<(IpAddr, IpAddr)>> {
        classes::of(&blocks(self.snapshot), family)
    }
}

/// What a rule's ports are for a destination. A name means the ports of that name there.
pub fn rule_ports(rule: &Rule, destination: Option<&Pod>) -> PortSet {
    match &rule.ports {
        Ports::All => PortSet::everything(),
        Ports::Only(ports) => ports.iter().map(|port| one_port(port, destination)).collect(),
    }
}

fn one_port(port: &Port, destination: Option<&Pod>) -> PortSet {
    let protocol: Protocol = port.protocol;
    match &port.numbers {
        PortNumbers::All => PortSet::range(protocol, 0, u16::MAX),
        PortNumbers::Range(first, last) => PortSet::range(protocol, *first, *last),
        PortNumbers::Named(name) => destination
            .map(|pod| pod.named_ports(name, protocol))
            .unwrap_or_default()
            .into_iter()
            .map(|number| PortSet::range(protocol, number, number))
            .collect(),
    }
}

/// All ipBlocks of a snapshot's policies, each once.
pub(crate) fn blocks(snapshot: &Snapshot) -> Vec<&policy::IpBlock> {
    let policies = snapshot.policies.values();
    let rules = policies.flat_map(|one| Direction::BOTH.map(|way| one.rules(way)));
    let peers = rules.flatten().flatten().flat_map(|rule| match &rule.peers {
        Peers::Anyone => &[][..],
        Peers::Only(peers) => peers,
    });
    let mut blocks: Vec<_> = peers
        .filter_map(|peer| match peer {
            Peer::IpBlock(block) => Some(block),
            Peer::Pods(_) => None,
        })
        .collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "IPv4")]
    Ipv4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    Ipv6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// Whether an address is of this family.
    pub fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::Ipv4)
    }

    fn last(self) -> u128 {
        match self {
            Self::Ipv4 => u128::from(u32::MAX),
            Self::Ipv6 => u128::MAX,
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::Ipv4 => {
                std::net::Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into()
            }
            Self::Ipv6 => std::net::Ipv6Addr::from_bits(number).into(),
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}
