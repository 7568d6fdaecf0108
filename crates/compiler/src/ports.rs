//! `ports` of a rule as matches.

use std::collections::BTreeSet;

use policy::{PortNumbers, Ports, Protocol};
use ruleset::{Match, PortTest, Transport};

use crate::sets::{SetSource, Sources};
use crate::spans::union;

/// Up to this many single ports become one rule each. More become a constant
/// set.
const MAX_INLINE_PORTS: usize = 3;

/// One alternative of a rule's ports. The rule is repeated for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PortMatch {
    /// Every packet.
    Anything,
    /// By the packet alone.
    Numbers(Match),
    /// The destination's own port of this name.
    Named(String, Protocol),
}

impl PortMatch {
    /// What the packet must be; nothing for a name, which a set resolves.
    pub(crate) fn condition(&self) -> Option<Match> {
        match self {
            Self::Numbers(condition) => Some(condition.clone()),
            Self::Anything | Self::Named(..) => None,
        }
    }
}

/// nftables' word for a protocol.
pub(crate) fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp,
    }
}

/// The ports of a rule, with names as `resolve` gives them: numbers, or
/// `None` to leave the name to a set. The sets they need go into `sources`.
pub(crate) fn matches(
    ports: &Ports,
    resolve: impl Fn(&str, Protocol) -> Option<Vec<u16>>,
    sources: &mut Sources,
) -> Vec<PortMatch> {
    let Ports::Only(ports) = ports else { return vec![PortMatch::Anything] };
    let mut matches = Vec::new();
    let mut names = BTreeSet::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let mut spans: Vec<(u16, u16)> = Vec::new();
        let mut all = false;
        for port in ports.iter().filter(|port| port.protocol == protocol) {
            match &port.numbers {
                PortNumbers::All => all = true,
                PortNumbers::Range(first, last) => spans.push((*first, *last)),
                PortNumbers::Named(name) => match resolve(name, protocol) {
                    Some(numbers) => spans.extend(numbers.iter().map(|port| (*port, *port))),
                    None => drop(names.insert((name.clone(), protocol))),
                },
            }
        }
        if all {
            names.retain(|(_, of)| *of != protocol);
            matches.push(PortMatch::Numbers(Match::Protocol(protocol.number())));
        } else {
            matches.extend(numbers(transport(protocol), spans, sources));
        }
    }
    matches.extend(names.into_iter().map(|(name, protocol)| PortMatch::Named(name, protocol)));
    matches
}

fn numbers(transport: Transport, spans: Vec<(u16, u16)>, sources: &mut Sources) -> Vec<PortMatch> {
    let spans = union(spans, |port| port.checked_add(1));
    let (singles, ranges): (Vec<_>, Vec<_>) =
        spans.into_iter().partition(|(first, last)| first == last);
    let in_rules = |spans: Vec<(u16, u16)>| {
        spans
            .into_iter()
            .map(move |(first, last)| Match::Port(transport, PortTest::In(first, last)))
    };
    let mut matches: Vec<Match> = Vec::new();
    if singles.len() > MAX_INLINE_PORTS {
        let ports: Vec<u16> = singles.into_iter().map(|(port, _)| port).collect();
        let source = SetSource::Ports(ports);
        let name = source.name();
        sources.insert(name.clone(), source);
        matches.push(Match::Port(transport, PortTest::Set(name)));
    } else {
        matches.extend(in_rules(singles));
    }
    matches.extend(in_rules(ranges));
    matches.into_iter().map(PortMatch::Numbers).collect()
}
