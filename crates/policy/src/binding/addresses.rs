//! Which interface holds each reported address.
//!
//! In: the view. Out: the holder of each address, and the pod of each interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{FIRST_ADDRESSES, View, is_for_pods};
use crate::{InterfaceIndex, ObjectKey, SeenAddress, SeenPort};

/// How long after an interface's first address others still count as first, in
/// 1/100 seconds. A CNI plugin adds all of them at once, before it starts the
/// pod's containers.
const FIRST_FOR: u32 = 50;

/// Who holds what.
pub(super) struct Held<'a> {
    /// The interface that holds each reported address.
    pub holders: BTreeMap<IpAddr, InterfaceIndex>,
    /// The pod of each interface that holds an address.
    pub pods: BTreeMap<InterfaceIndex, &'a ObjectKey>,
    /// Addresses that were bound to an interface that lives and is another pod's
    /// now. Nobody holds them.
    pub kept: BTreeMap<IpAddr, InterfaceIndex>,
}

/// An interface that could hold an address, and since when it has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    created: u32,
    index: InterfaceIndex,
    address: IpAddr,
}

/// The addresses that a port had first: the earliest one, and those that came
/// with it.
pub(super) fn first_of(port: &SeenPort) -> BTreeMap<IpAddr, u32> {
    let own = port.addresses.iter().filter(|one| is_for_pods(one.address));
    let mut by_time: Vec<(u32, IpAddr)> = own.map(|one| (one.created, one.address)).collect();
    by_time.sort_unstable();
    let Some(&(start, _)) = by_time.first() else { return BTreeMap::new() };
    let with_it = by_time.iter().take_while(|(created, _)| created - start <= FIRST_FOR);
    with_it.take(FIRST_ADDRESSES).map(|&(created, address)| (address, created)).collect()
}

/// Finds the holder of each reported address.
pub(super) fn hold<'a>(view: &View<'a>) -> Held<'a> {
    let mut held = Held { holders: BTreeMap::new(), pods: BTreeMap::new(), kept: BTreeMap::new() };
    held.keep_claims(view);
    let all = view.ports.values().flat_map(|port| candidates(view, port));
    held.assign(view, all.collect());
    let of_known = view.ports.values().filter(|port| held.pods.contains_key(&port.index));
    held.assign(view, of_known.flat_map(|port| present(port)).collect());
    held
}

/// What a port had first. Of a port that was never seen before it is not known
/// what it had first: then what it has.
fn candidates(view: &View<'_>, port: &SeenPort) -> Vec<Candidate> {
    match view.first_known(port.index) {
        Some(first) => {
            let index = port.index;
            let candidate = |(&address, &created)| Candidate { created, index, address };
            first.iter().map(candidate).collect()
        }
        None => present(port).collect(),
    }
}

fn present(port: &SeenPort) -> impl Iterator<Item = Candidate> {
    let candidate = |one: &SeenAddress| Candidate {
        created: one.created,
        index: port.index,
        address: one.address,
    };
    port.addresses.iter().map(candidate)
}

impl<'a> Held<'a> {
    /// The reported addresses that an interface holds.
    pub fn of(&self, index: InterfaceIndex) -> impl Iterator<Item = IpAddr> {
        let holders = self.holders.iter();
        holders.filter(move |(_, holder)| **holder == index).map(|(&address, _)| address)
    }

    /// What was bound to an interface that lives stays there.
    fn keep_claims(&mut self, view: &View<'a>) {
        for (&index, port) in &view.ports {
            let Some(claim) = view.claim(index) else { continue };
            let mut claimed: Vec<(bool, IpAddr)> = claim
                .addresses
                .iter()
                .filter(|address| view.reported.contains_key(*address))
                .filter(|address| !self.is_settled(**address))
                .map(|&address| (!port.has(address), address))
                .collect();
            // Whose the interface is: first by what its other end still has.
            claimed.sort_unstable();
            for (_, address) in claimed {
                let Some(&pod) = view.reported.get(&address) else { continue };
                match *self.pods.entry(index).or_insert(pod) == pod {
                    true => self.holders.insert(address, index),
                    false => self.kept.insert(address, index),
                };
            }
        }
    }

    /// Assigns addresses to candidates: those with one candidate first, since its
    /// interface then is no candidate for another pod's address; then the one
    /// that is there the longest, and so on.
    fn assign(&mut self, view: &View<'a>, mut candidates: Vec<Candidate>) {
        candidates.retain(|one| self.can_hold(view, one));
        candidates.sort_unstable();
        loop {
            candidates.retain(|one| self.can_hold(view, one));
            let Some(&earliest) = candidates.first() else { return };
            let single = only_candidates(&candidates);
            match single.is_empty() {
                true => self.give(view, &earliest),
                false => single.iter().for_each(|one| self.give(view, one)),
            }
        }
    }

    fn give(&mut self, view: &View<'a>, candidate: &Candidate) {
        if let Some(&pod) = view.reported.get(&candidate.address)
            && self.can_hold(view, candidate)
        {
            self.holders.insert(candidate.address, candidate.index);
            self.pods.insert(candidate.index, pod);
        }
    }

    fn can_hold(&self, view: &View<'a>, candidate: &Candidate) -> bool {
        let Candidate { index, address, .. } = candidate;
        let of_other = |pod: &ObjectKey| self.pods.get(index).is_some_and(|known| *known != pod);
        view.reported.get(address).is_some_and(|pod| !of_other(pod)) && !self.is_settled(*address)
    }

    fn is_settled(&self, address: IpAddr) -> bool {
        self.holders.contains_key(&address) || self.kept.contains_key(&address)
    }
}

/// The candidates for an address that has no other, by time.
fn only_candidates(candidates: &[Candidate]) -> Vec<Candidate> {
    let mut interfaces: BTreeMap<IpAddr, BTreeSet<InterfaceIndex>> = BTreeMap::new();
    for one in candidates {
        interfaces.entry(one.address).or_default().insert(one.index);
    }
    let is_only = |one: &&Candidate| interfaces.get(&one.address).is_some_and(|all| all.len() == 1);
    candidates.iter().filter(is_only).copied().collect()
}
