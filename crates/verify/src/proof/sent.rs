//! What differs on the node's output hook.
//!
//! In: frames. Out: what the specification says of them there.
//!
//! While the node has IPVS, what it sends is judged as on the forward hook. All that IPVS
//! sends was carried by a Service, whatever connection tracking says, so none of it goes
//! into a node's tunnel. What the node sends for itself passes: from an address of its own,
//! or before it has one. Without IPVS everything is the node's own.

use ruleset::simulator::CtState;
use ruleset::{Family, Field, Hook};

use super::Proof;
use crate::expected::Expected;
use crate::packet_set::PacketSet;
use crate::ranges::Ranges;
use crate::region::Region;
use crate::space::{self, Frame};

/// `0.0.0.0` and `::`, as numbers.
const UNSPECIFIED: u128 = 0;
/// `ff00::/8` (RFC 4291, 2.4).
const GROUPS: u128 = 0xff << 120;

impl Proof<'_> {
    pub(super) fn is_output_of_node(&self) -> bool {
        self.hook == Hook::Output && self.inside.is_none()
    }

    /// The frame as the specification sees it.
    pub(super) fn said(&self, frame: Frame) -> Frame {
        Frame { translated: frame.translated || self.is_output_of_node(), ..frame }
    }

    /// Whether all packets of a frame are the node's own.
    pub(super) fn is_nodes_own(&self, frame: Frame) -> bool {
        self.is_output_of_node() && (frame.source_is_local || !self.binding.network.ipvs)
    }

    /// The sources from which a packet to a pod is the node's own, since it has no address yet.
    pub(crate) fn own_sources(&self, family: Family) -> Ranges {
        match family {
            Family::V4 if self.is_output_of_node() => Ranges::single(UNSPECIFIED),
            Family::V4 | Family::V6 => Ranges::empty(),
        }
    }

    /// What passes of what is about a known flow.
    pub(super) fn about_flows(&self, expected: &Expected<'_, '_>) -> Vec<PacketSet> {
        let passing = expected.about_flows();
        if !self.is_output_of_node() {
            return passing;
        }
        let tunnelled = expected.tunnelled();
        let without = |part: PacketSet| {
            let region = part.region.subtract(&tunnelled);
            PacketSet { region, ..part }
        };
        passing.into_iter().map(without).collect()
    }

    /// Whether a frame is told of where policies are in audit.
    pub(super) fn is_audited(&self, frame: Frame) -> bool {
        frame.ct == CtState::New && !self.is_nodes_own(frame)
    }
}

/// What passes, with what a node sends before it has an address.
pub(super) fn with_nodes_own(
    frame: Frame,
    outer: Field,
    passing: Vec<PacketSet>,
) -> Vec<PacketSet> {
    let (nobody, codes) = (Ranges::single(UNSPECIFIED), space::codes(frame.family));
    let to = match frame.family {
        Family::V4 => space::addresses(frame.family),
        Family::V6 => Ranges::range(GROUPS, u128::MAX),
    };
    let split = |addresses: &Ranges, part: &PacketSet, more: Region| {
        let here = part.outer.intersect(addresses);
        let rest = part.outer.subtract(addresses);
        let with = PacketSet { outer: here, region: part.region.union(&more) };
        [with, PacketSet { outer: rest, region: part.region.clone() }]
    };
    let parts = passing.iter().flat_map(|part| match outer {
        Field::Source => split(&nobody, part, Region::product(&to, &codes)),
        Field::Destination => split(&to, part, Region::product(&nobody, &codes)),
    });
    parts.filter(|part| !part.outer.is_empty()).collect()
}
