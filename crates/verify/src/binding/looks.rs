//! What the rules of a hook look at.
//!
//! In: a ruleset and a hook. Out: the sets that its rules ask, the fields that they
//! read, and the numbers that they mention. Two packets that agree in these cannot be
//! judged differently.
//! Never: what a rule does.

use std::collections::BTreeSet;

use ruleset::{
    AddressRange, AddressTest, Element, Field, Finish, Hook, InterfaceField, KeyAddress, KeyFields,
    MacField, Match, Name, PortTest, Ruleset, Set, TableFamily, Transport, VerdictMap,
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
    Ct,
    ToHost,
    TcpFlags,
    SctpChunk,
}

/// What the rules of a hook look at.
#[derive(Default)]
pub(crate) struct Looks<'a> {
    pub parts: BTreeSet<Part>,
    pub sets: BTreeSet<(&'a Name, SetRef<'a>)>,
    pub ranges: BTreeSet<AddressRange>,
    pub protocols: BTreeSet<u8>,
    pub icmp_types: BTreeSet<u8>,
    pub icmpv6_types: BTreeSet<u8>,
    pub hop_limits: BTreeSet<u8>,
    /// First ports of ranges in which the rules see no difference.
    pub ports: BTreeSet<(Transport, u16)>,
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
        let mut looks = Self { parts: specified(ruleset.family, hook), ..Self::default() };
        let mut waiting = walk::bases(ruleset, hook);
        let mut seen: BTreeSet<&Name> = waiting.iter().copied().collect();
        while let Some(chain) = waiting.pop().and_then(|name| ruleset.chains.get(name)) {
            for rule in &chain.rules {
                rule.matches.iter().for_each(|one| looks.add(ruleset, one));
                let mut next: Vec<&Name> = rule.target().into_iter().collect();
                if let Some(Finish::Dispatch(field, _, name)) = &rule.finish {
                    looks.parts.insert(end(*field));
                    if let Some((name, map)) = ruleset.maps.get_key_value(name) {
                        looks.sets.insert((name, SetRef::Map(map)));
                        next.extend(map.entries.values());
                    }
                }
                waiting.extend(next.into_iter().filter(|name| seen.insert(name)));
            }
        }
        looks
    }

    fn add(&mut self, ruleset: &'a Ruleset, condition: &'a Match) {
        match condition {
            Match::CtState(_) => drop(self.parts.insert(Part::Ct)),
            Match::NotToHost => drop(self.parts.insert(Part::ToHost)),
            // Both families and all frames are tried everywhere.
            Match::Family(_) | Match::EtherType(_) => {}
            Match::HopLimit(hops) => drop(self.hop_limits.insert(*hops)),
            Match::Protocol(number) | Match::NotProtocol(number) => {
                self.protocols.insert(*number);
            }
            Match::NotOpening => drop(self.parts.insert(Part::TcpFlags)),
            Match::NotInit => drop(self.parts.insert(Part::SctpChunk)),
            Match::IcmpType(number) => drop(self.icmp_types.insert(*number)),
            Match::PriorityTag(_) => drop(self.parts.insert(Part::Tag)),
            Match::Address(field, test) => {
                self.parts.insert(end(*field));
                match test {
                    AddressTest::In(range) => drop(self.ranges.insert(*range)),
                    AddressTest::Set(_, name) => self.set(ruleset, name),
                }
            }
            Match::Port(transport, PortTest::In(first, last)) => {
                self.port(*transport, *first, *last);
            }
            Match::Port(transport, PortTest::Set(name)) => {
                let set = ruleset.sets.get(name);
                for element in set.iter().flat_map(|set| &set.elements) {
                    if let Element::Port(port) = element {
                        self.port(*transport, *port, *port);
                    }
                }
                self.set(ruleset, name);
            }
            Match::AddressPort(field, _, transport, name) => {
                self.parts.insert(end(*field));
                let set = ruleset.sets.get(name);
                for element in set.iter().flat_map(|set| &set.elements) {
                    if let Element::AddressPort(_, port) = element {
                        self.port(*transport, *port, *port);
                    }
                }
                self.set(ruleset, name);
            }
            Match::AddressPair(_, name) => {
                self.parts.extend([Part::Source, Part::Destination]);
                self.set(ruleset, name);
            }
            Match::Icmpv6Type(name) => {
                let set = ruleset.sets.get(name);
                let types = set.iter().flat_map(|set| &set.elements).filter_map(|one| match one {
                    Element::Icmpv6Type(number) => Some(*number),
                    _ => None,
                });
                self.icmpv6_types.extend(types);
                self.set(ruleset, name);
            }
            Match::Key(fields, name) => {
                self.parts.extend(parts(fields));
                self.set(ruleset, name);
            }
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

    pub fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }
}

/// What the specification looks at.
fn specified(family: TableFamily, hook: Hook) -> BTreeSet<Part> {
    let parts: &[Part] = match (family, hook) {
        (TableFamily::Bridge, Hook::Prerouting) => &[
            Part::In,
            Part::SourceMac,
            Part::ArpMac,
            Part::ArpSender,
            Part::Source,
            Part::Target,
            Part::Tag,
        ],
        (TableFamily::Bridge, Hook::Postrouting) => {
            &[Part::Out, Part::DestinationMac, Part::Destination, Part::Tag]
        }
        (TableFamily::Inet, Hook::Prerouting | Hook::Input) => &[Part::In, Part::Source],
        (TableFamily::Bridge, Hook::Input | Hook::Forward)
        | (TableFamily::Inet, Hook::Forward | Hook::Postrouting) => &[],
    };
    parts.iter().copied().collect()
}

fn end(field: Field) -> Part {
    match field {
        Field::Source => Part::Source,
        Field::Destination => Part::Destination,
    }
}

fn parts(fields: &KeyFields) -> impl Iterator<Item = Part> + use<> {
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
    [interface, mac, address].into_iter().flatten()
}
