//! The binding of pods to their interfaces, in both tables.
//!
//! In: the node's network, the nodes' addresses, and which pods are isolated. Out:
//! the sets and chains that [`scaffold`] draws for them. The cost is that of the
//! change: each port, bridge and node has a handful of elements.

mod guards;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet, ordset};
use policy::spec::edges::Edges;
use policy::{BoundBridge, InterfaceIndex, NodeNetwork, ObjectKey, Pod, PodRange};
use ruleset::{Family, Name, Ruleset, TableFamily};

use super::changes::{Changed, Changes};
use super::output::Isolated;
use crate::scaffold::audit::Audits;
use crate::scaffold::unknown::{self, Shut, of_known};
use crate::scaffold::{self, Placed};
use crate::{Compiled, LogOptions, Place};
use guards::Guards;

/// The bindings in force.
#[derive(Debug)]
pub(super) struct Binding {
    place: Place,
    log: Option<LogOptions>,
    network: NodeNetwork,
    /// What the chains are made for.
    parts: scaffold::Network,
    /// The elements of each port.
    ports: BTreeMap<InterfaceIndex, Vec<Placed>>,
    /// The ports of each pod.
    of_pod: BTreeMap<ObjectKey, BTreeSet<InterfaceIndex>>,
    /// How many ports of bridges are bound.
    bridged: usize,
    /// The isolated pods' ports.
    guards: Guards,
    /// How many pods name a node's address, and whether a tunnel does.
    nodes: BTreeMap<IpAddr, usize>,
    /// By how many ports, bridges and nodes each element is there. Two ports of
    /// two bridges can have one MAC or link-local address.
    users: BTreeMap<Placed, usize>,
    /// Sets with all elements, also while the tables lack them.
    inet: Ruleset,
    bridge: Ruleset,
    /// Sets of `inet` that changed.
    changed: BTreeSet<Name>,
}

/// What changed in the cluster.
pub(super) struct Change<'a> {
    /// The network now.
    pub network: &'a NodeNetwork,
    /// What changed of the objects.
    pub objects: &'a Changes<'a>,
    /// Pods that may be isolated now and were not, or the other way round.
    pub pods: &'a BTreeSet<ObjectKey>,
    /// Such addresses.
    pub addresses: &'a BTreeSet<IpAddr>,
}

impl Binding {
    /// Nothing is bound. `log`: how drops are logged.
    pub fn new(place: &Place, log: Option<LogOptions>) -> Self {
        let everything = scaffold::Network::everything();
        let mut inet = Ruleset::new(place.table.clone());
        scaffold::fit(&mut inet, place, &everything);
        Self {
            place: place.clone(),
            log,
            network: NodeNetwork::default(),
            parts: scaffold::Network::default(),
            ports: BTreeMap::new(),
            of_pod: BTreeMap::new(),
            bridged: 0,
            guards: Guards::default(),
            nodes: BTreeMap::new(),
            users: BTreeMap::new(),
            inet,
            bridge: scaffold::bridge::of(),
            changed: BTreeSet::new(),
        }
    }

    /// The network.
    pub fn network(&self) -> &NodeNetwork {
        &self.network
    }

    /// Goes on to another network and other pods. `isolated`: who is so now.
    pub fn update(
        &mut self,
        change: &Change<'_>,
        isolated: Isolated<'_>,
        has_audits: bool,
        out: &mut Compiled,
    ) {
        let before = std::mem::replace(&mut self.network, change.network.clone());
        self.follow_bridges(&before);
        self.follow_nodes(&before, &change.objects.pods);
        let shut = self.follow_known(change.objects);
        let mut ports: BTreeSet<InterfaceIndex> =
            differing(&before.ports, &self.network.ports).into_iter().collect();
        let of_pod = change.pods.iter().filter_map(|pod| self.of_pod.get(pod));
        ports.extend(of_pod.flatten());
        for port in ports {
            self.rebind(port, &before, isolated);
        }
        self.guards.follow(change.addresses, isolated);
        let edges = match (isolated.is_any(), self.is_guarded()) {
            (false, _) => Edges::Open,
            (true, true) => Edges::Guarded,
            (true, false) => Edges::Shut,
        };
        self.publish(shut, edges, has_audits, out);
    }

    /// Whether the ports of all isolated pods take their own addresses alone.
    fn is_guarded(&self) -> bool {
        !self.ports.is_empty() && self.guards.are_enough(self.network.guards_pending)
    }

    fn rebind(&mut self, index: InterfaceIndex, before: &NodeNetwork, isolated: Isolated<'_>) {
        let (old, new) = (before.ports.get(&index), self.network.ports.get(&index).cloned());
        if let Some(port) = old {
            if let Some(ports) = self.of_pod.get_mut(&port.pod) {
                ports.remove(&index);
                if ports.is_empty() {
                    self.of_pod.remove(&port.pod);
                }
            }
            self.bridged -= usize::from(port.bridge.is_some());
        }
        let guarded = new.as_ref().filter(|port| isolated.has_pod(&port.pod));
        self.guards.replace(index, guarded);
        let elements = new.map(|port| {
            self.bridged += usize::from(port.bridge.is_some());
            self.of_pod.entry(port.pod.clone()).or_default().insert(index);
            scaffold::of_port(index, &port, isolated.has_pod(&port.pod))
        });
        let elements = elements.unwrap_or_default();
        self.acquire(&elements);
        let gone = match elements.is_empty() {
            true => self.ports.remove(&index),
            false => self.ports.insert(index, elements),
        };
        self.release(&gone.unwrap_or_default());
    }

    fn follow_bridges(&mut self, before: &NodeNetwork) {
        let elements = |index: InterfaceIndex, bridges: &OrdMap<InterfaceIndex, BoundBridge>| {
            let bridge = bridges.get(&index);
            bridge.map(|bridge| scaffold::of_bridge(index, bridge)).unwrap_or_default()
        };
        for index in differing(&before.bridges, &self.network.bridges) {
            let (old, new) =
                (elements(index, &before.bridges), elements(index, &self.network.bridges));
            self.acquire(&new);
            self.release(&old);
        }
    }

    fn follow_nodes(&mut self, before: &NodeNetwork, pods: &[Changed<'_, ObjectKey, Pod>]) {
        let addresses = |pods: &mut dyn Iterator<Item = &Arc<Pod>>| -> Vec<IpAddr> {
            pods.flat_map(|pod| pod.host_addresses.iter().copied()).collect()
        };
        let mut gone = addresses(&mut pods.iter().filter_map(|pod| pod.before));
        let mut come = addresses(&mut pods.iter().filter_map(|pod| pod.after));
        for item in before.tunnel_peers.diff(&self.network.tunnel_peers) {
            match item {
                ordset::DiffItem::Add(address) => come.push(*address),
                ordset::DiffItem::Remove(address) => gone.push(*address),
            }
        }
        for address in come {
            let users = self.nodes.entry(address).or_default();
            *users += 1;
            if *users == 1 {
                self.acquire(&[scaffold::of_node(address)]);
            }
        }
        for address in gone {
            match self.nodes.get_mut(&address) {
                Some(users) if *users > 1 => *users -= 1,
                _ => {
                    self.nodes.remove(&address);
                    self.release(&[scaffold::of_node(address)]);
                }
            }
        }
    }

    /// The addresses in the pods' ranges that an object names. Returns the ranges that
    /// are shut. What is known is followed only then: in other ranges, from all objects.
    fn follow_known(&mut self, changes: &Changes<'_>) -> OrdSet<PodRange> {
        let ranges = self.network.shut_ranges(changes.after);
        let old = self.parts.shut.ranges.clone();
        if ranges != old {
            for (name, _) in unknown::sets(&old) {
                self.users.retain(|one, _| one.set != name);
                self.inet.sets.remove(&name);
            }
            self.inet.sets.extend(unknown::sets(&ranges));
            let pods = changes.after.pods.values().flat_map(|pod| pod.named_addresses());
            let all = pods.chain(changes.after.kept.keys().copied());
            self.acquire(&of_known(all, &ranges));
            return ranges;
        }
        if ranges.is_empty() {
            return ranges;
        }
        let pods = || changes.pods.iter();
        let kept = || changes.kept.iter();
        let come = pods().filter_map(|pod| pod.after).flat_map(|pod| pod.named_addresses());
        let kept_now = kept().filter(|one| one.after.is_some()).map(|one| *one.key);
        let gone = pods().filter_map(|pod| pod.before).flat_map(|pod| pod.named_addresses());
        let kept_before = kept().filter(|one| one.before.is_some()).map(|one| *one.key);
        self.acquire(&of_known(come.chain(kept_now), &ranges));
        self.release(&of_known(gone.chain(kept_before), &ranges));
        ranges
    }

    /// The families of which nodes' addresses are known. In order, each IPv4 address
    /// stands before each IPv6 address.
    fn known_families(&self) -> BTreeSet<Family> {
        let ends = [self.nodes.first_key_value(), self.nodes.last_key_value()];
        ends.into_iter().flatten().map(|(address, _)| Family::of(*address)).collect()
    }

    fn acquire(&mut self, elements: &[Placed]) {
        for one in elements {
            let users = self.users.entry(one.clone()).or_default();
            *users += 1;
            if *users == 1
                && let Some(set) = self.table(one.table).sets.get_mut(&one.set)
            {
                set.elements.insert(one.element);
                self.changed.insert(one.set.clone());
            }
        }
    }

    fn release(&mut self, elements: &[Placed]) {
        for one in elements {
            match self.users.get_mut(one) {
                Some(users) if *users > 1 => *users -= 1,
                _ => {
                    self.users.remove(one);
                    if let Some(set) = self.table(one.table).sets.get_mut(&one.set) {
                        set.elements.remove(&one.element);
                        self.changed.insert(one.set.clone());
                    }
                }
            }
        }
    }

    fn table(&mut self, family: TableFamily) -> &mut Ruleset {
        match family {
            TableFamily::Inet => &mut self.inet,
            TableFamily::Bridge => &mut self.bridge,
        }
    }

    /// Writes what changed to the tables.
    fn publish(
        &mut self,
        shut: OrdSet<PodRange>,
        edges: Edges,
        has_audits: bool,
        out: &mut Compiled,
    ) {
        let parts = scaffold::Network {
            is_bound: !self.ports.is_empty(),
            tunnels: self.network.tunnels.clone(),
            known_nodes: match self.network.tunnels.is_empty() {
                true => BTreeSet::new(),
                false => self.known_families(),
            },
            shut: Shut { ranges: shut, log: self.log },
            audits: has_audits.then_some(Audits { has_log: self.log.is_some() }),
            edges,
            ipvs: self.network.ipvs,
        };
        let mut changed = std::mem::take(&mut self.changed);
        if parts != self.parts {
            scaffold::fit(&mut out.ruleset, &self.place, &parts);
            self.parts = parts;
            changed.extend(self.inet.sets.keys().cloned());
        }
        for name in &changed {
            let set = self.inet.sets.get(name).filter(|_| out.ruleset.sets.contains_key(name));
            if let Some(set) = set {
                out.ruleset.sets.insert(name.clone(), set.clone());
            }
        }
        let bridge = (self.bridged > 0).then_some(&self.bridge);
        if bridge.is_some() != out.bridge.is_some() || !changed.is_empty() {
            out.bridge = bridge.cloned();
        }
    }
}

/// The keys whose values differ.
fn differing<K: Ord + Copy, V: PartialEq>(before: &OrdMap<K, V>, later: &OrdMap<K, V>) -> Vec<K> {
    let items = before.diff(later).map(|item| match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) => *key,
        DiffItem::Update { new: (key, _), .. } => *key,
    });
    items.collect()
}

#[cfg(test)]
mod tests;
