//! Packets that are handled together.
//!
//! A [`View`](crate::condition::View) says which end of a packet, source or
//! destination, is the outer one. The other is the inner one.

use crate::ranges::Ranges;
use crate::region::Region;

/// Packets: every outer address combined with everything in the region, which
/// holds the inner addresses and the codes.
#[derive(Clone, Debug)]
pub(crate) struct PacketSet {
    pub outer: Ranges,
    pub region: Region,
}

impl PacketSet {
    /// The packets with these addresses at the outer or inner end, if any.
    pub fn of(&self, outer: bool, addresses: &Ranges) -> Option<Self> {
        self.changed(outer, |all| all.intersect(addresses), |region| region.within(addresses))
    }

    /// The packets with other addresses there, if any.
    pub fn but(&self, outer: bool, addresses: &Ranges) -> Option<Self> {
        self.changed(outer, |all| all.subtract(addresses), |region| region.without(addresses))
    }

    fn changed(
        &self,
        outer: bool,
        of_outer: impl Fn(&Ranges) -> Ranges,
        of_inner: impl Fn(&Region) -> Region,
    ) -> Option<Self> {
        let part = match outer {
            true => Self { outer: of_outer(&self.outer), region: self.region.clone() },
            false => Self { outer: self.outer.clone(), region: of_inner(&self.region) },
        };
        (!part.outer.is_empty() && !part.region.is_empty()).then_some(part)
    }
}

/// Merges the sets that have the same outer addresses.
pub(crate) fn joined(parts: Vec<PacketSet>) -> Vec<PacketSet> {
    let mut joined: Vec<PacketSet> = Vec::with_capacity(parts.len());
    for part in parts {
        match joined.iter_mut().find(|other| other.outer == part.outer) {
            Some(other) => other.region = other.region.union(&part.region),
            None => joined.push(part),
        }
    }
    joined
}
