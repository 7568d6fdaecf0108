//! One pass over connection tracking.
//!
//! In: suspects and the table in force. Out: entries that it denies, deleted.
//! Never: a whole dump in memory; an entry that is no suspect.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nft::{Conntrack, ConntrackError, Filter, Flow, OpenError};
use nix::ifaddrs::getifaddrs;
use ruleset::simulator::Broken;
use ruleset::{Family, Ruleset};

use super::judge::{Judge, ends};
use super::suspects::Suspects;

/// Up to so many IPv4 addresses are asked for one by one, twice each: as
/// source and as destination. With 100,000 entries such a dump takes a fifth
/// to a seventh of a dump of them all, for the kernel walks its table each
/// time; so three addresses would win nothing.
const FEW_ADDRESSES: usize = 2;
/// Entries to be deleted that are collected before they are.
const DELETIONS_AT_ONCE: usize = 512;

/// Why a pass broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum SweepError {
    #[error(transparent)]
    Conntrack(#[from] ConntrackError),
    #[error("list the node's addresses: {0}")]
    Addresses(#[source] nix::Error),
    #[error("judge a flow: {0}")]
    Table(#[from] Broken),
}

/// What a pass did, up to its end or its error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Entries that the kernel sent.
    pub(super) entries: u64,
    /// Entries deleted.
    pub(super) deleted: u64,
}

/// Two sockets: one reads, and meanwhile the other deletes.
#[derive(Debug)]
pub(super) struct Sweeper {
    reader: Conntrack,
    writer: Writer,
}

#[derive(Debug)]
struct Writer {
    conntrack: Conntrack,
    denied: Vec<Flow>,
    deleted: u64,
}

impl Sweeper {
    /// In the present thread's network namespace.
    pub(super) fn open() -> Result<Self, OpenError> {
        let conntrack = Conntrack::open()?;
        let writer = Writer { conntrack, denied: Vec::new(), deleted: 0 };
        Ok(Self { reader: Conntrack::open()?, writer })
    }

    /// Deletes what of the suspects the table denies. The present thread must
    /// be in the network namespace of the sockets, whose addresses it reads.
    pub(super) fn sweep(
        &mut self,
        suspects: &Suspects,
        table: &Ruleset,
    ) -> (Swept, Result<(), SweepError>) {
        self.writer.denied.clear();
        self.writer.deleted = 0;
        let mut swept = Swept::default();
        let result = self.pass(suspects, table, &mut swept.entries);
        swept.deleted = self.writer.deleted;
        (swept, result)
    }

    fn pass(
        &mut self,
        suspects: &Suspects,
        table: &Ruleset,
        entries: &mut u64,
    ) -> Result<(), SweepError> {
        let node = own_addresses().map_err(SweepError::Addresses)?;
        let judge = Judge::new(table, &node);
        for filter in filters(suspects) {
            let mut result = Ok(());
            *entries += self.reader.flows(&filter, |flow| {
                let [source, destination] = ends(flow);
                if result.is_ok() && suspects.touches(source, destination) {
                    result = self.writer.judge(&judge, flow);
                }
            })?;
            result?;
        }
        self.writer.flush()?;
        Ok(())
    }
}

impl Writer {
    fn judge(&mut self, judge: &Judge<'_>, flow: &Flow) -> Result<(), SweepError> {
        let master = match &flow.master {
            Some(master) => self.conntrack.get(master, flow.zone)?,
            None => None,
        };
        if judge.denies(flow, master.as_ref())? {
            self.denied.push(*flow);
        }
        if self.denied.len() >= DELETIONS_AT_ONCE {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ConntrackError> {
        let denied = std::mem::take(&mut self.denied);
        self.deleted += self.conntrack.delete_all(&denied)? as u64;
        Ok(())
    }
}

/// The dumps that hold all suspects.
fn filters(suspects: &Suspects) -> Vec<Filter> {
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) =
        suspects.addresses.iter().partition(|address| address.is_ipv4());
    let mut filters: Vec<Filter> = match four.len() {
        0..=FEW_ADDRESSES => four
            .into_iter()
            .flat_map(|address| [Filter::OriginalSource(address), Filter::ReplySource(address)])
            .collect(),
        _ => vec![Filter::Family(Family::V4)],
    };
    // The kernel cannot tell IPv6 addresses apart: see `nft::Filter`.
    if suspects.link_local || !six.is_empty() {
        filters.push(Filter::Family(Family::V6));
    }
    filters
}

/// All addresses of this network namespace.
fn own_addresses() -> nix::Result<BTreeSet<IpAddr>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
    });
    Ok(addresses.collect())
}
