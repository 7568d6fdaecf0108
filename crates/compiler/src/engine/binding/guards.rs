//! The ports of isolated pods: what they guard.
//!
//! In: ports that come and go, addresses that become isolated or cease to be. Out: whether
//! each isolated address is behind such a port.
//! Never: the elements of a set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use policy::{BoundPort, InterfaceIndex};

use super::super::output::Isolated;

/// The isolated pods' ports.
#[derive(Debug, Default)]
pub(super) struct Guards {
    ports: BTreeMap<InterfaceIndex, BoundPort>,
    /// How many of them are a bridge's.
    bridged: usize,
    /// How many of them have each address.
    addresses: BTreeMap<IpAddr, usize>,
    /// The isolated addresses that none of them has.
    exposed: BTreeSet<IpAddr>,
    /// Addresses to look at.
    changed: BTreeSet<IpAddr>,
}

impl Guards {
    /// A port is as given now, or guards nothing any more. The one that nobody has never
    /// does: the interfaces of its addresses are not known.
    pub fn replace(&mut self, index: InterfaceIndex, port: Option<&BoundPort>) {
        let port = port.filter(|_| index != InterfaceIndex::NOBODYS);
        let gone = match port {
            Some(port) => self.ports.insert(index, port.clone()),
            None => self.ports.remove(&index),
        };
        for (one, comes) in [(port, true), (gone.as_ref(), false)] {
            let Some(one) = one else { continue };
            let is_bridged = usize::from(one.bridge.is_some());
            match comes {
                true => self.bridged += is_bridged,
                false => self.bridged -= is_bridged,
            }
            for &address in &one.addresses {
                self.count(address, comes);
            }
        }
    }

    fn count(&mut self, address: IpAddr, comes: bool) {
        self.changed.insert(address);
        let users = self.addresses.entry(address).or_default();
        *users = if comes { *users + 1 } else { users.saturating_sub(1) };
        if *users == 0 {
            self.addresses.remove(&address);
        }
    }

    /// Looks at the addresses of changed ports, and at these.
    pub fn follow(&mut self, addresses: &BTreeSet<IpAddr>, isolated: Isolated<'_>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(addresses);
        for address in changed {
            let is_exposed =
                isolated.has_address(address) && !self.addresses.contains_key(&address);
            match is_exposed {
                true => drop(self.exposed.insert(address)),
                false => drop(self.exposed.remove(&address)),
            }
        }
    }

    /// Whether each isolated address is behind a guard that is in force. `pending`: those
    /// of bridges may not be.
    pub fn are_enough(&self, pending: bool) -> bool {
        self.exposed.is_empty() && !(pending && self.bridged > 0)
    }
}
