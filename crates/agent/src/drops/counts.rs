//! How many packets were denied, from the counters of the rules.
//!
//! In: the counters of each pod's address, and which packets the log told of. Out: how many
//! more there are than last time, and how many of these were not told.
//! Never: a count that is not the kernel's.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use policy::{Direction, Mode};

/// What denies, or would, and of which end's policies.
pub type Side = (Mode, Direction);

/// Counters: of a table of ours by its number, at a pod's address on a side.
pub type Counters = BTreeMap<(usize, Side, IpAddr), u64>;

/// The counters of the last look.
#[derive(Debug, Default)]
pub struct Counts {
    last: Counters,
    /// Packets that the log told of since the last look, or that were told before they were
    /// counted.
    told: HashMap<(Side, IpAddr), u64>,
    has_looked: bool,
}

/// What was counted at an address since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Of the pod that sent (egress) or was to receive (ingress), and whether it was dropped.
    pub side: Side,
    /// The pod's address.
    pub address: IpAddr,
    /// Packets.
    pub packets: u64,
    /// Those of them that the log did not tell of.
    pub left_out: u64,
}

impl Counts {
    /// The log told of a packet.
    pub fn told(&mut self, side: Side, address: IpAddr) {
        *self.told.entry((side, address)).or_default() += 1;
    }

    /// The counters now. A counter that is less than it was began anew: the pod was quiet
    /// for as long as the set keeps it, or the table was built again. What the first look
    /// finds was counted before.
    pub fn look(&mut self, now: Counters) -> Vec<Counted> {
        let mut more: BTreeMap<(Side, IpAddr), u64> = BTreeMap::new();
        for ((table, side, address), count) in &now {
            let last = self.last.get(&(*table, *side, *address)).copied().unwrap_or_default();
            let packets = if *count >= last { count - last } else { *count };
            *more.entry((*side, *address)).or_default() += packets;
        }
        self.last = now;
        self.told.retain(|key, _| more.contains_key(key));
        if !std::mem::replace(&mut self.has_looked, true) {
            self.told.clear();
            return Vec::new();
        }
        let mut found = Vec::new();
        for ((side, address), packets) in more.into_iter().filter(|(_, packets)| *packets > 0) {
            let told = self.told.remove(&(side, address)).unwrap_or_default();
            // Told before it was counted: a packet of the next look.
            if told > packets {
                self.told.insert((side, address), told - packets);
            }
            let left_out = packets.saturating_sub(told);
            found.push(Counted { side, address, packets, left_out });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_last_time_was_denied_since() {
        let address: IpAddr = "10.0.0.1".parse().expect("an address");
        let key = ((Mode::Enforce, Direction::Ingress), address);
        let at = |table| (table, key.0, key.1);
        let mut counts = Counts::default();
        let mut look = |told: u64, count: Option<u64>| {
            (0..told).for_each(|_| counts.told(key.0, key.1));
            let found = counts.look(count.map(|count| (at(0), count)).into_iter().collect()).pop();
            found.map_or((0, 0), |found| (found.packets, found.left_out))
        };
        assert_eq!(look(0, Some(100)), (0, 0), "from before the start");
        assert_eq!(look(5, Some(120)), (20, 15));
        assert_eq!(look(0, Some(120)), (0, 0));
        assert_eq!(look(2, Some(121)), (1, 0), "one was told before it was counted");
        assert_eq!(look(0, Some(122)), (1, 0), "and is counted now");
        assert_eq!(look(0, None), (0, 0), "quiet for a minute");
        assert_eq!(look(1, Some(3)), (3, 2), "anew");
        assert_eq!(look(0, Some(1)), (1, 1), "anew between two looks");
        let both = counts.look([(at(0), 4), (at(1), 2)].into()).pop().map(|found| found.packets);
        assert_eq!(both, Some(5), "a table beside it");
        assert_eq!(counts.look([(at(0), 4)].into()), [], "that is gone again");
    }
}
