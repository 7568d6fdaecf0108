//! The specification in a pod's own network namespace.
//!
//! In: a snapshot, what is known of the namespace, a packet that opens a flow. Out: the
//! verdict of the pod's policies.
//! Never: broadcast, multicast and link-local addresses. What passes of these is a
//! property of the table (`verify`), as on the node.
//!
//! What comes in is to the pod, and what goes out is from the pod, whatever address it
//! has there. Policies name a pod's addresses by those that it reports. So a new flow to
//! or from another address of an isolated pod is denied: no policy can mean it.

use super::{Packet, Side, View};
use crate::{
    Direction, Inside, InterfaceIndex, Isolation, Mode, Owners, Snapshot, isolation, subject_of,
};

/// The first packet of a flow on its way into a pod's namespace or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Ingress on its way in, egress on its way out.
    pub direction: Direction,
    /// By which interface.
    pub interface: InterfaceIndex,
    /// The packet.
    pub packet: Packet,
}

/// Judges a packet in the namespace of a pod of this node.
pub fn crosses(
    snapshot: &Snapshot,
    owners: &Owners<'_>,
    node: Option<&str>,
    inside: &Inside,
    crossing: &Crossing,
) -> Side {
    let Crossing { direction, interface, ref packet } = *crossing;
    let (own, peer) = match direction {
        Direction::Egress => (packet.source, packet.destination),
        Direction::Ingress => (packet.destination, packet.source),
    };
    let Some(subject) = subject_of(snapshot, node, &inside.pod) else { return Side::NotIsolated };
    // "Traffic to and from the node where a Pod is running is always allowed" (concept
    // page). What a pod sends to itself goes by the loopback interface.
    let is_node = subject.pod.host_addresses.contains(&peer) || inside.node.contains(&peer);
    let is_exempt = inside.apart.contains(&interface) || (is_node && owners.owner(peer).is_none());
    let subjects = [subject];
    let view = View { mode: Mode::Enforce, snapshot, owners, node, packet };
    let side = view.of_subjects(direction, &subjects, peer, is_exempt);
    let is_stray = !is_exempt && !subject.pod.addresses.contains(&own);
    match isolation(snapshot, &subjects, direction) {
        Isolation::By(_, policies) if is_stray => {
            Side::Denied(policies.iter().map(|policy| policy.key.clone()).collect())
        }
        Isolation::By(..) | Isolation::None | Isolation::Shut(_) => side,
    }
}
