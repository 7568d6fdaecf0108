//! Which interface holds each reported address.
//!
//! In: the view. Out: the holder of each address, and the pod of each interface and of
//! each namespace. Never: a choice between two that may both be honest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::candidates::{Candidate, Candidates, Doubt};
use super::{FIRST_ADDRESSES, View, is_for_pods};
use crate::{InterfaceIndex, NetworkNamespace, ObjectKey, SeenPort};

/// How long after an interface's first address others still count as first, in
/// 1/100 seconds. A CNI plugin adds all of them at once, before it starts the
/// pod's containers.
const FIRST_FOR: u64 = 50;

/// Who holds what.
#[derive(Default)]
pub(super) struct Held<'a> {
    /// The interface that holds each reported address.
    pub holders: BTreeMap<IpAddr, InterfaceIndex>,
    /// The same, by interface.
    of: BTreeMap<InterfaceIndex, BTreeSet<IpAddr>>,
    /// The pod of each interface that holds an address.
    pub pods: BTreeMap<InterfaceIndex, &'a ObjectKey>,
    /// The pod of each namespace with such an interface.
    namespaces: BTreeMap<NetworkNamespace, &'a ObjectKey>,
    /// Addresses that were bound to an interface that lives and is another pod's
    /// now. Nobody holds them.
    pub kept: BTreeMap<IpAddr, InterfaceIndex>,
    /// Addresses that could be more than one interface's. Nobody holds them.
    pub contested: BTreeMap<IpAddr, BTreeSet<InterfaceIndex>>,
    /// How often an address was looked at.
    #[cfg(test)]
    pub looks: usize,
}

/// The addresses that a port had first: the earliest one, and those that came
/// with it.
pub(super) fn first_of(port: &SeenPort) -> BTreeMap<IpAddr, u64> {
    let own = port.addresses.iter().filter(|one| is_for_pods(one.address));
    let mut by_time: Vec<(u64, IpAddr)> = own.map(|one| (one.created, one.address)).collect();
    by_time.sort_unstable();
    let Some(&(start, _)) = by_time.first() else { return BTreeMap::new() };
    let with_it = by_time.iter().take_while(|(created, _)| created - start <= FIRST_FOR);
    with_it.take(FIRST_ADDRESSES).map(|&(created, address)| (address, created)).collect()
}

/// Finds the holder of each reported address.
pub(super) fn hold<'a>(view: &View<'a>) -> Held<'a> {
    let mut held = Held::default();
    held.place(view);
    held.keep_claims(view);
    held.assign(view);
    held.add_later_ones(view);
    let Held { contested, holders, .. } = &mut held;
    contested.retain(|address, _| !holders.contains_key(address));
    held
}

/// What a port had first. Of a port that was never seen before it is not known
/// what it had first: then what it has.
fn first_or_present(view: &View<'_>, port: &SeenPort) -> Vec<(IpAddr, u64)> {
    let present = port.addresses.iter().map(|one| (one.address, one.created));
    let Some(first) = view.first_known(port.index) else { return present.collect() };
    let start = first.values().min().copied().unwrap_or_default();
    // A look can come between two addresses of the CNI plugin's.
    let with_it = present.filter(|(_, created)| (start..=start + FIRST_FOR).contains(created));
    let with_it = with_it.take(FIRST_ADDRESSES.saturating_sub(first.len()));
    first.iter().map(|(&address, &created)| (address, created)).chain(with_it).collect()
}

impl<'a> Held<'a> {
    /// The reported addresses that an interface holds.
    pub fn of(&self, index: InterfaceIndex) -> impl Iterator<Item = IpAddr> {
        self.of.get(&index).into_iter().flatten().copied()
    }

    /// Whose an interface is, as far as its addresses or those of others of its
    /// namespace tell.
    pub fn pod_of(&self, port: &SeenPort) -> Option<&'a ObjectKey> {
        self.pods.get(&port.index).or_else(|| self.namespaces.get(&port.namespace)).copied()
    }

    /// What the CNI plugin announced comes first.
    fn place(&mut self, view: &View<'a>) {
        for (&address, index) in &view.placed {
            let pod = view.reported.get(&address).copied();
            let (Some(port), Some(pod)) = (view.ports.get(index), pod) else { continue };
            if self.pod_of(port).is_none_or(|known| known == pod) {
                self.bind(address, port, pod);
            }
        }
    }

    /// What was bound to an interface that lives stays there, unless its pod is gone and
    /// a pod of another name reports the address now.
    fn keep_claims(&mut self, view: &View<'a>) {
        for (&index, port) in &view.ports {
            let Some(claim) = view.claim(index) else { continue };
            let mut claimed: Vec<(bool, IpAddr, &'a ObjectKey)> = claim
                .addresses
                .iter()
                .filter(|address| !self.is_settled(**address))
                .filter_map(|&address| Some((address, *view.reported.get(&address)?)))
                .filter(|(_, pod)| view.doubt(index, pod) == Doubt::None)
                .map(|(address, pod)| (!port.has(address), address, pod))
                .collect();
            // Whose the interface is: first by what its other end still has.
            claimed.sort_unstable();
            for (_, address, pod) in claimed {
                match self.pod_of(port).is_none_or(|known| known == pod) {
                    true => self.bind(address, port, pod),
                    false => drop(self.kept.insert(address, index)),
                }
            }
        }
    }

    /// Assigns addresses to interfaces that no other one contests. Their namespaces
    /// then are those of a pod and no candidates for the addresses of others, so that
    /// others are contested no more, and so on.
    fn assign(&mut self, view: &View<'a>) {
        let mut left = self.candidates(view);
        loop {
            let mut of: BTreeMap<NetworkNamespace, BTreeMap<IpAddr, Candidate>> = BTreeMap::new();
            for (address, one) in left.take_uncontested() {
                of.entry(one.namespace).or_default().insert(address, one);
            }
            if of.is_empty() {
                break;
            }
            for (namespace, addresses) in of {
                let pods = addresses.keys().filter_map(|address| view.reported.get(address));
                let pods: BTreeSet<&'a ObjectKey> = pods.copied().collect();
                // Of several pods' it is one's, and nobody knows which one's.
                if let (Some(&pod), 1) = (pods.first(), pods.len()) {
                    for (address, one) in addresses {
                        self.give(view, address, (one, pod), &mut left);
                    }
                    self.settle(view, namespace, pod, &mut left);
                }
            }
        }
        #[cfg(test)]
        {
            self.looks = left.looks;
        }
        self.contested = left.left().collect();
    }

    fn candidates(&self, view: &View<'a>) -> Candidates {
        let mut candidates = Vec::new();
        let mut pods: BTreeMap<NetworkNamespace, BTreeSet<&ObjectKey>> = BTreeMap::new();
        for port in view.ports.values() {
            for (address, created) in first_or_present(view, port) {
                let Some(&pod) = view.reported.get(&address) else { continue };
                if self.can_hold(view, port, address, pod) {
                    candidates.push((port, address, created, pod));
                    pods.entry(port.namespace).or_default().insert(pod);
                }
            }
        }
        let mut all = Candidates::default();
        for (port, address, created, pod) in candidates {
            let SeenPort { index, namespace, .. } = **port;
            let has_several = pods.get(&namespace).is_some_and(|pods| pods.len() > 1);
            let doubt = if has_several { Doubt::OfSeveralPods } else { view.doubt(index, pod) };
            all.add(address, Candidate { doubt, namespace, created, index });
        }
        all
    }

    /// Gives an address to a candidate of this pod.
    fn give(
        &mut self,
        view: &View<'a>,
        address: IpAddr,
        (one, pod): (Candidate, &'a ObjectKey),
        left: &mut Candidates,
    ) {
        let Some(port) = view.ports.get(&one.index) else { return };
        if self.can_hold(view, port, address, pod) {
            self.bind(address, port, pod);
            left.of_address(address).iter().for_each(|rival| left.remove(*rival, address));
        }
    }

    /// A namespace is a pod's: it holds no address of others, and the pod's addresses
    /// that it has are nobody else's.
    fn settle(
        &self,
        view: &View<'a>,
        namespace: NetworkNamespace,
        pod: &ObjectKey,
        left: &mut Candidates,
    ) {
        for address in left.of_namespace(namespace) {
            if view.reported.get(&address).is_none_or(|reporter| *reporter != pod) {
                left.remove(namespace, address);
                continue;
            }
            let others = left.of_address(address).into_iter().filter(|other| *other != namespace);
            others.for_each(|other| left.remove(other, address));
        }
    }

    /// What pods have got later: of the interfaces of their own, the one with the lowest
    /// number.
    fn add_later_ones(&mut self, view: &View<'a>) {
        for port in view.ports.values() {
            let Some(pod) = self.pods.get(&port.index).copied() else { continue };
            for one in &port.addresses {
                if self.can_hold(view, port, one.address, pod) {
                    self.bind(one.address, port, pod);
                }
            }
        }
    }

    fn bind(&mut self, address: IpAddr, port: &SeenPort, pod: &'a ObjectKey) {
        self.holders.insert(address, port.index);
        self.of.entry(port.index).or_default().insert(address);
        self.pods.insert(port.index, pod);
        self.namespaces.entry(port.namespace).or_insert(pod);
    }

    /// Whether an interface may hold an address of a pod's. An interface of a pod that
    /// lives is no other pod's.
    fn can_hold(&self, view: &View<'a>, port: &SeenPort, address: IpAddr, pod: &ObjectKey) -> bool {
        let known = self.pod_of(port).or_else(|| view.living_claimant(port.index));
        let is_reported = view.reported.get(&address).is_some_and(|reporter| *reporter == pod);
        is_reported && known.is_none_or(|known| known == pod) && !self.is_settled(address)
    }

    fn is_settled(&self, address: IpAddr) -> bool {
        self.holders.contains_key(&address) || self.kept.contains_key(&address)
    }
}
