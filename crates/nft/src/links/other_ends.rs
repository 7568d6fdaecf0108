//! What was read of the namespaces beyond the node's ports.
//!
//! In: the pairs that lead there now. Out: what is at their other ends, read now
//! or before. Never: more than a hundredth of the time for one namespace that
//! nobody asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::client::Client;
use super::elsewhere::{self, OtherEnd, Pair};
use super::error::LinksError;

/// A namespace that takes long is read again after this many times as long. Its
/// owner decides how many addresses it has.
const SHARE: u32 = 100;

/// The other ends of the node's ports, as last read.
#[derive(Debug, Default)]
pub(super) struct OtherEnds {
    /// By port.
    ends: BTreeMap<u32, OtherEnd>,
    /// Where they were; sorted.
    pairs: Vec<Pair>,
    /// By namespace.
    paces: BTreeMap<i32, Pace>,
}

/// Which namespaces to read, beside those whose ports came or went, and those
/// that could not be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// All.
    All,
    /// Those of these ports.
    NewAnd(&'a BTreeSet<u32>),
}

/// When a namespace was read, and how long that took.
#[derive(Clone, Copy, Debug)]
struct Pace {
    ended: Instant,
    took: Duration,
}

impl OtherEnds {
    /// What is at the other end of a port.
    pub(super) fn of(&self, port: u32) -> OtherEnd {
        self.ends.get(&port).cloned().unwrap_or_default()
    }

    /// Reads the other ends of these pairs, or keeps what was read before. After
    /// an error everything is read the next time. Ends of a namespace that cannot be
    /// read keep what they had; new ones stay unreadable.
    pub(super) fn read(
        &mut self,
        client: &mut Client,
        pairs: Vec<Pair>,
        wanted: &BTreeSet<IpAddr>,
        which: Which<'_>,
    ) -> Result<(), LinksError> {
        let before = std::mem::take(&mut self.pairs);
        let before: BTreeMap<i32, &[Pair]> = by_namespace(&before).collect();
        let (mut read, mut ends) = (Vec::new(), BTreeMap::new());
        for (namespace, now) in by_namespace(&pairs) {
            if before.get(&namespace) == Some(&now) && !self.is_due(namespace, now, which) {
                continue;
            }
            let start = Instant::now();
            match elsewhere::read_addresses(client, now, wanted, &mut ends) {
                Ok(()) => {}
                Err(LinksError::Io(error)) => return Err(LinksError::Io(error)),
                // One namespace does not fail the others.
                Err(
                    LinksError::Refused(_) | LinksError::Malformed(_) | LinksError::KeepChanging(_),
                ) => {
                    ends.extend(unread(now, before.get(&namespace).copied().unwrap_or_default()));
                    continue;
                }
            }
            let ended = Instant::now();
            self.paces.insert(namespace, Pace { ended, took: ended - start });
            read.extend_from_slice(now);
        }
        elsewhere::read_macs(client, &read, &mut ends)?;
        let present: BTreeSet<u32> = pairs.iter().map(|pair| pair.port).collect();
        self.ends.retain(|port, _| present.contains(port));
        self.ends.extend(ends);
        let namespaces: BTreeSet<i32> = pairs.iter().map(|pair| pair.namespace).collect();
        self.paces.retain(|namespace, _| namespaces.contains(namespace));
        self.pairs = pairs;
        Ok(())
    }

    fn is_due(&self, namespace: i32, pairs: &[Pair], which: Which<'_>) -> bool {
        let is_unread = |pair: &Pair| self.ends.get(&pair.port).is_none_or(|end| !end.is_readable);
        let is_due = match which {
            Which::NewAnd(ports) => pairs.iter().any(|pair| ports.contains(&pair.port)),
            Which::All => self
                .paces
                .get(&namespace)
                .is_none_or(|pace| pace.ended.elapsed() >= pace.took * SHARE),
        };
        is_due || pairs.iter().any(is_unread)
    }
}

/// The ends of a namespace that could not be read: those that led there before stay as
/// they were, and of the others nothing is known.
fn unread(now: &[Pair], before: &[Pair]) -> impl Iterator<Item = (u32, OtherEnd)> {
    let new = now.iter().filter(|pair| !before.contains(pair));
    new.map(|pair| (pair.port, OtherEnd::default()))
}

fn by_namespace(pairs: &[Pair]) -> impl Iterator<Item = (i32, &[Pair])> {
    let of_one = pairs.chunk_by(|one, next| one.namespace == next.namespace);
    of_one.filter_map(|of_one| Some((of_one.first()?.namespace, of_one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port whose other end moved to another namespace has none of the former's
    /// addresses.
    #[test]
    fn of_a_namespace_that_cannot_be_read_only_new_ends_are_unknown() {
        let pair = |namespace, port| Pair { namespace, port, other: 2 };
        let unread: Vec<_> = unread(&[pair(1, 5), pair(1, 6)], &[pair(1, 5)]).collect();
        assert_eq!(unread, [(6, OtherEnd::default())]);
        assert!(!unread[0].1.is_readable);
    }
}
