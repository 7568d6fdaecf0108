//! `ports` of a rule as matches.
//!
//! In: ports. Out: as few matches as say the same: one for all single ports of all
//! protocols, one for each range, one for each protocol that is given whole.

use std::collections::BTreeSet;

use policy::{PortNumbers, Ports, Protocol};
use ruleset::{Match, PortTest, Transport};

use crate::naming::Named;
use crate::sets::SetSource;
use crate::spans::union;

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
/// `None` to leave the name to a set. The sets they need go into `sets`.
pub(crate) fn matches(
    ports: &Ports,
    resolve: impl Fn(&str, Protocol) -> Option<Vec<u16>>,
    sets: &mut Named<'_>,
) -> Vec<PortMatch> {
    let Ports::Only(ports) = ports else { return vec![PortMatch::Anything] };
    let mut matches = Vec::new();
    let mut singles = Vec::new();
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
            matches.push(Match::Protocol(protocol.number()));
            continue;
        }
        for (first, last) in union(spans, |port| port.checked_add(1)) {
            match first == last {
                true => singles.push((transport(protocol), first)),
                false => {
                    let range = PortTest::In(first, last);
                    matches.push(Match::Port(transport(protocol), range));
                }
            }
        }
    }
    let matches = one_of(singles, sets).into_iter().chain(matches).map(PortMatch::Numbers);
    let names = names.into_iter().map(|(name, protocol)| PortMatch::Named(name, protocol));
    matches.chain(names).collect()
}

/// Any one of these single ports; `None` if there is none.
fn one_of(singles: Vec<(Transport, u16)>, sets: &mut Named<'_>) -> Option<Match> {
    match *singles.as_slice() {
        [] => None,
        [(transport, port)] => Some(Match::Port(transport, PortTest::In(port, port))),
        _ => {
            let name = sets.add(SetSource::Ports(singles));
            Some(Match::Ports(name))
        }
    }
}
