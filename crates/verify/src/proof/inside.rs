//! The comparison in a pod's own namespace.
//!
//! In: the model of the pod, a table with base chains on the input and the output hook.
//! Out: the differences. Each hook is compared by itself, with all packets: a packet meets
//! one of them, but for what the pod sends to itself, which passes both.
//!
//! | the pod's end | judged by |
//! |---|---|
//! | an address that is isolated, each in turn | its policies |
//! | the pod's other addresses, and all while the pod is not isolated | nothing: it passes |
//! | others while it is isolated | nothing passes |
//!
//! The other end is all addresses. The pod's node may always send and be sent to. What
//! passes at the edges, and what opens no flow, is as on the node.

use policy::Direction;
use ruleset::simulator::{CtState, Packet};
use ruleset::{Family, Field, Hook, InterfaceField, Ruleset};

use policy::spec::binding::Binding;
use policy::spec::edges::Edges;
use policy::{Inside, spec};

use super::{Piece, Proof};
use crate::condition::View;
use crate::error::VerifyError;
use crate::exits::Exits;
use crate::expected::Expected;
use crate::frames::frames_at;
use crate::machine::Machine;
use crate::model::{InsideModel, Model};
use crate::packet_set::PacketSet;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::report::{Counts, Reason, Report};
use crate::space::{self, Frame};

/// Compares both hooks.
pub(crate) fn run<'a>(
    model: &'a Model<'a>,
    binding: &'a Binding<'a>,
    inside: &'a Inside,
    node: Option<&'a str>,
    ruleset: &'a Ruleset,
) -> Result<Report, VerifyError> {
    let mut counts = Counts { pods: 1, allowances: model.regions, ..Counts::default() };
    let mut differences = Vec::new();
    let nothing = InsideModel::default();
    let of_pod = model.inside.as_ref().unwrap_or(&nothing);
    for direction in Direction::BOTH {
        let (hook, field) = match direction {
            Direction::Ingress => (Hook::Input, InterfaceField::In),
            Direction::Egress => (Hook::Output, InterfaceField::Out),
        };
        let exits = Exits::inside(inside, ruleset, field);
        let machine = Machine::at(hook, ruleset, exits);
        let mut proof =
            Proof::of(hook, machine, Some((inside, direction)), model, binding, node, ruleset);
        for family in Family::BOTH {
            counts.directions += model.isolated(family, direction).by_address.len();
            for (frame, codes) in frames_at(hook, family, ruleset, binding.network) {
                for exit in 0..proof.machine.exits().count() {
                    proof.inside_frame(of_pod, direction, Frame { exit, ..frame }, &codes)?;
                }
            }
        }
        counts.chains += proof.machine.chains();
        counts.regions += proof.regions;
        differences.extend(proof.found.into_values());
    }
    counts.addresses = of_pod.reported.len();
    Ok(Report { counts, differences, ..Report::default() })
}

/// The pod's end of packets, and what passes there before all else is asked.
struct End {
    addresses: Ranges,
    judged: Region,
    /// Whether these are addresses that are isolated in a direction.
    is_isolated: bool,
}

impl<'a> Proof<'a> {
    fn inside_frame(
        &mut self,
        of_pod: &InsideModel,
        direction: Direction,
        frame: Frame,
        codes: &Ranges,
    ) -> Result<(), VerifyError> {
        let is_apart = self.machine.exits().refused(frame.exit);
        let expected = Expected::new(self.model, self.binding, frame, false);
        let (all, every) = (expected.addresses.clone(), expected.codes.clone());
        let (outer, inner) = match direction {
            Direction::Ingress => (Field::Destination, Field::Source),
            Direction::Egress => (Field::Source, Field::Destination),
        };
        let piece = |addresses: &Ranges, passing: Region| Piece {
            view: View { frame, outer },
            direction: Some(direction),
            packets: PacketSet { outer: addresses.clone(), region: Region::product(&all, codes) },
            passing: vec![PacketSet { outer: addresses.clone(), region: passing }],
            unseen: Ranges::empty(),
        };
        let everything = Region::product(&all, &every);
        if is_apart || frame.ct == CtState::Established {
            return self.compare(&piece(&all, everything));
        }
        let no_redirects = everything.without_codes(&expected.redirects());
        if frame.ct == CtState::Related {
            return self.compare(&piece(&all, no_redirects));
        }
        let nodes = numbers(frame.family, &of_pod.node);
        let and_node = |judged: Region| {
            let of_node = no_redirects.within(&nodes);
            judged.without(&nodes).union(&of_node)
        };
        if !frame.to_host && self.model.at_edges.edges != Edges::Open {
            let edges = Region::product(&all, &expected.edge_codes());
            return self.compare(&piece(&all, and_node(edges)));
        }
        for end in self.ends(of_pod, direction, &expected) {
            let judged = around(&expected, &end, inner, outer);
            self.compare(&piece(&end.addresses, and_node(judged)))?;
        }
        Ok(())
    }

    /// The pod's ends, each kind once.
    fn ends(
        &self,
        of_pod: &InsideModel,
        direction: Direction,
        expected: &Expected<'_, '_>,
    ) -> Vec<End> {
        let isolated = match direction {
            Direction::Egress => &expected.egress,
            Direction::Ingress => &expected.ingress,
        };
        let everything = Region::product(&expected.addresses, &expected.codes);
        let mut ends: Vec<End> = isolated
            .by_address
            .iter()
            .map(|(address, isolated)| End {
                addresses: Ranges::single(*address),
                judged: Region::clone(&isolated.allowed),
                is_isolated: true,
            })
            .collect();
        let others = expected.addresses.subtract(&isolated.addresses);
        let isolated_any = expected.egress.addresses.union(&expected.ingress.addresses);
        let reported = numbers(expected.family(), &of_pod.reported);
        let (open, shut) = match of_pod.directions.contains(&direction) {
            true => (others.intersect(&reported), others.subtract(&reported)),
            false => (others, Ranges::empty()),
        };
        let edges = match direction {
            Direction::Egress => expected.edge_sources(),
            Direction::Ingress => expected.edge_destinations(),
        };
        let mut add = |addresses: Ranges, judged: &Region, is_isolated| {
            if !addresses.is_empty() {
                ends.push(End { addresses, judged: judged.clone(), is_isolated });
            }
        };
        for (addresses, judged) in [(open, &everything), (shut, &Region::empty())] {
            let inner = addresses.subtract(&edges);
            add(inner.intersect(&isolated_any), judged, true);
            add(inner.subtract(&isolated_any), judged, false);
            // What passes at the edges does not depend on what policies say.
            add(addresses.intersect(&edges), &Region::empty(), false);
        }
        ends
    }

    pub(super) fn reason_inside(&self, direction: Direction, packet: &Packet) -> Reason {
        let Model { snapshot, owners, .. } = self.model;
        let decision = spec::decide_with(snapshot, owners, self.node, &space::spec_packet(packet));
        match direction {
            Direction::Egress => Reason::Policies { egress: Some(decision.egress), ingress: None },
            Direction::Ingress => {
                Reason::Policies { egress: None, ingress: Some(decision.ingress) }
            }
        }
    }
}

/// What policies allow at an end, limited to what is no edge and opens a flow, with what
/// passes at the edges and between neighbours. `inner` is the field of the other end.
fn around(expected: &Expected<'_, '_>, end: &End, inner: Field, outer: Field) -> Region {
    let edges_of = |field| match field {
        Field::Source => expected.edge_sources(),
        Field::Destination => expected.edge_destinations(),
    };
    let here = end.addresses.first().is_some_and(|one| edges_of(outer).contains(one));
    let edges = if here { expected.addresses.clone() } else { edges_of(inner) };
    let isolated = expected.egress.addresses.union(&expected.ingress.addresses);
    let midflow = match end.is_isolated {
        true => Region::product(&expected.addresses, &space::midflow()),
        false => Region::product(&isolated, &space::midflow()),
    };
    end.judged
        .without(&edges)
        .union(&Region::product(&edges, &expected.edge_codes()))
        .subtract(&midflow)
        .without_codes(&expected.redirects())
        .union(&Region::product(&expected.addresses, &expected.neighbour_codes()))
}

fn numbers(family: Family, addresses: &std::collections::BTreeSet<std::net::IpAddr>) -> Ranges {
    Ranges::numbers(addresses.iter().filter_map(|one| space::of_family(family, *one)))
}
