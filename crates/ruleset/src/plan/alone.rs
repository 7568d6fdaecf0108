//! When the entries of an address can switch in one step, if it changes alone.
//!
//! In: the difference. Out: for two chains, the phases in which an entry may go from
//! the one to the other. Never: a difference in which more than this happens.
//!
//! A switch allows some packets less and others more. So in general it goes through a
//! chain that allows what both allow: what it takes goes before what the other direction
//! gives, and what it gives comes after what the other direction takes (see `steps`).
//! That chain costs two commits that validate the table. Here is when it is not needed.
//!
//! One address of a family changes: its entries, and the sets that it is in. Nothing
//! else does, so no other packet matters than those between this address and another
//! one. For such a packet one direction is judged by the address's own chain, which
//! switches. The other direction is judged by the other address's chain, which stays. It
//! may ask a set that the address enters or leaves:
//!
//! ```text
//! own chain    the other chain            the switch
//! allows more  asks a set that it leaves  comes after `remove`
//! allows less  asks a set that it enters  comes before `add`
//! ```
//!
//! Only addresses with an entry of the other direction have such a chain. So each is
//! asked: does the difference of the two own chains concern it, at a port that its own
//! rule names, too? If both lines of the table apply, the switch needs the chain that
//! allows what both do. If neither does, every moment suits.
//!
//! What no rule tells apart is taken to be concerned. A packet of the address to itself
//! does not matter: it passes anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::delta::{Delta, ElementChange, Switch};
use crate::{
    AddressTest, Element, Family, Field, Finish, Match, Name, PortRange, Rule, Ruleset, Set,
    SetType, Transport, Verdict,
};

/// The phase of a switch in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Take,
    Give,
}

/// Which phases do not suit a switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wrong {
    take: bool,
    give: bool,
    /// Whether the new chain allows something less.
    loses: bool,
}

/// The chains between which entries can switch in one step, with the phase.
///
/// All of them switch in one phase if one suits all: each phase with switches validates
/// the table. Of two that suit all, what only allows more takes the later one.
pub(super) fn phases<'a>(delta: &Delta<'a>) -> BTreeMap<(&'a Name, &'a Name), Phase> {
    if !is_of_one_address(delta) {
        return BTreeMap::new();
    }
    let mut found: BTreeMap<(&Name, &Name), Wrong> = BTreeMap::new();
    for switch in &delta.switches {
        let (Some(from), Some(to)) = (switch.from, switch.to) else { continue };
        let wrong = found.entry((from, to)).or_default();
        let more = wrong_phases(delta, switch, from, to);
        *wrong = Wrong {
            take: wrong.take || more.take,
            give: wrong.give || more.give,
            loses: wrong.loses || more.loses,
        };
    }
    let any = |test: fn(&Wrong) -> bool| found.values().any(test);
    let give = !any(|wrong| wrong.give) && (any(|wrong| wrong.take) || !any(|wrong| wrong.loses));
    let phase_of = |wrong: Wrong| match (wrong.take, wrong.give) {
        (true, true) => None,
        (true, false) => Some(Phase::Give),
        (false, true) => Some(Phase::Take),
        (false, false) => Some(if give { Phase::Give } else { Phase::Take }),
    };
    found.into_iter().filter_map(|(pair, wrong)| Some((pair, phase_of(wrong)?))).collect()
}

/// Whether the entries of one address of each family switch, and nothing else changes
/// that packets meet, except in which sets that allow it is.
fn is_of_one_address(delta: &Delta<'_>) -> bool {
    let Delta { pairs, gates, permits, bindings, guards, bans, known, .. } = delta;
    let other_sets = [pairs, gates, permits, bindings, guards, bans, known];
    let is_still = delta.refills.is_empty()
        && delta.new_bases.is_empty()
        && delta.gone_bases.is_empty()
        && other_sets.into_iter().all(BTreeMap::is_empty);
    let switches_only = delta.switches.iter().all(|one| one.from.is_some() && one.to.is_some());
    if !is_still || !switches_only || delta.switches.is_empty() {
        return false;
    }
    let elements = delta.allowing.values().flat_map(elements);
    let addresses: BTreeSet<IpAddr> = elements
        .flat_map(Element::addresses)
        .chain(delta.switches.iter().map(|switch| switch.address))
        .collect();
    let of = |family| addresses.iter().filter(|address| Family::of(**address) == family).count();
    Family::BOTH.into_iter().all(|family| of(family) <= 1)
}

fn elements<'c>(change: &'c ElementChange<'_>) -> impl Iterator<Item = &'c Element> {
    change.added.iter().chain(&change.removed).copied()
}

fn wrong_phases(delta: &Delta<'_>, switch: &Switch<'_>, from: &Name, to: &Name) -> Wrong {
    let everywhere = Wrong { take: true, give: true, loses: true };
    let (before, after) = (rules(delta.old, from), rules(delta.new, to));
    let Some(field) = delta.field(switch.map) else { return everywhere };
    if !only_allows(before) || !only_allows(after) {
        return everywhere;
    }
    let allowing = |rules: &'_ [Rule]| -> BTreeSet<_> {
        rules.iter().filter(|rule| rule.allows()).map(|rule| rule.matches.clone()).collect()
    };
    let (before, after) = (allowing(before), allowing(after));
    let gained: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    let mut wrong = Wrong { loses: !lost.is_empty(), ..Wrong::default() };
    for (other, chain) in others(delta, switch, field) {
        let (source, destination) = match field {
            Field::Source => (switch.address, other),
            Field::Destination => (other, switch.address),
        };
        let packets = Packets { own: switch.address, source, destination };
        let other_rules = rules(delta.new, chain);
        if !only_allows(other_rules) {
            return everywhere;
        }
        for rule in other_rules.iter().filter(|rule| rule.allows()) {
            let asks = |of: fn(&ElementChange<'_>) -> bool| {
                rule.lookups().any(|set| delta.allowing.get(set).is_some_and(of))
            };
            let meets = |condition: &&&Vec<Match>, table| {
                packets.may_match(condition, table)
                    && packets.may_match(&rule.matches, delta.new)
                    && !exclude_each_other(condition, &rule.matches)
            };
            wrong.take |= asks(|change| !change.removed.is_empty())
                && gained.iter().any(|one| meets(&one, delta.new));
            wrong.give |= asks(|change| !change.added.is_empty())
                && lost.iter().any(|one| meets(&one, delta.old));
        }
    }
    wrong
}

/// The other addresses whose chain asks a set that changes, in the other direction.
fn others<'d>(
    delta: &'d Delta<'_>,
    switch: &Switch<'_>,
    field: Field,
) -> impl Iterator<Item = (IpAddr, &'d Name)> {
    let Switch { family, address, .. } = *switch;
    let maps = delta.new.maps.iter().filter(move |(name, map)| {
        map.family == family && delta.field(name).is_none_or(|its| its != field)
    });
    let entries = maps.flat_map(|(_, map)| &map.entries);
    entries
        .map(|(other, chain)| (*other, chain))
        .filter(move |(other, chain)| *other != address && delta.askers.contains(*chain))
}

fn rules<'a>(ruleset: &'a Ruleset, chain: &Name) -> &'a [Rule] {
    ruleset.chains.get(chain).map_or(&[], |chain| &chain.rules)
}

/// Whether a chain allows what its rules say, and drops the rest.
fn only_allows(rules: &[Rule]) -> bool {
    rules.iter().all(|rule| match &rule.finish {
        Some(Finish::Verdict(Verdict::Accept | Verdict::Return)) | None => true,
        Some(Finish::Verdict(Verdict::Drop)) => rule.matches.is_empty(),
        Some(Finish::Verdict(Verdict::Jump(_) | Verdict::Goto(_)) | Finish::Dispatch(..)) => false,
    })
}

/// The packets from one address to another.
struct Packets {
    /// The one that changes. It may be in any set.
    own: IpAddr,
    source: IpAddr,
    destination: IpAddr,
}

impl Packets {
    /// Whether one of them may match, as far as its addresses tell.
    fn may_match(&self, condition: &[Match], table: &Ruleset) -> bool {
        condition.iter().all(|one| match one {
            Match::Address(field, AddressTest::In(range)) => range.contains(self.address(*field)),
            Match::Address(field, AddressTest::Set(family, set)) => {
                let address = self.address(*field);
                Family::of(address) == *family
                    && (address == self.own || may_hold(table.sets.get(set), address))
            }
            Match::AddressPort(_, family, ..) | Match::Family(family) => {
                Family::of(self.source) == *family
            }
            Match::CtState(_)
            | Match::CtTranslated
            | Match::SourceIsLocal
            | Match::NotToHost
            | Match::HopLimit(_)
            | Match::Protocol(_)
            | Match::NotOpening
            | Match::Port(..)
            | Match::Ports(_)
            | Match::SourcePort(..)
            | Match::AddressPair(..)
            | Match::FlowSource(..)
            | Match::FlowOpener(..)
            | Match::Icmpv6Type(_)
            | Match::Key(..)
            | Match::EtherType(_)
            | Match::PriorityTag(_)
            | Match::NotProtocol(_)
            | Match::IcmpType(_)
            | Match::NotInit => true,
        })
    }

    fn address(&self, field: Field) -> IpAddr {
        field.of(self.source, self.destination)
    }
}

fn may_hold(set: Option<&Set>, address: IpAddr) -> bool {
    set.is_none_or(|set| match set.set_type {
        SetType::Address(_) => set.elements.contains(&Element::Address(address)),
        SetType::AddressRange(_)
        | SetType::AddressPort(_)
        | SetType::AddressPair(_)
        | SetType::ProtocolPort
        | SetType::Icmpv6Type
        | SetType::RateLimit(_)
        | SetType::Key(_)
        | SetType::Store(_) => true,
    })
}

/// Whether no packet has the protocol and port of both.
fn exclude_each_other(one: &[Match], other: &[Match]) -> bool {
    one.iter().filter_map(ports).any(|(protocol, ports)| {
        other.iter().filter_map(self::ports).any(|(its, its_ports)| {
            let apart = ports.end() < its_ports.start() || its_ports.end() < ports.start();
            protocol != its || apart
        })
    })
}

/// The protocol and the destination ports that a match leaves.
fn ports(one: &Match) -> Option<(u8, RangeInclusive<u16>)> {
    let any = |transport: &Transport| Some((transport.number(), 0..=u16::MAX));
    match one {
        Match::Port(transport, PortRange(first, last)) => {
            Some((transport.number(), *first..=*last))
        }
        Match::SourcePort(transport, _) | Match::AddressPort(_, _, transport, _) => any(transport),
        Match::Protocol(number) => Some((*number, 0..=u16::MAX)),
        Match::CtState(_)
        | Match::CtTranslated
        | Match::SourceIsLocal
        | Match::NotToHost
        | Match::Family(_)
        | Match::HopLimit(_)
        | Match::NotOpening
        | Match::Address(..)
        | Match::Ports(_)
        | Match::AddressPair(..)
        | Match::FlowSource(..)
        | Match::FlowOpener(..)
        | Match::Icmpv6Type(_)
        | Match::Key(..)
        | Match::EtherType(_)
        | Match::PriorityTag(_)
        | Match::NotProtocol(_)
        | Match::IcmpType(_)
        | Match::NotInit => None,
    }
}
