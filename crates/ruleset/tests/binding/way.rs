//! The way of a packet through a node's hooks.

use ruleset::simulator::{Packet, Passage, Possible, possible_outcomes_along};
use ruleset::{Hook, Ruleset};

use crate::tables::{self, BRIDGE, Node, SELF, UPLINK, ip};

/// Where a packet comes in or goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A port of the bridge.
    Bridged(u32),
    /// An interface that is in no bridge.
    Routed(u32),
    /// The node itself. Nothing comes from there: that is another hook.
    Node,
}

/// A packet with its way.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub from: End,
    pub to: End,
    pub packet: Packet,
}

/// Both tables, in each state.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub inet: Vec<Ruleset>,
    pub bridge: Vec<Ruleset>,
}

impl History {
    /// Of one state.
    pub fn of(node: &Node) -> Self {
        Self { inet: vec![tables::inet(node)], bridge: vec![tables::bridge(node)] }
    }

    /// What can happen to a packet that meets up to this many commits.
    pub fn outcomes(&self, sent: &Sent, commits: usize) -> Possible {
        let Sent { from, to, packet } = *sent;
        let between = |in_interface, out_interface| {
            let mut packet = packet;
            packet.frame.in_interface = in_interface;
            packet.frame.out_interface = out_interface;
            packet
        };
        let stop = |history, hook, packet| Passage { history, hook, packet };
        let mut way = Vec::new();
        // What an `inet` hook takes for the interface of a frame on a bridge
        // (`setup_pre_routing`, net/bridge/br_netfilter_hooks.c).
        let interface = |end| match end {
            End::Bridged(_) => BRIDGE,
            End::Routed(index) => index,
            End::Node => 0,
        };
        let routed = between(interface(from), interface(to));
        if let End::Bridged(port) = from {
            way.push(stop(self.bridge.as_slice(), Hook::Prerouting, between(port, 0)));
        }
        way.push(stop(&self.inet, Hook::Prerouting, routed));
        if let (End::Bridged(input), End::Bridged(output)) = (from, to) {
            way.push(stop(&self.bridge, Hook::Forward, between(input, output)));
        }
        match to {
            End::Node => way.push(stop(&self.inet, Hook::Input, routed)),
            End::Routed(_) | End::Bridged(_) => {
                way.push(stop(&self.inet, Hook::Forward, routed));
            }
        }
        if to != End::Node {
            way.push(stop(&self.inet, Hook::Postrouting, masqueraded(to, routed)));
        }
        if let End::Bridged(port) = to {
            way.push(stop(&self.bridge, Hook::Postrouting, between(0, port)));
        }
        possible_outcomes_along(&way, commits).unwrap()
    }
}

/// The packet as it is after masquerading, and who opened its flow.
fn masqueraded(to: End, packet: Packet) -> Packet {
    let flow = [Some(packet.source), None];
    let is_masqueraded = to == End::Routed(UPLINK) && packet.source.is_ipv4();
    let source = if is_masqueraded { ip(SELF) } else { packet.source };
    Packet { source, flow, ..packet }
}
