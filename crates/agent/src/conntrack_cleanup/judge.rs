//! Whether a table denies an open flow.
//!
//! In: an entry of connection tracking, the table, the node's own addresses.
//! Out: denied or not. Never: I/O.
//!
//! A flow is judged by its first packet, as the forward hook saw it: from the
//! original source (before source translation) to the source of the answers
//! (after destination translation). A flow that a helper announced, such as
//! FTP data, passed as `related`. It is judged by the flow that announced it
//! while that one lives.

use std::collections::BTreeSet;
use std::net::IpAddr;

use compiler::{Layout, scaffold};
use nft::{Flow, TupleId};
use ruleset::simulator::{self, Broken, Outcome, Packet};
use ruleset::{Hook, Ruleset, Transport};

use super::suspects::is_link_local;

/// A table and its node.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    ruleset: &'a Ruleset,
    /// Local addresses that are isolated in either direction.
    isolated: BTreeSet<IpAddr>,
    node: &'a BTreeSet<IpAddr>,
    /// Whether the table is one of a pod's own namespace: then `node` are the pod's own
    /// addresses.
    is_inside: bool,
}

impl<'a> Judge<'a> {
    /// `node`: all addresses of the network namespace.
    pub(super) fn new(ruleset: &'a Ruleset, node: &'a BTreeSet<IpAddr>) -> Self {
        let layout = Layout::of(ruleset);
        let isolated =
            Layout::sides().flat_map(|(direction, family)| layout.isolated(direction, family));
        let is_inside = ruleset.chains.contains_key(&scaffold::inside::output_chain());
        Self { ruleset, isolated: isolated.collect(), node, is_inside }
    }

    /// Whether the flow is denied. `master`: the flow that announced it, if there
    /// is one and it lives.
    pub(super) fn denies(&self, flow: &Flow, master: Option<&Flow>) -> Result<bool, Broken> {
        let judged = master.unwrap_or(flow);
        if !self.is_forwarded(flow) || !self.is_forwarded(judged) || !self.is_of_pods(judged) {
            return Ok(false);
        }
        self.drops(&first_packet(judged))
    }

    /// Whether the flow may have been opened under another's address to make what
    /// the table denies an answer. `forgeable`: the source could be forged.
    ///
    /// TCP and SCTP are left alone: their next packet would make no entry, since a
    /// new flow of either to or from an isolated pod begins with its first message
    /// (SYN, INIT).
    pub(super) fn may_be_forged(
        &self,
        flow: &Flow,
        forgeable: &BTreeSet<IpAddr>,
    ) -> Result<bool, Broken> {
        let protocol = flow.original.protocol;
        if !forgeable.contains(&flow.original.source)
            || begins_with_its_first_message(protocol)
            || flow.master.is_some()
            || !self.is_forwarded(flow)
            || !self.is_of_pods(flow)
        {
            return Ok(false);
        }
        self.drops(&first_packet_back(flow))
    }

    /// Whether the table drops a packet, at the hook where it meets it.
    fn drops(&self, packet: &Packet) -> Result<bool, Broken> {
        let hook = match (self.is_inside, self.node.contains(&packet.source)) {
            (false, _) => Hook::Forward,
            (true, true) => Hook::Output,
            (true, false) => Hook::Input,
        };
        let seen = simulator::simulate_at(self.ruleset, hook, packet)?;
        Ok(seen.outcome == Outcome::Drop)
    }

    /// Whether the flow crosses the forward hook. Flows from or to the node
    /// itself do not. In a pod's own namespace: whether it leaves the namespace.
    fn is_forwarded(&self, flow: &Flow) -> bool {
        if self.is_inside {
            let ends = ends(flow);
            let is_local = ends.iter().all(|end| self.node.contains(end));
            return !is_local && !ends.iter().any(IpAddr::is_loopback);
        }
        !ends(flow).iter().any(|end| end.is_loopback() || self.node.contains(end))
    }

    /// Whether an end is an isolated pod of this node, or link-local: no table
    /// knows the owner of such an address.
    fn is_of_pods(&self, flow: &Flow) -> bool {
        ends(flow).into_iter().any(|end| is_link_local(end) || self.isolated.contains(&end))
    }
}

/// Whether what comes in the middle of a flow makes no entry.
fn begins_with_its_first_message(protocol: u8) -> bool {
    [Transport::Tcp, Transport::Sctp].map(Transport::number).contains(&protocol)
}

/// Source and destination as the forward hook sees them.
pub(super) fn ends(flow: &Flow) -> [IpAddr; 2] {
    [flow.original.source, flow.reply.source]
}

fn first_packet(flow: &Flow) -> Packet {
    let [source, destination] = ends(flow);
    let packet = Packet {
        translated: is_translated(flow),
        ..Packet::new(source, destination, flow.original.protocol)
    };
    match (flow.original.transport, flow.reply.transport) {
        (TupleId::Ports { source, .. }, TupleId::Ports { source: port, .. }) => {
            Packet { source_port: Some(source), destination_port: Some(port), ..packet }
        }
        (TupleId::Icmp { icmp_type, .. }, _) if packet.protocol == Packet::ICMPV6 => {
            Packet { icmpv6_type: Some(icmp_type), ..packet }
        }
        _ => packet,
    }
}

/// Whether the flow got another destination than it was sent to.
fn is_translated(flow: &Flow) -> bool {
    let other_port = match (flow.original.transport, flow.reply.transport) {
        (TupleId::Ports { destination, .. }, TupleId::Ports { source, .. }) => {
            destination != source
        }
        _ => false,
    };
    other_port || flow.original.destination != flow.reply.source
}

/// The packet that the other end would send if it opened the flow.
fn first_packet_back(flow: &Flow) -> Packet {
    let [source, destination] = ends(flow);
    let packet = Packet::new(destination, source, flow.original.protocol);
    match flow.original.transport {
        TupleId::Ports { source: port, .. } => Packet { destination_port: Some(port), ..packet },
        TupleId::Icmp { icmp_type, .. } if packet.protocol == Packet::ICMPV6 => {
            Packet { icmpv6_type: Some(icmp_type), ..packet }
        }
        _ => packet,
    }
}

#[cfg(test)]
mod tests;
