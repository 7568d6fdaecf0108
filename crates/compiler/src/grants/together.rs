//! What the rules of a policy in the compact form have in common.
//!
//! In: pairs of a peer and a port, rule by rule. Out: for each port one set of the pods and
//! one of the ranges that any rule allows with it, and one set of the single addresses that
//! are allowed with a single port. A range in a set costs the kernel less than a rule, and
//! a packet asks the set once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy::Direction;
use ruleset::{AddressRange, AddressTest, Family, Match, PortRange, Transport};

use super::{MAX_INLINE_RANGES, Making, PeerMatch, field};
use crate::blocks;
use crate::ports::PortMatch;
use crate::sets::{PodsPeer, SetSource};

/// What comes together, with the index of the first rule that it comes from.
type Gathered<K, V> = BTreeMap<K, (usize, V)>;

#[derive(Debug, Default)]
pub(super) struct Together {
    pods: Gathered<PortMatch, BTreeSet<PodsPeer>>,
    ranges: Gathered<(PortMatch, Family), Vec<AddressRange>>,
    ends: Gathered<(Family, Transport), BTreeSet<(IpAddr, u16)>>,
}

impl Together {
    /// Takes a pair, unless it has to stay a rule of its own.
    pub fn take(&mut self, index: usize, peer: &PeerMatch, port: &PortMatch) -> bool {
        match (peer, port) {
            (PeerMatch::Pods(peer), _) => {
                let entry =
                    self.pods.entry(port.clone()).or_insert_with(|| (index, BTreeSet::new()));
                entry.1.insert(peer.clone());
            }
            (PeerMatch::Blocks(family, AddressTest::In(range)), PortMatch::Numbers(numbers)) => {
                if let Some((transport, end)) = end(*range, numbers) {
                    let entry = self.ends.entry((*family, transport));
                    entry.or_insert_with(|| (index, BTreeSet::new())).1.insert(end);
                } else {
                    self.range(index, *family, *range, port);
                }
            }
            (PeerMatch::Blocks(family, AddressTest::In(range)), PortMatch::Anything) => {
                self.range(index, *family, *range, port);
            }
            (PeerMatch::Blocks(..) | PeerMatch::Anyone, _) => return false,
        }
        true
    }

    fn range(&mut self, index: usize, family: Family, range: AddressRange, port: &PortMatch) {
        let entry = self.ranges.entry((port.clone(), family));
        entry.or_insert_with(|| (index, Vec::new())).1.push(range);
    }

    /// The rules of all that was taken.
    pub fn finish(self, direction: Direction, grants: &mut Making<'_>) {
        for (port, (index, peers)) in self.pods {
            grants.many(index, direction, Arc::new(peers), port);
        }
        for ((port, family), (index, ranges)) in self.ranges {
            let ranges = blocks::joined(family, &ranges);
            let tests = match ranges.len() > MAX_INLINE_RANGES {
                true => {
                    let name = grants.sets.add(SetSource::Blocks(family, ranges));
                    vec![AddressTest::Set(family, name)]
                }
                false => ranges.into_iter().map(AddressTest::In).collect(),
            };
            for test in tests {
                grants.pair(index, direction, &PeerMatch::Blocks(family, test), &port);
            }
        }
        for ((family, transport), (index, ends)) in self.ends {
            let set =
                grants.sets.add(SetSource::Ends(family, transport, ends.into_iter().collect()));
            let look_up = Match::AddressPort(field(direction), family, transport, set);
            grants.conditions.push((index, vec![look_up]));
        }
    }
}

/// A single address with a single port.
fn end(range: AddressRange, port: &Match) -> Option<(Transport, (IpAddr, u16))> {
    match port {
        Match::Port(transport, PortRange(first, last))
            if first == last && range.first() == range.last() =>
        {
            Some((*transport, (range.first(), *first)))
        }
        _ => None,
    }
}
