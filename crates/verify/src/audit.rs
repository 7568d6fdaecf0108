//! What policies in audit are told to deny.
//!
//! In: the model, the ruleset. Out: packets of which the table tells what it should not, or
//! does not tell what it should. That it drops none of them is a part of `proof`.
//!
//! A packet of a new flow that passes is told of at its source if the policies in audit there
//! deny it, and at its destination likewise. It is told of by a message of the log whose
//! prefix is the name of the chain, and counted in a set. What is dropped at an isolated pod
//! without a word is not told of here either: frames to several hosts, what opens no flow, and
//! in IPv6 neighbour discovery, link-local and multicast.
//!
//! Never: the compiler's code. This module states the names of prefixes and sets a second
//! time: they are what those who read the log and the counters know.

use policy::Direction;
use ruleset::simulator::CtState;
use ruleset::{Family, Field, Log, Name, Ruleset};

use crate::condition::View;
use crate::error::VerifyError;
use crate::expected::{edge_destinations_of, link_local, neighbour_codes};
use crate::model::{IsolatedAddress, Model};
use crate::packet_set::PacketSet;
use crate::proof::Proof;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::space::{self, Frame};

/// Of whose policies a rule in a chain tells, if it tells of policies in audit.
pub(crate) fn told_by(chain: &Name, log: &Log) -> Option<Direction> {
    Direction::BOTH.into_iter().find(|direction| {
        let letter = match direction {
            Direction::Egress => 'e',
            Direction::Ingress => 'i',
        };
        let is_own = log.prefix.as_str() == chain.as_str();
        let counts = log.set.as_str() == format!("audited.{letter}{}", log.family.digit());
        is_own && counts && chain.as_str().starts_with(&format!("audit.{letter}."))
    })
}

/// Whether a table tells of anybody.
fn tells(ruleset: &Ruleset) -> bool {
    let mut logs = ruleset.chains.iter().flat_map(|(name, chain)| {
        chain.rules.iter().filter_map(move |rule| Some((name, rule.log.as_ref()?)))
    });
    logs.any(|(name, log)| told_by(name, log).is_some())
}

/// Which end of a packet the policies of a direction are of.
fn end(direction: Direction) -> Field {
    match direction {
        Direction::Egress => Field::Source,
        Direction::Ingress => Field::Destination,
    }
}

/// What must be told of packets that pass from or to an audited address.
fn expected(
    (direction, frame): (Direction, Frame),
    address: u128,
    audited: &IsolatedAddress,
    passing: &Region,
) -> Region {
    let family = frame.family;
    let (own_edges, edges) = match direction {
        Direction::Egress => (link_local(family), edge_destinations_of(family)),
        Direction::Ingress => (edge_destinations_of(family), link_local(family)),
    };
    if own_edges.contains(address) {
        return Region::empty();
    }
    passing
        .subtract(&audited.allowed)
        .without(&audited.own)
        .without(&edges)
        .without_codes(&space::midflow())
        .without_codes(&neighbour_codes(family, frame.hop_limit))
}

/// All in these parts, whatever their outer addresses.
fn region(parts: &[PacketSet]) -> Region {
    parts.iter().fold(Region::empty(), |all, part| all.union(&part.region))
}

impl Proof<'_> {
    /// Compares what is told of the packets of a frame.
    pub(crate) fn audits(&mut self, frame: Frame, codes: &Ranges) -> Result<(), VerifyError> {
        let model: &Model<'_> = self.model;
        let none_is_audited = |family: Family| {
            Direction::BOTH
                .into_iter()
                .all(|direction| model.audited(family, direction).by_address.is_empty())
        };
        let is_told_of = frame.ct == CtState::New && frame.to_host;
        if !is_told_of || (none_is_audited(frame.family) && !tells(self.ruleset)) {
            return Ok(());
        }
        let there = self.machine.exits().destinations(frame.exit, frame.family);
        let all = space::addresses(frame.family);
        let of_node = self.own_sources(frame.family);
        for direction in Direction::BOTH {
            let audited = model.audited(frame.family, direction);
            let (ours, theirs) = match direction {
                Direction::Egress => (&all, &there),
                Direction::Ingress => (&there, &all),
            };
            let view = View { frame, outer: end(direction) };
            for (address, one) in &audited.by_address {
                if !ours.contains(*address) {
                    continue;
                }
                let outer = Ranges::single(*address);
                let region = Region::product(&theirs.subtract(&one.node), codes);
                let expected = |passing: &Region| match direction {
                    Direction::Egress if of_node.contains(*address) => Region::empty(),
                    Direction::Egress => expected((direction, frame), *address, one, passing),
                    Direction::Ingress => {
                        expected((direction, frame), *address, one, passing).without(&of_node)
                    }
                };
                self.told(direction, view, PacketSet { outer, region }, expected)?;
            }
            let outer = ours.subtract(&audited.addresses);
            let others = PacketSet { outer, region: Region::product(theirs, codes) };
            self.told(direction, view, others, |_| Region::empty())?;
        }
        Ok(())
    }

    /// Compares what is told of packets that pass with what must be.
    fn told(
        &mut self,
        direction: Direction,
        view: View,
        packets: PacketSet,
        expected: impl Fn(&Region) -> Region,
    ) -> Result<(), VerifyError> {
        if packets.outer.is_empty() || packets.region.is_empty() {
            return Ok(());
        }
        let (ends, told) = self.machine.told(view, packets, direction)?;
        for part in &ends.accepted {
            let here: Vec<PacketSet> =
                told.iter().filter_map(|one| one.of(true, &part.outer)).collect();
            let got = region(&here).intersect(&part.region);
            let wanted = expected(&part.region);
            for (is_told, wrong) in [(true, got.subtract(&wanted)), (false, wanted.subtract(&got))]
            {
                let outer = match is_told {
                    true => here.iter().find(|one| !one.region.intersect(&wrong).is_empty()),
                    false => Some(part),
                };
                if let (Some(from), false) = (outer, wrong.is_empty()) {
                    let region = match is_told {
                        true => from.region.intersect(&wrong),
                        false => wrong,
                    };
                    let part = PacketSet { outer: from.outer.clone(), region };
                    self.differs_in_audit(direction, view, is_told, &part);
                }
            }
        }
        Ok(())
    }
}
