//! Which optional features this kernel supports.
//!
//! Never: a table that others can see.

use std::net::{IpAddr, Ipv4Addr};

use ruleset::{
    AddressRange, BaseChain, Batch, CtStates, Element, EtherType, Family, Field, Hook,
    InterfaceField, Key, KeyAddress, KeyFields, Log, LogPrefix, MacField, Match, Name, NameError,
    Op, Rule, SetType, TableId, Verdict,
};

use crate::{Kernel, SendError};

/// Which of the features that our rulesets use this kernel supports. All except
/// `log`, `bridge` and `fib` are required: without them the kernel refuses our rulesets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// [`ruleset::Log`]: NFLOG after a limit by address. Modules nfnetlink_log,
    /// nft_log and nft_limit.
    pub log: bool,
    /// [`Match::CtState`]. Modules nf_conntrack and nft_ct.
    pub conntrack: bool,
    /// [`SetType::Address`] and verdict maps.
    pub maps: bool,
    /// [`SetType::AddressRange`].
    pub intervals: bool,
    /// [`SetType::AddressPair`].
    pub concatenations: bool,
    /// [`Match::Key`] in a base chain on [`Hook::Prerouting`].
    pub binding: bool,
    /// Tables of [`ruleset::TableFamily::Bridge`] (CONFIG_NF_TABLES_BRIDGE).
    pub bridge: bool,
    /// [`Match::SourceIsLocal`]. Module nft_fib_inet.
    pub fib: bool,
}

impl Kernel {
    /// Tries the features in tables that are never committed: all of them together,
    /// and one by one only if that fails. Each try takes 10 to 20 ms.
    ///
    /// # Errors
    /// See [`SendError`]. A shortage of resources is an error, not a missing
    /// feature.
    pub fn probe(&mut self) -> Result<Features, SendError> {
        probe(|tables| self.rehearse(tables))
    }
}

/// As [`Kernel::probe`], with a function that tells whether the kernel accepts
/// batches for tables that do not exist.
fn probe(
    mut accepts: impl FnMut(&[(TableId, Batch)]) -> Result<bool, SendError>,
) -> Result<Features, SendError> {
    let odd = |error: NameError| SendError::Io(std::io::Error::other(error));
    let name = Name::new("nftpol-probe").map_err(odd)?;
    let (inet, bridge) = (TableId::inet(name.clone()), TableId::bridge(name));
    let features = inet_features().map_err(odd)?;
    let bridged = (bridge, batch(bridge_table().map_err(odd)?));
    let routed = (inet.clone(), batch(features.iter().flatten().cloned()));
    let mut found = [true; INET_FEATURES];
    let mut bridge = true;
    if !accepts(&[routed.clone(), bridged.clone()])? {
        bridge = accepts(&[bridged])?;
        // Without the bridge family, all others are likely there.
        if bridge || !accepts(&[routed])? {
            for (there, ops) in found.iter_mut().zip(features) {
                *there = accepts(&[(inet.clone(), batch(ops))])?;
            }
        }
    }
    let [log, conntrack, maps, intervals, concatenations, binding, fib] = found;
    Ok(Features { log, conntrack, maps, intervals, concatenations, binding, bridge, fib })
}

const INET_FEATURES: usize = 7;
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The operations of each feature, in the order of [`Features`]. They do not name
/// each other's objects.
fn inet_features() -> Result<[Vec<Op>; INET_FEATURES], NameError> {
    let range = Element::Range(AddressRange::single(ADDRESS));
    let pair = Element::AddressPair(ADDRESS, ADDRESS);
    Ok([
        log()?,
        conntrack()?,
        maps()?,
        set_of(Name::new("intervals")?, SetType::AddressRange(Family::V4), range),
        set_of(Name::new("concatenations")?, SetType::AddressPair(Family::V4), pair),
        bound(Name::new("binding")?, Name::new("bind")?, Hook::Prerouting, BINDING),
        fib()?,
    ])
}

fn batch(ops: impl IntoIterator<Item = Op>) -> Batch {
    Batch { ops: [Op::CreateTable].into_iter().chain(ops).collect() }
}

fn log() -> Result<Vec<Op>, NameError> {
    let (set, chain) = (Name::new("logged")?, Name::new("log")?);
    let log = Log {
        field: Field::Source,
        family: Family::V4,
        set: set.clone(),
        per_second: 1,
        prefix: LogPrefix::new("probe"),
        group: 0,
    };
    let rule = Rule { matches: Vec::new(), log: Some(log), finish: None, comment: None };
    Ok(vec![
        Op::CreateSet(set, SetType::RateLimit(Family::V4), None),
        Op::CreateChain(chain.clone(), None, None),
        Op::AddRule(chain, rule),
    ])
}

fn conntrack() -> Result<Vec<Op>, NameError> {
    let chain = Name::new("conntrack")?;
    let states = CtStates { established: true, related: true };
    Ok(vec![
        Op::CreateChain(chain.clone(), None, None),
        Op::AddRule(chain, Rule::new([Match::CtState(states)], Verdict::Accept)),
    ])
}

fn fib() -> Result<Vec<Op>, NameError> {
    let chain = Name::new("fib")?;
    Ok(vec![
        Op::CreateChain(chain.clone(), None, None),
        Op::AddRule(chain, Rule::new([Match::SourceIsLocal], Verdict::Accept)),
    ])
}

fn maps() -> Result<Vec<Op>, NameError> {
    let (map, chain) = (Name::new("map")?, Name::new("mapped")?);
    let entry = (ADDRESS, chain.clone());
    Ok(vec![
        Op::CreateChain(chain, None, None),
        Op::CreateMap(map.clone(), Family::V4, None),
        Op::AddEntries(map, Family::V4, vec![entry]),
    ])
}

fn set_of(set: Name, set_type: SetType, element: Element) -> Vec<Op> {
    vec![Op::CreateSet(set.clone(), set_type, None), Op::AddElements(set, set_type, vec![element])]
}

/// The key by which routed packets are bound.
const BINDING: KeyFields = KeyFields {
    interface: Some(InterfaceField::In),
    mac: None,
    address: Some(KeyAddress::Source(Family::V4)),
};

/// A set of one key, and a base chain that looks it up.
fn bound(set: Name, chain: Name, hook: Hook, fields: KeyFields) -> Vec<Op> {
    const BEFORE_CONNTRACK: i32 = -310;
    let key = Key {
        interface: fields.interface.map(|_| 1),
        mac: fields.mac.map(|_| [0; 6]),
        address: fields.address.map(|_| ADDRESS),
    };
    let base = BaseChain { hook, priority: BEFORE_CONNTRACK };
    let matches = [Match::EtherType(EtherType::Ipv4), Match::Key(fields, set.clone())];
    let first = usize::from(fields.mac.is_none()); // only a frame has a type and a MAC
    let matches = matches.into_iter().skip(first);
    let mut ops = set_of(set, fields.set_type(), Element::Key(key));
    ops.push(Op::CreateChain(chain.clone(), Some(base), None));
    ops.push(Op::AddRule(chain, Rule::new(matches, Verdict::Accept)));
    ops
}

/// The keys by which frames are bound, one on each hook.
fn bridge_table() -> Result<Vec<Op>, NameError> {
    let from = KeyFields { mac: Some(MacField::Source), ..BINDING };
    let to = KeyFields {
        interface: Some(InterfaceField::Out),
        mac: Some(MacField::Destination),
        address: Some(KeyAddress::Destination(Family::V4)),
    };
    let mut ops = bound(Name::new("senders")?, Name::new("from")?, Hook::Prerouting, from);
    ops.extend(bound(Name::new("receivers")?, Name::new("to")?, Hook::Postrouting, to));
    Ok(ops)
}

#[cfg(test)]
mod tests;
