//! How many tables of further networks the pods of a namespace may have on one node.
//!
//! In: what each namespace asks for. Out: what it gets. Never: an earlier answer; a namespace
//! that gets less because another one asks for more than its part.
//!
//! A table costs a thread, three sockets, and twenty looks a second. A network costs an index
//! over the pods of all further networks ([`compiler::Excerpts`]), shared or not. A tenant
//! chooses both: a pod's annotation may name any number of networks, and one interface for all
//! of them.

use std::collections::{BTreeMap, BTreeSet};

use compiler::budget::level;
use policy::ObjectKey;

/// Tables of all pods of a node, and of those of one namespace.
const TABLES: [u64; 2] = [1024, 512];
/// Networks with a table on a node, and in the pods of one namespace.
const NETWORKS: [u64; 2] = [128, 64];
/// Parts of a network that namespaces share.
const PARTS: u64 = 1_000;

/// What the pods of a namespace ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// One for each pod and network.
    pub tables: u64,
    /// The networks of these.
    pub networks: BTreeSet<ObjectKey>,
}

/// What is left for a namespace.
#[derive(Clone, Debug)]
pub(super) struct Room {
    tables: u64,
    /// Networks, each counted once.
    networks: u64,
    /// Parts of networks.
    parts: u64,
    of: BTreeMap<ObjectKey, u64>,
    seen: BTreeSet<ObjectKey>,
}

/// What each namespace gets.
pub(super) fn rooms<'a>(
    demands: &BTreeMap<&'a str, Demand>,
) -> impl Iterator<Item = (&'a str, Room)> {
    let mut users: BTreeMap<&ObjectKey, u64> = BTreeMap::new();
    for network in demands.values().flat_map(|demand| &demand.networks) {
        *users.entry(network).or_default() += 1;
    }
    let part = |network: &ObjectKey| PARTS / users.get(network).copied().unwrap_or(1).max(1);
    let parts = |demand: &Demand| demand.networks.iter().map(part).sum::<u64>();
    let [node, namespace] = TABLES;
    let asked = demands.values().map(|demand| demand.tables.min(namespace)).collect();
    let tables = level(asked, node).min(namespace);
    let [node, networks] = NETWORKS;
    let asked = demands.values().map(|demand| parts(demand).min(networks * PARTS)).collect();
    let most = level(asked, node * PARTS);
    let rooms: Vec<(&str, Room)> = demands
        .iter()
        .map(|(namespace, demand)| {
            let of = demand.networks.iter().map(|network| (network.clone(), part(network)));
            let of = of.collect();
            (*namespace, Room { tables, networks, parts: most, of, seen: BTreeSet::new() })
        })
        .collect();
    rooms.into_iter()
}

impl Room {
    /// Takes a table for each of these networks, if there is room for all.
    pub fn take(&mut self, networks: &BTreeSet<ObjectKey>) -> bool {
        let tables = networks.len() as u64;
        let new: Vec<&ObjectKey> = networks.difference(&self.seen).collect();
        let parts = new.iter().filter_map(|network| self.of.get(*network)).sum::<u64>();
        let count = new.len() as u64;
        if tables > self.tables || count > self.networks || parts > self.parts {
            return false;
        }
        self.tables -= tables;
        self.networks -= count;
        self.parts -= parts;
        self.seen.extend(networks.iter().cloned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a namespace's pods find room, each of which is on these networks.
    fn taken(asked: &[(&str, usize, &[&str])]) -> Vec<usize> {
        let sets = asked.iter().map(|(_, _, networks)| -> BTreeSet<ObjectKey> {
            networks.iter().map(|name| ObjectKey::new("nets", *name)).collect()
        });
        let sets: Vec<_> = sets.collect();
        let demands = asked.iter().zip(&sets).map(|((namespace, pods, _), networks)| {
            let tables = (pods * networks.len()) as u64;
            (*namespace, Demand { tables, networks: networks.clone() })
        });
        let rooms: BTreeMap<&str, Room> = rooms(&demands.collect()).collect();
        let mut found = Vec::new();
        for ((namespace, pods, _), networks) in asked.iter().zip(&sets) {
            let mut room = rooms[namespace].clone();
            found.push((0..*pods).filter(|_| room.take(networks)).count());
        }
        found
    }

    #[test]
    fn who_asks_for_little_gets_it_whatever_others_ask_for() {
        let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(taken(&[("a", 110, &["x", "y"])]), [110]);
        assert_eq!(taken(&[("a", 600, &["x"])]), [512], "half of the node's");
        assert_eq!(taken(&[("a", 1, &names)]), [0], "more networks than a namespace may have");
        let three = [("a", 2, &["x"][..]), ("greedy", 600, &["y"]), ("more", 600, &["z"])];
        assert_eq!(taken(&three), [2, 511, 511]);
        let nets = [("a", 3, &["x"][..]), ("b", 1, &names[..64]), ("c", 1, &names[60..])];
        assert_eq!(taken(&nets), [3, 1, 1], "shared networks count once");
        let many: Vec<String> = (0..100).map(|number| format!("ns{number}")).collect();
        let many: Vec<(&str, usize, &[&str])> =
            many.iter().map(|name| (name.as_str(), 2, &["x", "y"][..])).collect();
        assert_eq!(taken(&many), vec![2; 100], "all share two networks");
    }
}
