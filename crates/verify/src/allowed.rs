//! What policies allow, as regions.
//!
//! In: the policies that isolate a pod, and the cluster. Out: every (peer
//! address, code) that one of their rules allows, following the sentences of
//! `policy::spec`.
//! Never: the compiler's code. The only help is the model's own answers: who
//! owns an address, which pods a selector matches, what a port name means.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use ipnet::IpNet;
use policy::{
    Direction, IpBlock, NamedPort, NetworkPolicy, ObjectKey, Owners, Peer, Peers, Pod, PodPeer,
    Port, PortNumbers, Ports, Protocol, Rule, Snapshot,
};
use ruleset::{Family, number};

use crate::ranges::Ranges;
use crate::region::{Region, Slab};
use crate::sets::slabs;
use crate::space;

/// Computes regions, and reuses what pods have in common.
pub(crate) struct Allowed<'a> {
    snapshot: &'a Snapshot,
    owners: &'a Owners<'a>,
    by_namespace: BTreeMap<&'a str, Vec<&'a Pod>>,
    /// The namespace is empty where the peer has a namespace selector.
    peers: HashMap<(Family, &'a str, &'a PodPeer), Ranges>,
    named: HashMap<(Family, &'a str, Protocol), Rc<Region>>,
    regions: HashMap<Key<'a>, Rc<Region>>,
}

/// What determines a region. Egress does not depend on the pod's own ports.
#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    direction: Direction,
    family: Family,
    policies: Vec<&'a ObjectKey>,
    ports: Vec<(&'a str, Protocol, u16)>,
}

/// The pod, direction and family that a region is for.
#[derive(Clone, Copy)]
struct Subject<'a> {
    pod: &'a Pod,
    direction: Direction,
    family: Family,
}

impl<'a> Allowed<'a> {
    pub fn new(snapshot: &'a Snapshot, owners: &'a Owners<'a>) -> Self {
        let mut by_namespace: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in snapshot.pods.values().filter(|pod| pod.is_subject()) {
            by_namespace.entry(&pod.key.namespace).or_default().push(pod);
        }
        Self {
            snapshot,
            owners,
            by_namespace,
            peers: HashMap::new(),
            named: HashMap::new(),
            regions: HashMap::new(),
        }
    }

    /// The number of distinct regions.
    pub fn regions(&self) -> usize {
        self.regions.len()
    }

    /// What these policies allow the pod that they isolate.
    pub fn region(
        &mut self,
        pod: &'a Pod,
        direction: Direction,
        family: Family,
        policies: &[&'a NetworkPolicy],
    ) -> Rc<Region> {
        let port = |port: &'a NamedPort| (port.name.as_str(), port.protocol, port.port);
        let ports = match direction {
            Direction::Egress => Vec::new(),
            Direction::Ingress => pod.ports.iter().map(port).collect(),
        };
        let keys = policies.iter().map(|policy| &policy.key).collect();
        let key = Key { direction, family, policies: keys, ports };
        if let Some(known) = self.regions.get(&key) {
            return Rc::clone(known);
        }
        let subject = Subject { pod, direction, family };
        let mut all = Vec::new();
        for policy in policies {
            for rule in policy.rules(direction).unwrap_or_default() {
                all.extend(self.rule(subject, policy, rule));
            }
        }
        let region = Rc::new(Region::of(all));
        self.regions.insert(key, Rc::clone(&region));
        region
    }

    fn rule(
        &mut self,
        subject: Subject<'a>,
        policy: &'a NetworkPolicy,
        rule: &'a Rule,
    ) -> Vec<Slab> {
        let peers = match &rule.peers {
            Peers::Anyone => space::addresses(subject.family),
            Peers::Only(peers) => {
                let namespace = policy.key.namespace.as_str();
                let all: Vec<Ranges> =
                    peers.iter().map(|peer| self.peer(subject.family, namespace, peer)).collect();
                Ranges::union_of(&all)
            }
        };
        match &rule.ports {
            _ if peers.is_empty() => Vec::new(),
            Ports::All => slabs(&peers, &space::codes(subject.family)),
            Ports::Only(ports) => {
                ports.iter().flat_map(|port| self.port(subject, &peers, port)).collect()
            }
        }
    }

    fn port(&mut self, subject: Subject<'a>, peers: &Ranges, port: &'a Port) -> Vec<Slab> {
        let protocol = port.protocol;
        match (&port.numbers, subject.direction) {
            (PortNumbers::All, _) => {
                slabs(peers, &space::protocol(subject.family, protocol.number()))
            }
            (PortNumbers::Range(first, last), _) => {
                slabs(peers, &space::ports(protocol, *first, *last))
            }
            (PortNumbers::Named(name), Direction::Ingress) => {
                let numbers = subject.pod.named_ports(name, protocol).into_iter();
                let each = numbers.map(|port| space::ports(protocol, port, port));
                slabs(peers, &Ranges::union_of(&each.collect::<Vec<_>>()))
            }
            (PortNumbers::Named(name), Direction::Egress) => {
                let of_anyone = self.named(subject.family, name, protocol);
                of_anyone.within(peers).slabs().to_vec()
            }
        }
    }

    /// All pods that have a port of this name, with that port's numbers.
    fn named(&mut self, family: Family, name: &'a str, protocol: Protocol) -> Rc<Region> {
        if let Some(known) = self.named.get(&(family, name, protocol)) {
            return Rc::clone(known);
        }
        let pods = self.by_namespace.values().flatten();
        let of_pod = |pod: &&'a Pod| {
            let addresses = self.addresses_of(pod, family);
            let numbers = pod.named_ports(name, protocol).into_iter();
            let slab =
                move |port| slabs(&addresses, &space::ports(protocol, port, port)).into_iter();
            numbers.flat_map(slab).collect::<Vec<_>>()
        };
        let region = Rc::new(Region::of(pods.flat_map(of_pod)));
        self.named.insert((family, name, protocol), Rc::clone(&region));
        region
    }

    fn peer(&mut self, family: Family, namespace: &'a str, peer: &'a Peer) -> Ranges {
        let pods = match peer {
            Peer::IpBlock(block) => return of_block(family, block),
            Peer::Pods(pods) => pods,
        };
        // With a namespaceSelector, the policy's own namespace does not matter.
        let scope = if pods.namespaces.is_some() { "" } else { namespace };
        let key = (family, scope, pods);
        if let Some(known) = self.peers.get(&key) {
            return known.clone();
        }
        // This only narrows the search. `peer_selects` decides about each pod.
        let labels = |name: &str| self.snapshot.namespace_labels(name);
        let namespaces: Vec<&str> = match &pods.namespaces {
            None => vec![namespace],
            Some(selector) => {
                let all = self.by_namespace.keys().copied();
                all.filter(|name| labels(name).is_some_and(|of| selector.matches(of))).collect()
            }
        };
        let selected = namespaces
            .iter()
            .filter_map(|namespace| self.by_namespace.get(namespace))
            .flatten()
            .filter(|pod| self.snapshot.peer_selects(pods, namespace, pod))
            .map(|pod| self.addresses_of(pod, family))
            .collect::<Vec<_>>();
        let selected = Ranges::union_of(&selected);
        self.peers.insert(key, selected.clone());
        selected
    }

    /// The addresses of a family that the pod owns.
    pub fn addresses_of(&self, pod: &'a Pod, family: Family) -> Ranges {
        let own = self.owners.addresses_of(pod);
        Ranges::numbers(own.filter_map(|address| space::of_family(family, address)))
    }
}

/// The addresses of a block: its CIDR minus its excepts.
fn of_block(family: Family, block: &IpBlock) -> Ranges {
    if Family::of(block.cidr().addr()) != family {
        return Ranges::empty();
    }
    let span = |net: &IpNet| (number(net.network()), number(net.broadcast()));
    let excepts = Ranges::of(block.except().iter().map(span));
    Ranges::of([span(&block.cidr())]).subtract(&excepts)
}
