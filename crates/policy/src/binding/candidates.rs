//! The interfaces that could hold an address and do not yet.
//!
//! In: candidates. Out: those that no other one contests, and the others.
//! Never: whose an address or an interface is. The cost of all steps together is that
//! of sorting.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::{InterfaceIndex, NetworkNamespace};

/// What speaks against a candidate. A better one takes no notice of a worse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// Nothing.
    None,
    /// The interface was another pod's, which is gone.
    LeftOver,
    /// Its namespace has addresses of several pods, so somebody added some to it.
    OfSeveralPods,
}

/// An interface that could hold an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub doubt: Doubt,
    pub namespace: NetworkNamespace,
    /// When it got the address.
    pub created: u64,
    pub index: InterfaceIndex,
}

/// The candidates that are left, at most one of each namespace for an address.
#[derive(Default)]
pub(super) struct Candidates {
    by_address: BTreeMap<IpAddr, BTreeSet<Candidate>>,
    by_namespace: BTreeMap<NetworkNamespace, BTreeMap<IpAddr, Candidate>>,
    /// Addresses that were not looked at since they lost a candidate.
    changed: BTreeSet<IpAddr>,
    /// How often an address was looked at.
    #[cfg(test)]
    pub looks: usize,
}

impl Candidates {
    /// Adds one. Of two interfaces of a namespace, and of an address that an interface
    /// has twice (with two prefix lengths), the earlier time counts.
    pub fn add(&mut self, address: IpAddr, one: Candidate) {
        if let Some(known) = self.get(one.namespace, address) {
            if known <= one {
                return;
            }
            self.remove(one.namespace, address);
        }
        self.by_namespace.entry(one.namespace).or_default().insert(address, one);
        self.by_address.entry(address).or_default().insert(one);
        self.changed.insert(address);
    }

    /// Those that no other one contests, each returned once.
    pub fn take_uncontested(&mut self) -> Vec<(IpAddr, Candidate)> {
        let changed = std::mem::take(&mut self.changed);
        #[cfg(test)]
        {
            self.looks += changed.len();
        }
        let uncontested = |address| Some((address, uncontested(self.by_address.get(&address)?)?));
        changed.into_iter().filter_map(uncontested).collect()
    }

    fn get(&self, namespace: NetworkNamespace, address: IpAddr) -> Option<Candidate> {
        self.by_namespace.get(&namespace)?.get(&address).copied()
    }

    /// The namespaces that could hold an address.
    pub fn of_address(&self, address: IpAddr) -> Vec<NetworkNamespace> {
        let all = self.by_address.get(&address).into_iter().flatten();
        all.map(|one| one.namespace).collect()
    }

    /// The addresses that a namespace could hold.
    pub fn of_namespace(&self, namespace: NetworkNamespace) -> Vec<IpAddr> {
        self.by_namespace.get(&namespace).into_iter().flatten().map(|one| *one.0).collect()
    }

    /// A namespace is none that could hold an address.
    pub fn remove(&mut self, namespace: NetworkNamespace, address: IpAddr) {
        let of_namespace = self.by_namespace.get_mut(&namespace);
        let Some(one) = of_namespace.and_then(|all| all.remove(&address)) else { return };
        if let Some(rivals) = self.by_address.get_mut(&address) {
            rivals.remove(&one);
            self.changed.insert(address);
        }
    }

    /// All that are left, by address.
    pub fn left(self) -> impl Iterator<Item = (IpAddr, BTreeSet<InterfaceIndex>)> {
        let all = self.by_address.into_iter().filter(|(_, rivals)| !rivals.is_empty());
        all.map(|(address, rivals)| (address, rivals.iter().map(|one| one.index).collect()))
    }
}

fn uncontested(rivals: &BTreeSet<Candidate>) -> Option<Candidate> {
    let mut best = rivals.iter();
    let first = *best.next()?;
    best.next().is_none_or(|second| second.doubt > first.doubt).then_some(first)
}
