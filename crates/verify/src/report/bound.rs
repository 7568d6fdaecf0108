//! The result of the comparison of the binding.

use std::collections::BTreeSet;
use std::fmt;

use policy::spec::refusal::Refusal;
use policy::{InterfaceIndex, Mac, ObjectKey};
use ruleset::simulator::{Content, Outcome, Packet, RulePosition};
use ruleset::{Hook, TableFamily};

use super::{word, write_packet};

/// How much of the binding was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Ports of pods.
    pub ports: usize,
    /// Addresses that pods may use there, link-local ones included.
    pub addresses: usize,
    /// Kinds of frames and packets, for each interface and hook.
    pub cases: usize,
}

/// A frame or packet on which a table and the specification of the binding differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundDifference {
    /// The table's family.
    pub table: TableFamily,
    /// Where the packet is.
    pub hook: Hook,
    /// The packet, in its frame.
    pub packet: Packet,
    /// The interface where it comes in, or goes out.
    pub interface: InterfaceIndex,
    /// Whose interface it is, if it is bound.
    pub pod: Option<ObjectKey>,
    /// Why it must be dropped. `None`: it must pass.
    pub refusal: Option<Refusal>,
    /// What the table does.
    pub got: Outcome,
    /// The rule that decides. `None` if the packet leaves the base chains.
    pub place: Option<RulePosition>,
    /// The rule as text.
    pub rule: Option<String>,
    /// On how many further interfaces the same rule treats packets wrongly in the
    /// same way.
    pub alike: usize,
}

/// What no table can promise. It is no difference: nothing on this node could hold
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unjudged {
    /// Pods of the node with an address that no known interface has. Nothing binds
    /// them, so they can use every address that is not bound to others.
    pub unbound: BTreeSet<ObjectKey>,
    /// Whether the node's network was not looked at at all.
    pub no_network: bool,
}

impl Unjudged {
    /// What is never judged, whatever the node.
    pub const NEVER: [&str; 3] = [
        "packets between a pod and its own node, except to tunnels",
        "bytes that a checksum offload puts in after the rules",
        "what another node says",
    ];
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ports, addresses, cases } = self;
        write!(f, "{ports} bound ports, {addresses} bound addresses, {cases} kinds of frames")
    }
}

/// Several lines, for people. Each but the last ends with a line break.
impl fmt::Display for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not judged: {}", Self::NEVER.join("; "))?;
        if self.no_network {
            f.write_str("; which interface an address comes from: the node was not looked at")?;
        }
        for pod in &self.unbound {
            write!(f, "\nnot bound: pod {pod}: no known interface of this node has its address")?;
        }
        Ok(())
    }
}

/// Several lines, for people.
impl fmt::Display for BoundDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.hook {
            Hook::Prerouting | Hook::Input => "from",
            Hook::Forward | Hook::Output | Hook::Postrouting => "to",
        };
        write!(f, "{} {}, {way} interface {}", self.table, self.hook, self.interface.0)?;
        if let Some(pod) = &self.pod {
            write!(f, " of pod {pod}")?;
        }
        f.write_str(": ")?;
        write_frame(f, self.table, &self.packet)?;
        match self.refusal {
            Some(refusal) => {
                write!(f, "\n  expected: is dropped, {refusal} (rule {})", refusal.rule())?;
            }
            None => f.write_str("\n  expected: passes, no rule of the binding forbids it")?,
        }
        write!(f, "\n  got:      {}, ", word(self.got))?;
        match (&self.place, &self.rule) {
            (Some(place), Some(rule)) => write!(f, "by {place}: {rule}")?,
            _ => f.write_str("no rule decides, it leaves the base chain")?,
        }
        match self.alike {
            0 => Ok(()),
            more => write!(f, "\n  and on {more} more interfaces"),
        }
    }
}

fn write_frame(f: &mut fmt::Formatter<'_>, table: TableFamily, packet: &Packet) -> fmt::Result {
    match packet.frame.content {
        Content::Ip => write_packet(f, packet)?,
        Content::Arp(arp) => write!(f, "ARP of {} at {}", arp.sender, Mac(arp.sender_mac))?,
        Content::Other => f.write_str("another kind of frame")?,
    }
    if let (Content::Ip, Some(target)) = (packet.frame.content, packet.target) {
        write!(f, " about {target}")?;
    }
    if table == TableFamily::Bridge {
        let (source, destination) =
            (Mac(packet.frame.source_mac), Mac(packet.frame.destination_mac));
        write!(f, ", frame {source} -> {destination}")?;
        if let Some(tag) = packet.frame.tag {
            write!(f, ", VLAN {}", tag.vlan)?;
        }
    }
    Ok(())
}
