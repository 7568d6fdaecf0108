//! The interfaces that could hold an address and do not yet.
//!
//! In: candidates. Out: those that have no rival, and the earliest of all.
//! Never: whose an address or an interface is. The cost of all steps together is that
//! of sorting.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::InterfaceIndex;

/// An interface that could hold an address, and since when it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub created: u32,
    pub index: InterfaceIndex,
    pub address: IpAddr,
}

/// The candidates that are left.
#[derive(Default)]
pub(super) struct Candidates {
    all: BTreeSet<Candidate>,
    by_address: BTreeMap<IpAddr, BTreeSet<Candidate>>,
    by_interface: BTreeMap<InterfaceIndex, BTreeSet<Candidate>>,
    /// Those that became the only one for their address since they were taken last.
    alone: BTreeSet<Candidate>,
}

impl Candidates {
    /// An interface can have an address twice, with two prefix lengths: then the
    /// earlier time counts.
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let mut earliest: BTreeMap<(InterfaceIndex, IpAddr), Candidate> = BTreeMap::new();
        for one in candidates {
            let known = earliest.entry((one.index, one.address)).or_insert(one);
            *known = one.min(*known);
        }
        let mut new = Self::default();
        for one in earliest.into_values() {
            new.all.insert(one);
            new.by_address.entry(one.address).or_default().insert(one);
            new.by_interface.entry(one.index).or_default().insert(one);
        }
        let alone = new.by_address.values().filter(|all| all.len() == 1);
        new.alone = alone.flatten().copied().collect();
        new
    }

    /// The one that is there the longest.
    pub fn earliest(&self) -> Option<Candidate> {
        self.all.first().copied()
    }

    /// Those that have no rival, by time. Each is returned once.
    pub fn take_alone(&mut self) -> BTreeSet<Candidate> {
        std::mem::take(&mut self.alone)
    }

    /// All for an address.
    pub fn of_address(&self, address: IpAddr) -> Vec<Candidate> {
        self.by_address.get(&address).into_iter().flatten().copied().collect()
    }

    /// All of an interface.
    pub fn of_interface(&self, index: InterfaceIndex) -> Vec<Candidate> {
        self.by_interface.get(&index).into_iter().flatten().copied().collect()
    }

    /// Removes one. Its last rival then has none.
    pub fn remove(&mut self, one: &Candidate) {
        self.all.remove(one);
        self.alone.remove(one);
        if let Some(of_interface) = self.by_interface.get_mut(&one.index) {
            of_interface.remove(one);
        }
        let Some(rivals) = self.by_address.get_mut(&one.address) else { return };
        if rivals.remove(one) && rivals.len() == 1 {
            self.alone.extend(rivals.iter());
        }
    }
}
