//! What the rules of a hook look at.
//!
//! In: a ruleset and a hook. Out: the sets that its rules ask, the fields that they
//! read, and the numbers that they mention. Two packets that agree in these cannot be
//! judged differently.
//! Never: what a rule does.

use std::collections::BTreeSet;

use ruleset::{
    AddressRange, AddressTest, Element, Field, Finish, FlowSide, Hook, InterfaceField, KeyAddress,
    KeyFields, MacField, Match, Name, PortRange, Ruleset, Set, Transport, VerdictMap,
};

use super::walk;

/// A field that packets are varied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    In,
    Out,
    SourceMac,
    DestinationMac,
    ArpMac,
    ArpSender,
    Source,
    Destination,
    Target,
    Tag,
    Opener,
    Answerer,
    Ct,
    ToHost,
    HopLimit,
    TcpFlags,
    SctpChunk,
    Translated,
    SourceIsLocal,
    SourcePort,
}

/// A set of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts(u32);

impl Parts {
    pub fn insert(&mut self, part: Part) {
        self.0 |= 1 << part as u16;
    }

    pub fn extend(&mut self, parts: impl IntoIterator<Item = Part>) {
        parts.into_iter().for_each(|part| self.insert(part));
    }

    pub fn has(self, part: Part) -> bool {
        self.0 & (1 << part as u16) != 0
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// One that is not in the other set.
    pub fn beyond(self, other: Self) -> Option<Part> {
        Part::ALL.into_iter().find(|part| self.has(*part) && !other.has(*part))
    }
}

impl Part {
    /// All, those first that leave less to look at.
    const ALL: [Self; 20] = [
        Self::In,
        Self::Out,
        Self::Tag,
        Self::SourceMac,
        Self::DestinationMac,
        Self::ArpMac,
        Self::ArpSender,
        Self::SourcePort,
        Self::Source,
        Self::Destination,
        Self::Target,
        Self::Opener,
        Self::Answerer,
        Self::Ct,
        Self::ToHost,
        Self::HopLimit,
        Self::TcpFlags,
        Self::SctpChunk,
        Self::Translated,
        Self::SourceIsLocal,
    ];
}

/// What the rules of a hook look at.
#[derive(Default)]
pub(crate) struct Looks<'a> {
    /// The interfaces that anybody asks for.
    pub interfaces: Parts,
    /// Whether somebody asks for the input interface together with something else.
    pub mixes_input: bool,
    pub sets: BTreeSet<(&'a Name, SetRef<'a>)>,
    pub ranges: BTreeSet<AddressRange>,
    pub protocols: BTreeSet<u8>,
    pub icmp_types: BTreeSet<u8>,
    pub icmpv6_types: BTreeSet<u8>,
    pub hop_limits: BTreeSet<u8>,
    /// First ports of ranges in which the rules see no difference.
    pub ports: BTreeSet<(Transport, u16)>,
    pub source_ports: BTreeSet<u16>,
}

/// A set or map. Compared by its name alone, which stands before it.
#[derive(Clone, Copy)]
pub(crate) enum SetRef<'a> {
    Set(&'a Set),
    Map(&'a VerdictMap),
}

impl PartialEq for SetRef<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SetRef<'_> {}

impl PartialOrd for SetRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SetRef<'_> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<'a> Looks<'a> {
    /// What the rules that packets of this hook can reach look at, and what the
    /// specification looks at there.
    pub fn new(ruleset: &'a Ruleset, hook: Hook) -> Self {
        let mut looks = Self::default();
        looks.interfaces.extend(
            match hook {
                Hook::Prerouting | Hook::Input => [Some(Part::In), None],
                Hook::Forward => [Some(Part::In), Some(Part::Out)],
                Hook::Output | Hook::Postrouting => [Some(Part::Out), None],
            }
            .into_iter()
            .flatten(),
        );
        let mut waiting = walk::bases(ruleset, hook);
        let mut seen: BTreeSet<&Name> = waiting.iter().copied().collect();
        while let Some(chain) = waiting.pop().and_then(|name| ruleset.chains.get(name)) {
            for rule in &chain.rules {
                rule.matches.iter().for_each(|one| looks.add(ruleset, one));
                let mut next: Vec<&Name> = rule.target().into_iter().collect();
                if let Some(Finish::Dispatch(_, _, name)) = &rule.finish
                    && let Some((name, map)) = ruleset.maps.get_key_value(name)
                {
                    looks.sets.insert((name, SetRef::Map(map)));
                    next.extend(map.entries.values());
                }
                waiting.extend(next.into_iter().filter(|name| seen.insert(name)));
            }
        }
        looks
    }

    fn add(&mut self, ruleset: &'a Ruleset, condition: &'a Match) {
        let parts: Vec<Part> = parts_of(condition).collect();
        self.mixes_input |= parts.len() > 1 && parts.contains(&Part::In);
        self.interfaces.extend(parts);
        let elements = |name| ruleset.sets.get(name).into_iter().flat_map(|set| &set.elements);
        match condition {
            Match::HopLimit(hops) => drop(self.hop_limits.insert(*hops)),
            Match::Protocol(number) | Match::NotProtocol(number) => {
                self.protocols.insert(*number);
            }
            Match::IcmpType(number) => drop(self.icmp_types.insert(*number)),
            Match::Address(_, AddressTest::In(range)) => drop(self.ranges.insert(*range)),
            Match::Port(transport, PortRange(first, last)) => {
                self.port(*transport, *first, *last);
            }
            Match::SourcePort(_, port) => drop(self.source_ports.insert(*port)),
            Match::AddressPort(_, _, transport, name) => {
                for element in elements(name) {
                    if let Element::AddressPort(_, port) = element {
                        self.port(*transport, *port, *port);
                    }
                }
            }
            Match::Ports(name) => {
                for element in elements(name) {
                    if let Element::ProtocolPort(transport, port) = element {
                        self.port(*transport, *port, *port);
                    }
                }
            }
            Match::Icmpv6Type(name) => {
                self.icmpv6_types.extend(elements(name).filter_map(|one| match one {
                    Element::Icmpv6Type(number) => Some(*number),
                    _ => None,
                }));
            }
            // Their fields are varied where a packet meets them.
            Match::CtState(_)
            | Match::CtTranslated
            | Match::SourceIsLocal
            | Match::NotToHost
            | Match::Family(_)
            | Match::EtherType(_)
            | Match::NotOpening
            | Match::NotInit
            | Match::PriorityTag(_)
            | Match::Address(_, AddressTest::Set(..))
            | Match::AddressPair(..)
            | Match::FlowSource(..)
            | Match::FlowOpener(..)
            | Match::Key(..) => {}
        }
        if let Some(name) = condition.lookup() {
            self.set(ruleset, name);
        }
    }

    fn set(&mut self, ruleset: &'a Ruleset, name: &Name) {
        let found = ruleset.sets.get_key_value(name);
        self.sets.extend(found.map(|(name, set)| (name, SetRef::Set(set))));
    }

    /// Ports from the first to the last differ from their neighbours.
    pub fn port(&mut self, transport: Transport, first: u16, last: u16) {
        let after = last.checked_add(1);
        let cuts = [Some(0), Some(first), after].into_iter().flatten();
        self.ports.extend(cuts.map(|port| (transport, port)));
    }
}

/// The fields that a match reads. Protocols, ports and types are varied for all
/// packets, so they are none of these.
pub(crate) fn parts_of(condition: &Match) -> impl Iterator<Item = Part> + use<> {
    let parts = match condition {
        Match::CtState(_) => [Some(Part::Ct), None, None],
        Match::CtTranslated => [Some(Part::Translated), None, None],
        Match::SourceIsLocal => [Some(Part::SourceIsLocal), None, None],
        Match::NotToHost => [Some(Part::ToHost), None, None],
        Match::HopLimit(_) => [Some(Part::HopLimit), None, None],
        Match::NotOpening => [Some(Part::TcpFlags), None, None],
        Match::NotInit => [Some(Part::SctpChunk), None, None],
        Match::SourcePort(..) => [Some(Part::SourcePort), None, None],
        Match::PriorityTag(_) | Match::EtherType(_) => [Some(Part::Tag), None, None],
        Match::Address(field, _) | Match::AddressPort(field, ..) => [Some(end(*field)), None, None],
        Match::AddressPair(..) => [Some(Part::Source), Some(Part::Destination), None],
        Match::FlowSource(FlowSide::Original, ..) => [Some(Part::Source), Some(Part::Opener), None],
        Match::FlowSource(FlowSide::Reply, ..) => [Some(Part::Source), Some(Part::Answerer), None],
        Match::FlowOpener(..) => [Some(Part::Opener), None, None],
        Match::Key(fields, _) => key_parts(fields),
        Match::Family(_)
        | Match::Protocol(_)
        | Match::NotProtocol(_)
        | Match::IcmpType(_)
        | Match::Icmpv6Type(_)
        | Match::Port(..)
        | Match::Ports(_) => [None; 3],
    };
    parts.into_iter().flatten()
}

/// The end that a match or map looks at.
pub(crate) fn end(field: Field) -> Part {
    match field {
        Field::Source => Part::Source,
        Field::Destination => Part::Destination,
    }
}

fn key_parts(fields: &KeyFields) -> [Option<Part>; 3] {
    let interface = fields.interface.map(|interface| match interface {
        InterfaceField::In => Part::In,
        InterfaceField::Out => Part::Out,
    });
    let mac = fields.mac.map(|mac| match mac {
        MacField::Source => Part::SourceMac,
        MacField::Destination => Part::DestinationMac,
        MacField::ArpSender => Part::ArpMac,
    });
    let address = fields.address.map(|address| match address {
        KeyAddress::Source(_) => Part::Source,
        KeyAddress::Destination(_) => Part::Destination,
        KeyAddress::ArpSender => Part::ArpSender,
        KeyAddress::Target => Part::Target,
    });
    [interface, mac, address]
}
