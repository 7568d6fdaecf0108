//! Which optional features this kernel supports.
//!
//! Never: a table that others can see.

use std::net::{IpAddr, Ipv4Addr};

use ruleset::{
    AddressRange, Batch, CtStates, Element, Family, Field, Log, LogPrefix, Match, Name, NameError,
    Op, Rule, SetType, Verdict,
};

use crate::{Kernel, SendError};

/// Which of the features that our rulesets use this kernel supports. All except
/// `log` are required: without them the kernel refuses our rulesets.
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
}

impl Kernel {
    /// Tries each feature in a table that is never committed.
    ///
    /// # Errors
    /// See [`SendError`]. A shortage of resources is an error, not a missing
    /// feature.
    pub fn probe(&mut self) -> Result<Features, SendError> {
        let names = Names::new().map_err(|error| SendError::Io(std::io::Error::other(error)))?;
        Ok(Features {
            log: self.rehearse(&names.table, &names.log())?,
            conntrack: self.rehearse(&names.table, &names.conntrack())?,
            maps: self.rehearse(&names.table, &names.maps())?,
            intervals: self.rehearse(&names.table, &names.intervals())?,
            concatenations: self.rehearse(&names.table, &names.concatenations())?,
        })
    }
}

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Names {
    table: Name,
    set: Name,
    chain: Name,
}

impl Names {
    fn new() -> Result<Self, NameError> {
        Ok(Self {
            table: Name::new("nftpol-probe")?,
            set: Name::new("set")?,
            chain: Name::new("chain")?,
        })
    }

    fn batch(ops: impl IntoIterator<Item = Op>) -> Batch {
        Batch { ops: [Op::CreateTable].into_iter().chain(ops).collect() }
    }

    fn log(&self) -> Batch {
        let log = Log {
            field: Field::Source,
            family: Family::V4,
            set: self.set.clone(),
            per_second: 1,
            prefix: LogPrefix::new("probe"),
            group: 0,
        };
        let rule = Rule { matches: Vec::new(), log: Some(log), finish: None, comment: None };
        Self::batch([
            Op::CreateSet(self.set.clone(), SetType::RateLimit(Family::V4), None),
            Op::CreateChain(self.chain.clone(), None, None),
            Op::AddRule(self.chain.clone(), rule),
        ])
    }

    fn conntrack(&self) -> Batch {
        let states = CtStates { established: true, related: true };
        Self::batch([
            Op::CreateChain(self.chain.clone(), None, None),
            Op::AddRule(self.chain.clone(), Rule::new([Match::CtState(states)], Verdict::Accept)),
        ])
    }

    fn maps(&self) -> Batch {
        let entry = (ADDRESS, self.chain.clone());
        Self::batch([
            Op::CreateChain(self.chain.clone(), None, None),
            Op::CreateMap(self.set.clone(), Family::V4, None),
            Op::AddEntries(self.set.clone(), Family::V4, vec![entry]),
        ])
    }

    fn intervals(&self) -> Batch {
        let element = Element::Range(AddressRange::single(ADDRESS));
        self.set_of(SetType::AddressRange(Family::V4), element)
    }

    fn concatenations(&self) -> Batch {
        self.set_of(SetType::AddressPair(Family::V4), Element::AddressPair(ADDRESS, ADDRESS))
    }

    fn set_of(&self, set_type: SetType, element: Element) -> Batch {
        Self::batch([
            Op::CreateSet(self.set.clone(), set_type, None),
            Op::AddElements(self.set.clone(), set_type, vec![element]),
        ])
    }
}
