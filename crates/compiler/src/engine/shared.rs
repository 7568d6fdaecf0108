//! Addresses of this node that several pods report.
//!
//! In: the cluster. Out: each such address, for people. Never: a pod that is asked to
//! end: for a moment the next one often has its address.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use policy::{Direction, ObjectKey};
use ruleset::Name;

use super::Engine;

/// An address that several pods report, at least one of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedAddress {
    /// The address.
    pub address: IpAddr,
    /// The pods whose policies are enforced for it, in order.
    pub enforced: Vec<ObjectKey>,
    /// The pods of other nodes that report it, in order.
    pub others: Vec<ObjectKey>,
    /// The policies that isolate it.
    pub policies: BTreeSet<ObjectKey>,
    /// Whether nothing is allowed, because the pods of this node are isolated in
    /// different ways.
    pub is_shut: bool,
}

impl Engine {
    /// The addresses of this node that several pods report, in order.
    pub fn shared_addresses(&self) -> Vec<SharedAddress> {
        let shared = self.cluster.shared().chain(self.snapshot().kept.keys().copied());
        let shared: BTreeSet<IpAddr> = shared.collect();
        shared.into_iter().filter_map(|address| self.shared_address(address)).collect()
    }

    fn shared_address(&self, address: IpAddr) -> Option<SharedAddress> {
        let node = self.options.node.as_deref();
        let subjects = self.cluster.subjects(address, node);
        let enforced: Vec<ObjectKey> = subjects.iter().map(|one| one.pod.key.clone()).collect();
        let reporters = self.cluster.reporters(address).filter(|pod| !pod.is_ending);
        let others = reporters.filter(|pod| !pod.is_on(node)).map(|pod| pod.key.clone());
        let others: BTreeSet<ObjectKey> = others.collect();
        if enforced.is_empty() || enforced.len() + others.len() < 2 {
            return None;
        }
        let chains = Direction::BOTH.into_iter().filter_map(|one| self.chain_of(address, one));
        let signatures = chains.filter_map(|chain| self.forward.compiled.signatures.get(&chain));
        let signatures: Vec<_> = signatures.collect();
        Some(SharedAddress {
            address,
            enforced,
            others: others.into_iter().collect(),
            policies: signatures.iter().flat_map(|one| one.policies.iter().cloned()).collect(),
            is_shut: signatures.iter().any(|one| one.is_shut),
        })
    }

    fn chain_of(&self, address: IpAddr, direction: Direction) -> Option<Name> {
        let layout = crate::Layout::of(&self.forward.compiled.ruleset);
        layout.judged_by(address, direction).cloned()
    }
}

/// `10.0.0.9 is reported by dev/web and dev/db of this node and by ops/mon of another; ...`
impl fmt::Display for SharedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |keys: &[ObjectKey]| {
            keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{} is reported by {} of this node", self.address, list(&self.enforced))?;
        if !self.others.is_empty() {
            write!(f, " and by {}, which is not on it", list(&self.others))?;
        }
        f.write_str(match (self.is_shut, self.enforced.len()) {
            (true, _) => "; nothing is allowed, because they are isolated in different ways",
            (false, 1) => "; this node enforces the policies of its own pod",
            (false, _) => "; this node enforces the policies of all of them",
        })?;
        f.write_str("; delete the pod that does not have it")
    }
}
