//! The comparison.
//!
//! In: the model and the ruleset. Out: the differences.
//!
//! The space of packets is cut into pieces that cover it without gaps. In each
//! piece, one end is either a single address or does not matter:
//!
//! | frame | sources | destinations |
//! |---|---|---|
//! | of or about a known flow, or not to a single host | all | all |
//! | of a new flow | one isolated pod's address, each in turn | all |
//! | | all that are not isolated | one isolated pod's address, each in turn |
//! | | all that are not isolated | all that are not isolated |
//!
//! Each piece goes through the table from its base chain on. Nothing here
//! assumes that the two directions are judged separately: an isolated source is
//! tried with all destinations, isolated ones included.
//!
//! Never: single packets, except to explain a difference.

use std::collections::{BTreeMap, BTreeSet};

use policy::spec::binding::Binding;
use policy::{Direction, Inside, spec, subjects};
use ruleset::simulator::{self, CtState, Outcome, Packet, RulePosition};
use ruleset::{Family, Field, Hook, Ruleset, text};

use crate::binding::said;
use crate::condition::View;
use crate::error::VerifyError;
use crate::exits::Exits;
use crate::expected::Expected;
use crate::frames::frames_at;
use crate::machine::Machine;
use crate::model::Model;
use crate::packet_set::PacketSet;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::report::{AuditDifference, Counts, Difference, Reason, Report};
use crate::space::{self, Frame};

/// A comparison while it runs.
pub(crate) struct Proof<'a> {
    hook: Hook,
    /// The direction that is judged in a pod's own namespace. `None` on the node.
    inside: Option<(&'a Inside, Direction)>,
    pub(crate) model: &'a Model<'a>,
    binding: &'a Binding<'a>,
    node: Option<&'a str>,
    pub(crate) ruleset: &'a Ruleset,
    pub(crate) machine: Machine<'a>,
    regions: usize,
    /// By direction, outcome and rule. Differences of pods come first.
    found: BTreeMap<(bool, Option<Direction>, bool, Option<RulePosition>), Difference>,
    /// By direction, and whether it is told.
    audits: BTreeMap<(Direction, bool), AuditDifference>,
}

/// Packets, and which of them must pass.
struct Piece {
    view: View,
    direction: Option<Direction>,
    packets: PacketSet,
    /// The packets that must pass, by outer address.
    passing: Vec<PacketSet>,
    /// Inner addresses whose packets never cross the forward hook.
    unseen: Ranges,
}

impl<'a> Proof<'a> {
    /// One of a hook of the node.
    pub fn new(
        hook: Hook,
        model: &'a Model<'a>,
        binding: &'a Binding<'a>,
        node: Option<&'a str>,
        ruleset: &'a Ruleset,
    ) -> Self {
        let machine = Machine::at(hook, ruleset, Exits::new(binding, ruleset));
        Self::of(hook, machine, None, model, binding, node, ruleset)
    }

    fn of(
        hook: Hook,
        machine: Machine<'a>,
        inside: Option<(&'a Inside, Direction)>,
        model: &'a Model<'a>,
        binding: &'a Binding<'a>,
        node: Option<&'a str>,
        ruleset: &'a Ruleset,
    ) -> Self {
        Self {
            hook,
            inside,
            model,
            binding,
            node,
            ruleset,
            machine,
            regions: 0,
            found: BTreeMap::new(),
            audits: BTreeMap::new(),
        }
    }

    /// Compares everything.
    pub fn run(mut self) -> Result<Report, VerifyError> {
        let mut counts = Counts { pods: self.model.pods, ..Counts::default() };
        for family in Family::BOTH {
            let sides = Direction::BOTH.map(|direction| self.model.isolated(family, direction));
            counts.directions += sides.iter().map(|side| side.by_address.len()).sum::<usize>();
            let addresses: BTreeSet<&u128> =
                sides.iter().flat_map(|side| side.by_address.keys()).collect();
            counts.addresses += addresses.len();
            let audited = Direction::BOTH.map(|direction| self.model.audited(family, direction));
            counts.audited += audited.iter().map(|side| side.by_address.len()).sum::<usize>();
            for (frame, codes) in frames_at(self.hook, family, self.ruleset, self.binding.network) {
                for exit in 0..self.machine.exits().count() {
                    self.frame(Frame { exit, ..frame }, &codes)?;
                    if self.is_audited(frame) {
                        self.audits(Frame { exit, ..frame }, &codes)?;
                    }
                }
            }
        }
        counts.allowances = self.model.regions;
        counts.chains = self.machine.chains();
        counts.regions = self.regions;
        let differences = self.found.into_values().collect();
        let audit_differences = self.audits.into_values().collect();
        Ok(Report { counts, differences, audit_differences, ..Report::default() })
    }

    /// Records one of the packets of which the table tells wrongly.
    pub(crate) fn differs_in_audit(
        &mut self,
        direction: Direction,
        view: View,
        is_told: bool,
        part: &PacketSet,
    ) {
        let Some((packet, _)) = self.example(view, part) else { return };
        let difference = AuditDifference { packet, direction, is_told, alike: 0 };
        let key = (direction, is_told);
        self.audits.entry(key).and_modify(|first| first.alike += 1).or_insert(difference);
    }

    fn frame(&mut self, frame: Frame, codes: &Ranges) -> Result<(), VerifyError> {
        let exits = self.machine.exits();
        let there = exits.destinations(frame.exit, frame.family);
        let refused = exits.refused(frame.exit);
        let expected = Expected::new(self.model, self.binding, self.said(frame), refused);
        let all = &expected.addresses;
        let is_output = self.is_output_of_node();
        let piece = |outer: Field, part: (&Ranges, &Ranges), passing: Vec<PacketSet>| Piece {
            view: View { frame, outer },
            direction: None,
            packets: PacketSet { outer: part.0.clone(), region: Region::product(part.1, codes) },
            passing: if is_output { sent::with_nodes_own(frame, outer, passing) } else { passing },
            unseen: Ranges::empty(),
        };
        if self.is_nodes_own(frame) {
            let everything = Region::product(all, &expected.codes);
            let passing = vec![PacketSet { outer: all.clone(), region: everything }];
            return self.compare(&piece(Field::Source, (all, &there), passing));
        }
        if let Some(region) = expected.for_all_addresses() {
            let passing = vec![PacketSet { outer: all.clone(), region }];
            return self.compare(&piece(Field::Source, (all, &there), passing));
        }
        if frame.ct == CtState::Related {
            let passing = self.about_flows(&expected);
            return self.compare(&piece(Field::Source, (all, &there), passing));
        }
        for (address, isolated) in &expected.egress.by_address {
            let outer = Ranges::single(*address);
            let passing =
                vec![PacketSet { outer: outer.clone(), region: expected.from(*address, isolated) }];
            let piece = piece(Field::Source, (&outer, &there), passing);
            let direction = Some(Direction::Egress);
            self.compare(&Piece { direction, unseen: isolated.node.clone(), ..piece })?;
        }
        let other_sources = all.subtract(&expected.egress.addresses);
        for (address, isolated) in &expected.ingress.by_address {
            if !there.contains(*address) {
                continue;
            }
            let outer = Ranges::single(*address);
            let passing =
                vec![PacketSet { outer: outer.clone(), region: expected.to(*address, isolated) }];
            let piece = piece(Field::Destination, (&outer, &other_sources), passing);
            let direction = Some(Direction::Ingress);
            self.compare(&Piece { direction, unseen: isolated.node.clone(), ..piece })?;
        }
        let other_destinations = there.subtract(&expected.ingress.addresses);
        let parts = (&other_sources, &other_destinations);
        self.compare(&piece(Field::Source, parts, expected.between_others()))
    }

    fn compare(&mut self, piece: &Piece) -> Result<(), VerifyError> {
        if piece.packets.region.is_empty() || piece.packets.outer.is_empty() {
            return Ok(());
        }
        let ends = self.machine.table(piece.view, piece.packets.clone())?;
        for passing in &piece.passing {
            self.regions += passing.region.size();
            let judged = |parts: &[PacketSet], wrong: &dyn Fn(&Region) -> Region| {
                parts.iter().find_map(|part| {
                    let outer = part.outer.intersect(&passing.outer);
                    let region = wrong(&part.region).without(&piece.unseen);
                    (!outer.is_empty() && !region.is_empty()).then_some(PacketSet { outer, region })
                })
            };
            let leak = judged(&ends.accepted, &|got| got.subtract(&passing.region));
            let loss = judged(&ends.dropped, &|got| got.intersect(&passing.region));
            for (got, part) in [(Outcome::Accept, leak), (Outcome::Drop, loss)] {
                if let Some(part) = part {
                    self.differs(piece, got, &part)?;
                }
            }
        }
        Ok(())
    }

    /// Records one of the packets that the ruleset treats wrongly.
    fn differs(
        &mut self,
        piece: &Piece,
        got: Outcome,
        part: &PacketSet,
    ) -> Result<(), VerifyError> {
        let Some((packet, point)) = self.example(piece.view, part) else { return Ok(()) };
        let place = self.machine.decides(piece.view, point)?;
        let rule = place.as_ref().and_then(|place| {
            let rule = self.ruleset.chains.get(&place.chain)?.rules.get(place.rule)?;
            Some(text::rule(self.ruleset.family, rule))
        });
        let expected = match got {
            Outcome::Accept => Outcome::Drop,
            Outcome::Drop => Outcome::Accept,
        };
        let (direction, hook, alike) = (piece.direction, self.hook, 0);
        let reason = self.reason(piece.view, &packet);
        let found =
            Difference { packet, hook, direction, expected, reason, got, place, rule, alike };
        let key = (direction.is_none(), direction, got == Outcome::Drop, found.place.clone());
        self.found.entry(key).and_modify(|first| first.alike += 1).or_insert(found);
        Ok(())
    }

    /// One packet of a set, with addresses of pods where possible.
    fn example(&self, view: View, part: &PacketSet) -> Option<(Packet, PacketSet)> {
        let slab = part.region.slabs().first()?;
        let outer = self.familiar(view.frame.family, &part.outer)?;
        let inner = self.familiar(view.frame.family, &slab.addresses)?;
        let (source, destination) = match view.outer {
            Field::Source => (outer, inner),
            Field::Destination => (inner, outer),
        };
        let code = space::familiar(slab.first, slab.last);
        let packet = space::packet(view.frame, source, destination, code)?;
        let exits = self.machine.exits();
        let around = match self.inside {
            None => {
                let exit = view.frame.exit;
                let out = exits.example(self.binding, exit, packet.destination);
                simulator::Frame { out_interface: out.unwrap_or_default(), ..packet.frame }
            }
            Some((inside, direction)) => {
                let by = exits.example_inside(inside, view.frame.exit).unwrap_or_default();
                match direction {
                    Direction::Ingress => simulator::Frame { in_interface: by, ..packet.frame },
                    Direction::Egress => simulator::Frame { out_interface: by, ..packet.frame },
                }
            }
        };
        let packet = Packet { frame: around, ..packet };
        let (inner, code) = (Ranges::single(inner), Ranges::single(code));
        let region = Region::product(&inner, &code);
        Some((packet, PacketSet { outer: Ranges::single(outer), region }))
    }

    fn familiar(&self, family: Family, among: &Ranges) -> Option<u128> {
        let pods = self.model.snapshot.pods.values();
        let addresses = pods.flat_map(|pod| &pod.addresses);
        let addresses = addresses.chain(self.model.snapshot.kept.keys());
        let mut known = addresses.filter_map(|address| space::of_family(family, *address));
        known.find(|address| among.contains(*address)).or(among.first())
    }

    fn reason(&self, view: View, packet: &Packet) -> Reason {
        if self.is_nodes_own(view.frame) {
            return Reason::NodesOwn;
        }
        if Expected::is_redirect(packet) && packet.ct != CtState::Established {
            return Reason::Redirect;
        }
        if packet.ct != CtState::New {
            return Reason::KnownFlow;
        }
        let refused = self.machine.exits().refused(view.frame.exit);
        let frame = self.said(view.frame);
        let packet = &Packet { translated: frame.translated, ..*packet };
        let expected = Expected::new(self.model, self.binding, frame, refused);
        if Expected::is_neighbour_discovery(packet) {
            return Reason::NeighbourDiscovery;
        }
        if let Err(refusal) = self.binding.crosses_node(&said::ip(packet)) {
            return Reason::Tunnel(refusal);
        }
        if expected.opens_no_flow(packet) {
            return Reason::OpensNoFlow;
        }
        if expected.is_edge(packet) {
            return Reason::BesideThePods(self.model.at_edges.edges);
        }
        if let Some((_, direction)) = self.inside {
            return self.reason_inside(direction, packet);
        }
        if expected.is_unreported(packet) {
            return Reason::UnreportedAddress;
        }
        if expected.is_unknown(packet) {
            return Reason::UnknownAddress;
        }
        let Model { snapshot, owners, .. } = self.model;
        let decision = spec::decide_with(snapshot, owners, self.node, &space::spec_packet(packet));
        let of_local =
            |address, side| (!subjects(snapshot, self.node, address).is_empty()).then_some(side);
        Reason::Policies {
            egress: of_local(packet.source, decision.egress),
            ingress: of_local(packet.destination, decision.ingress),
        }
    }
}

pub(crate) mod inside;
mod sent;
