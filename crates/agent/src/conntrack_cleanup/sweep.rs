//! One pass over connection tracking.
//!
//! In: suspects, and the table in force. Out: the entries that it denies are
//! deleted. Never: a whole dump in memory; a deleted entry that is no suspect.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use nft::{Conntrack, ConntrackError, Filter, Flow, OpenError, Tuple, TupleId};
use nix::ifaddrs::getifaddrs;
use ruleset::simulator::Broken;
use ruleset::{Family, Ruleset};

use super::judge::{Judge, ends};
use super::suspects::Suspects;

/// Up to this many IPv4 addresses are asked for one by one, twice each: as
/// source and as destination. The kernel walks its whole table each time: with
/// 100,000 entries such a dump takes 40 ms, a dump of all of them 250 ms. So
/// three addresses would save nothing.
const FEW_ADDRESSES: usize = 2;
/// Entries are deleted in groups of this size.
const DELETIONS_AT_ONCE: usize = 512;
/// Late answers are looked for after at most this many deleted flows, at 10
/// microseconds each.
const MAX_ANSWERS: usize = 2048;

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SweepError {
    #[error(transparent)]
    Conntrack(#[from] ConntrackError),
    #[error("list the node's addresses: {0}")]
    Addresses(#[source] nix::Error),
    #[error("judge a flow: {0}")]
    Table(#[from] Broken),
}

/// The table that replaced the one of the pass, if there is one.
pub(super) type Newer<'a> = &'a dyn Fn() -> Option<Arc<Ruleset>>;

/// A dump takes time. The flows that are listed late may be new ones that a newer
/// table allows, so the newest table decides.
struct LastWord<'a> {
    node: &'a BTreeSet<IpAddr>,
    /// The sources that others could forge until now.
    forgeable: &'a BTreeSet<IpAddr>,
    newer: Newer<'a>,
}

/// What a pass did before it ended or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Entries that the kernel listed.
    pub(super) entries: u64,
    /// Entries deleted.
    pub(super) deleted: u64,
}

/// Two sockets: one lists while the other deletes.
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
    /// For the flows deleted in this pass: the tuple of an answer that opens a
    /// flow of its own, and the zone.
    answers: Vec<(Tuple, u16)>,
}

impl Sweeper {
    /// In the present thread's network namespace.
    pub(super) fn open() -> Result<Self, OpenError> {
        let conntrack = Conntrack::open()?;
        let writer = Writer { conntrack, denied: Vec::new(), deleted: 0, answers: Vec::new() };
        Ok(Self { reader: Conntrack::open()?, writer })
    }

    /// Deletes the suspects that the table denies. Call it from a thread in the
    /// network namespace of the sockets: it reads the addresses there.
    pub(super) fn sweep(
        &mut self,
        suspects: &Suspects,
        table: &Ruleset,
        newer: Newer<'_>,
    ) -> (Swept, Result<(), SweepError>) {
        self.writer.denied.clear();
        self.writer.deleted = 0;
        let mut swept = Swept::default();
        let result = self.pass(suspects, table, newer, &mut swept.entries);
        swept.deleted = self.writer.deleted;
        (swept, result)
    }

    fn pass(
        &mut self,
        suspects: &Suspects,
        table: &Ruleset,
        newer: Newer<'_>,
        entries: &mut u64,
    ) -> Result<(), SweepError> {
        let earlier = std::mem::take(&mut self.writer.answers);
        let node = own_addresses().map_err(SweepError::Addresses)?;
        let judge = Judge::new(table, &node);
        let last_word = LastWord { node: &node, forgeable: &suspects.forgeable, newer };
        for filter in filters(suspects) {
            let mut result = Ok(());
            *entries += self.reader.flows(&filter, |flow| {
                let [source, destination] = ends(flow);
                if result.is_ok() && suspects.touches(source, destination) {
                    result = self.writer.judge(&judge, &last_word, flow);
                }
            })?;
            result?;
        }
        self.writer.flush(&last_word)?;
        self.writer.delete_answers(&earlier)?;
        Ok(())
    }
}

impl Writer {
    fn judge(
        &mut self,
        judge: &Judge<'_>,
        last_word: &LastWord<'_>,
        flow: &Flow,
    ) -> Result<(), SweepError> {
        if self.denies(judge, flow, last_word.forgeable)? {
            self.denied.push(*flow);
        }
        if self.denied.len() >= DELETIONS_AT_ONCE {
            self.flush(last_word)?;
        }
        Ok(())
    }

    fn denies(
        &mut self,
        judge: &Judge<'_>,
        flow: &Flow,
        forgeable: &BTreeSet<IpAddr>,
    ) -> Result<bool, SweepError> {
        if judge.may_be_forged(flow, forgeable)? {
            return Ok(true);
        }
        let master = match &flow.master {
            Some(master) => self.conntrack.get(master, flow.zone)?,
            None => None,
        };
        Ok(judge.denies(flow, master.as_ref())?)
    }

    fn flush(&mut self, last_word: &LastWord<'_>) -> Result<(), SweepError> {
        let mut denied = std::mem::take(&mut self.denied);
        if !denied.is_empty()
            && let Some(table) = (last_word.newer)()
        {
            let judge = Judge::new(&table, last_word.node);
            let mut still = Vec::with_capacity(denied.len());
            for flow in denied {
                if self.denies(&judge, &flow, last_word.forgeable)? {
                    still.push(flow);
                }
            }
            denied = still;
        }
        self.deleted += self.conntrack.delete_all(&denied)? as u64;
        let room = MAX_ANSWERS.saturating_sub(self.answers.len());
        let answered = denied.iter().filter(|flow| answers_open_flows(flow));
        self.answers.extend(answered.map(|flow| (flow.reply, flow.zone)).take(room));
        Ok(())
    }

    /// Deletes flows that late answers to deleted flows opened. If that direction
    /// is allowed and the sender continues, the next packet opens it again.
    fn delete_answers(&mut self, answers: &[(Tuple, u16)]) -> Result<(), ConntrackError> {
        for (answer, zone) in answers {
            if let Some(flow) = self.conntrack.get(answer, *zone)? {
                self.deleted += u64::from(self.conntrack.delete(&flow)?);
            }
        }
        Ok(())
    }
}

/// Whether an answer to a deleted flow opens a flow of its own. In TCP only a SYN
/// does, and in ICMP only a request.
fn answers_open_flows(flow: &Flow) -> bool {
    let has_ports = matches!(flow.original.transport, TupleId::Ports { .. });
    has_ports && flow.original.protocol != ruleset::Transport::Tcp.number()
}

/// The dumps that together contain all suspects.
fn filters(suspects: &Suspects) -> Vec<Filter> {
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) =
        suspects.addresses.union(&suspects.forgeable).partition(|address| address.is_ipv4());
    let mut filters: Vec<Filter> = match four.len() {
        0..=FEW_ADDRESSES => four
            .into_iter()
            .flat_map(|address| [Filter::OriginalSource(address), Filter::ReplySource(address)])
            .collect(),
        _ => vec![Filter::Family(Family::V4)],
    };
    // The kernel does not filter by IPv6 address: see `nft::Filter`.
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
