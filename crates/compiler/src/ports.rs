//! `ports` of a rule as matches.
//!
//! In: ports. Out: as few matches as say the same: one for all single ports of all
//! protocols, one for each range, one for each protocol that is given whole, one for all
//! names of a protocol. Ports that touch or overlap are one range. In the compact form
//! many ranges are single ports.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Port, PortNumbers, Protocol};
use ruleset::{Match, PortRange, Transport};

use crate::naming::Named;
use crate::price::Form;
use crate::sets::SetSource;
use crate::spans::union;

/// Up to this many ranges of a rule's ports become one rule each in the compact form.
/// More become single ports in a set.
const MAX_INLINE_RANGES: usize = 16;

/// One alternative of a rule's ports. The rule is repeated for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PortMatch {
    /// Every packet.
    Anything,
    /// By the packet alone.
    Numbers(Match),
    /// The destination's own ports of these names.
    Named(Protocol, BTreeSet<String>),
}

impl PortMatch {
    /// What the packet must be; nothing for names, which a set resolves.
    pub(crate) fn condition(&self) -> Option<Match> {
        match self {
            Self::Numbers(condition) => Some(condition.clone()),
            Self::Anything | Self::Named(..) => None,
        }
    }
}

/// What a rule's ports are, once names have numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Protocols that are given whole.
    pub whole: Vec<Protocol>,
    /// Ports that have no neighbour among them, in order.
    pub singles: Vec<(Protocol, u16)>,
    /// Ranges of several ports, disjoint, none beside another, in order.
    pub ranges: Vec<(Protocol, u16, u16)>,
    /// Names that a set resolves.
    pub names: BTreeMap<Protocol, BTreeSet<String>>,
}

/// How large the matches of a rule's ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Matches by numbers.
    pub numbers: u64,
    /// Matches by names.
    pub names: u64,
    /// Elements of the set of ports, if there is one.
    pub elements: u64,
}

impl Size {
    /// Of a rule for every port.
    pub(crate) const ANYTHING: Self = Self { numbers: 1, names: 0, elements: 0 };
}

/// nftables' word for a protocol.
pub(crate) fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp,
    }
}

/// The ports of a rule, with names as `resolve` gives them: numbers, or `None` to
/// leave the name to a set.
pub(crate) fn resolved(
    ports: &[Port],
    resolve: impl Fn(&str, Protocol) -> Option<Vec<u16>>,
) -> Resolved {
    let mut resolved = Resolved::default();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let mut spans: Vec<(u16, u16)> = Vec::new();
        let mut names = BTreeSet::new();
        let mut is_whole = false;
        for port in ports.iter().filter(|port| port.protocol == protocol) {
            match &port.numbers {
                PortNumbers::All => is_whole = true,
                PortNumbers::Range(first, last) => spans.push((*first, *last)),
                PortNumbers::Named(name) => match resolve(name, protocol) {
                    Some(numbers) => spans.extend(numbers.iter().map(|port| (*port, *port))),
                    None => drop(names.insert(name.clone())),
                },
            }
        }
        if is_whole {
            resolved.whole.push(protocol);
            continue;
        }
        for (first, last) in union(spans, |port| port.checked_add(1)) {
            match first == last {
                true => resolved.singles.push((protocol, first)),
                false => resolved.ranges.push((protocol, first, last)),
            }
        }
        if !names.is_empty() {
            resolved.names.insert(protocol, names);
        }
    }
    resolved
}

impl Resolved {
    /// As few matches as `form` allows. The sets they need go into `sets`.
    pub(crate) fn matches(mut self, form: Form, sets: &mut Named<'_>) -> Vec<PortMatch> {
        if self.are_ranges_in_a_set(form) {
            let ranges = std::mem::take(&mut self.ranges).into_iter();
            let each = |(protocol, first, last)| (first..=last).map(move |port| (protocol, port));
            self.singles.extend(ranges.flat_map(each));
            self.singles.sort_unstable();
        }
        let singles = self.singles.into_iter().map(|(one, port)| (transport(one), port));
        let mut others: Vec<(Protocol, Match)> = Vec::new();
        others.extend(self.ranges.into_iter().map(|(protocol, first, last)| {
            (protocol, Match::Port(transport(protocol), PortRange(first, last)))
        }));
        let whole = self.whole.into_iter();
        others.extend(whole.map(|protocol| (protocol, Match::Protocol(protocol.number()))));
        others.sort_by_key(|(protocol, _)| *protocol);
        let others = others.into_iter().map(|(_, condition)| condition);
        let numbers = one_of(singles.collect(), sets).into_iter().chain(others);
        let named = self.names.into_iter();
        let named = named.map(|(protocol, names)| PortMatch::Named(protocol, names));
        numbers.map(PortMatch::Numbers).chain(named).collect()
    }

    /// How large the matches are.
    pub(crate) fn size(&self, form: Form) -> Size {
        let in_ranges = self.ranges.iter().map(|(_, first, last)| u64::from(last - first) + 1);
        let singles = self.singles.len() as u64;
        let (ranges, elements) = match self.are_ranges_in_a_set(form) {
            true => (0, singles + in_ranges.sum::<u64>()),
            false => (self.ranges.len() as u64, singles),
        };
        let numbers = u64::from(elements > 0) + ranges + self.whole.len() as u64;
        Size { numbers, names: self.names.len() as u64, elements }
    }

    fn are_ranges_in_a_set(&self, form: Form) -> bool {
        match form {
            Form::Plain => false,
            Form::Compact => self.ranges.len() > MAX_INLINE_RANGES,
        }
    }
}

/// Any one of these single ports; `None` if there is none.
fn one_of(singles: Vec<(Transport, u16)>, sets: &mut Named<'_>) -> Option<Match> {
    match *singles.as_slice() {
        [] => None,
        [(transport, port)] => Some(Match::Port(transport, PortRange(port, port))),
        _ => {
            let name = sets.add(SetSource::Ports(singles));
            Some(Match::Ports(name))
        }
    }
}
