//! Which interface holds each reported address.
//!
//! In: the view. Out: the holder of each address, and the pod of each interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::candidates::{Candidate, Candidates};
use super::{FIRST_ADDRESSES, View, is_for_pods};
use crate::{InterfaceIndex, ObjectKey, SeenAddress, SeenPort};

/// How long after an interface's first address others still count as first, in
/// 1/100 seconds. A CNI plugin adds all of them at once, before it starts the
/// pod's containers.
const FIRST_FOR: u32 = 50;

/// Who holds what.
#[derive(Default)]
pub(super) struct Held<'a> {
    /// The interface that holds each reported address.
    pub holders: BTreeMap<IpAddr, InterfaceIndex>,
    /// The same, by interface.
    of: BTreeMap<InterfaceIndex, BTreeSet<IpAddr>>,
    /// The pod of each interface that holds an address.
    pub pods: BTreeMap<InterfaceIndex, &'a ObjectKey>,
    /// Addresses that were bound to an interface that lives and is another pod's
    /// now. Nobody holds them.
    pub kept: BTreeMap<IpAddr, InterfaceIndex>,
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
    let mut held = Held::default();
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
        self.of.get(&index).into_iter().flatten().copied()
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
                    true => self.bind(address, index),
                    false => drop(self.kept.insert(address, index)),
                }
            }
        }
    }

    /// Assigns addresses to candidates: those with one candidate first, since its
    /// interface then is no candidate for another pod's address; then the one
    /// that is there the longest, and so on.
    fn assign(&mut self, view: &View<'a>, candidates: Vec<Candidate>) {
        let able = candidates.into_iter().filter(|one| self.can_hold(view, one));
        let mut left = Candidates::new(able);
        while let Some(earliest) = left.earliest() {
            let mut next = left.take_alone();
            if next.is_empty() {
                next.insert(earliest);
            }
            for one in &next {
                // Another one of these may have got its interface.
                if self.can_hold(view, one) {
                    self.give(view, one, &mut left);
                }
            }
        }
    }

    /// Gives an address to a candidate, and removes those that cannot hold theirs
    /// any more.
    fn give(&mut self, view: &View<'a>, candidate: &Candidate, left: &mut Candidates) {
        let Some(&pod) = view.reported.get(&candidate.address) else { return };
        self.bind(candidate.address, candidate.index);
        self.pods.insert(candidate.index, pod);
        left.of_address(candidate.address).iter().for_each(|one| left.remove(one));
        for one in left.of_interface(candidate.index) {
            if !self.can_hold(view, &one) {
                left.remove(&one);
            }
        }
    }

    fn bind(&mut self, address: IpAddr, index: InterfaceIndex) {
        self.holders.insert(address, index);
        self.of.entry(index).or_default().insert(address);
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
