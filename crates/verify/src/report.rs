//! The result of a comparison, for people and programs.

use std::fmt;

use policy::spec::Side;
use policy::spec::edges::Edges;
use policy::spec::refusal::Refusal;
use policy::{Direction, ObjectKey};
use ruleset::simulator::{CtState, Outcome, Packet, RulePosition};
use ruleset::{Hook, Match};

mod audit;
mod bound;

pub use audit::AuditDifference;
pub use bound::{Bound, BoundDifference, Unjudged};

/// The result of [`crate::verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was compared.
    pub counts: Counts,
    /// Packets on which the ruleset and the specification differ, one for each
    /// kind of difference. Empty if the two agree.
    pub differences: Vec<Difference>,
    /// Packets that pass, and of which the table tells wrongly whether policies in audit
    /// would deny them: one for each kind of difference.
    pub audit_differences: Vec<AuditDifference>,
    /// What was compared of the binding.
    pub bound: Bound,
    /// Frames and packets on which the tables and the specification of the binding
    /// differ, one for each kind of difference.
    pub bound_differences: Vec<BoundDifference>,
    /// What no table can promise here.
    pub unjudged: Unjudged,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods of the node that policies can select.
    pub pods: usize,
    /// Addresses of isolated pods.
    pub addresses: usize,
    /// Isolated addresses, counted once for each isolated direction.
    pub directions: usize,
    /// Addresses that policies in audit would isolate, counted once for each direction.
    pub audited: usize,
    /// Distinct sets of what policies allow. Pods with the same policies and
    /// ports share one.
    pub allowances: usize,
    /// Chains that packets entered.
    pub chains: usize,
    /// Rectangles in what may pass: a range of addresses by a range of ports or
    /// types.
    pub regions: usize,
}

/// A packet on which the ruleset and the specification differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The packet.
    pub packet: Packet,
    /// Where it is judged.
    pub hook: Hook,
    /// Egress if found at an isolated source, ingress if at an isolated
    /// destination, `None` if at neither.
    pub direction: Option<Direction>,
    /// What the specification requires.
    pub expected: Outcome,
    /// Why the specification requires it.
    pub reason: Reason,
    /// What the ruleset does.
    pub got: Outcome,
    /// The rule that decides. `None` if the packet leaves the base chain without
    /// a decision.
    pub place: Option<RulePosition>,
    /// The rule as text.
    pub rule: Option<String>,
    /// How many further ends the same rule treats wrongly in the same way.
    pub alike: usize,
}

/// Why a packet must pass or be dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It belongs to a known flow.
    KnownFlow,
    /// The node sends it, and nobody forwards it.
    NodesOwn,
    /// It is neighbour discovery on this link.
    NeighbourDiscovery,
    /// It is TCP of no known flow and no SYN, or SCTP and no INIT, from or to an
    /// isolated pod. Which side opened the flow is unknown.
    OpensNoFlow,
    /// It says to use another way. No pod does.
    Redirect,
    /// It goes to a node's tunnel, but does not come from a node, or a Service
    /// carried it there.
    Tunnel(Refusal),
    /// It goes out of an isolated pod's interface, but not to an address of it.
    UnreportedAddress,
    /// It is link-local, multicast or broadcast, by address or by frame, on a
    /// node with an isolated pod. Only discovery passes, for all or for isolated pods.
    BesideThePods(Edges),
    /// It comes from or goes to an address in the pods' ranges that no object names, and
    /// the node drops such packets.
    UnknownAddress,
    /// The policies decide. A side is `None` if no pod of this node has the
    /// address.
    Policies {
        /// The decision for the source.
        egress: Option<Side>,
        /// The decision for the destination.
        ingress: Option<Side>,
    },
}

impl Report {
    /// Whether the ruleset means what the specification says.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
            && self.audit_differences.is_empty()
            && self.bound_differences.is_empty()
    }

    /// Adds what was found at another hook. Pods, addresses and allowances are the same.
    pub(crate) fn extend(&mut self, other: Self) {
        let Self { counts, differences, audit_differences, .. } = other;
        self.counts.chains += counts.chains;
        self.counts.regions += counts.regions;
        self.differences.extend(differences);
        self.audit_differences.extend(audit_differences);
    }

    /// All differences, for people: several lines each.
    pub fn ways(&self) -> impl Iterator<Item = String> {
        let judged = self.differences.iter().map(ToString::to_string);
        let judged = judged.chain(self.audit_differences.iter().map(ToString::to_string));
        judged.chain(self.bound_differences.iter().map(ToString::to_string))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pods, addresses, directions, audited, allowances, chains, regions } = self;
        write!(f, "{pods} pods, {addresses} isolated addresses, {directions} directions, ")?;
        if *audited > 0 {
            write!(f, "{audited} in audit, ")?;
        }
        write!(f, "{allowances} distinct allowances, {chains} chains, {regions} regions")
    }
}

/// Several lines, for people.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_packet(f, &self.packet)?;
        writeln!(f)?;
        writeln!(f, "  expected: {}, {}", word(self.expected), self.reason)?;
        write!(f, "  got:      {}, ", word(self.got))?;
        match (&self.place, &self.rule) {
            (Some(place), Some(rule)) => write!(f, "by {place}: {rule}")?,
            _ => f.write_str("no rule decides, it leaves the base chain")?,
        }
        match self.alike {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more like it"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KnownFlow => f.write_str("the flow is known"),
            Self::NodesOwn => f.write_str("the node itself sends it"),
            Self::NeighbourDiscovery => f.write_str("neighbour discovery of this link"),
            Self::OpensNoFlow => f.write_str(
                "a TCP flow from or to an isolated pod must begin with a SYN, an SCTP flow with \
                 an INIT",
            ),
            Self::Redirect => f.write_str("nobody redirects"),
            Self::Tunnel(refusal) => refusal.fmt(f),
            Self::UnreportedAddress => Refusal::UnreportedAddress.fmt(f),
            Self::BesideThePods(Edges::Guarded) => f.write_str(
                "an isolated pod sends nothing but discovery by link-local, multicast and \
                 broadcast, and its port is guarded; others use multicast and broadcast",
            ),
            Self::BesideThePods(Edges::Open | Edges::Shut) => f.write_str(
                "a pod of this node is isolated, so link-local, multicast and broadcast carry only \
                 discovery",
            ),
            Self::UnknownAddress => f.write_str(
                "no Pod names an address of it, and this node drops such packets (--unknown-pods)",
            ),
            Self::Policies { egress, ingress } => {
                write_side(f, Direction::Egress, egress.as_ref())?;
                f.write_str("; ")?;
                write_side(f, Direction::Ingress, ingress.as_ref())
            }
        }
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accept => "passes",
        Outcome::Drop => "is dropped",
    }
}

fn write_packet(f: &mut fmt::Formatter<'_>, packet: &Packet) -> fmt::Result {
    write!(f, "{} -> {}, ", packet.source, packet.destination)?;
    match (packet.destination_port, packet.icmp_type, packet.icmpv6_type) {
        (Some(port), ..) => write!(f, "{} port {port}", protocol(packet.protocol))?,
        (None, Some(number), _) => write!(f, "ICMP type {number}")?,
        (None, None, Some(number)) => write!(f, "ICMPv6 type {number}")?,
        (None, None, None) => write!(f, "{}", protocol(packet.protocol))?,
    }
    if let Some(port) = packet.source_port {
        write!(f, ", from port {port}")?;
    }
    if packet.hop_limit == Packet::NEIGHBOUR_HOP_LIMIT {
        f.write_str(", hop limit 255")?;
    }
    if packet.tcp_flags.is_some_and(|flags| !flags.open()) {
        f.write_str(", no SYN")?;
    }
    if packet.sctp_chunk.is_some_and(|chunk| chunk != Match::SCTP_INIT) {
        f.write_str(", no INIT")?;
    }
    if !packet.to_host {
        f.write_str(", in a broadcast or multicast frame")?;
    }
    if packet.translated {
        f.write_str(", carried by a Service")?;
    }
    f.write_str(match packet.ct {
        CtState::New => "",
        CtState::Established => ", of an established flow",
        CtState::Related => ", related to a known flow",
    })
}

fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        132 => "SCTP".to_owned(),
        number => format!("protocol {number}"),
    }
}

fn write_side(
    f: &mut fmt::Formatter<'_>,
    direction: Direction,
    side: Option<&Side>,
) -> fmt::Result {
    let list =
        |keys: &[ObjectKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match side {
        None => write!(f, "{direction}: no pod of this node"),
        Some(Side::NotIsolated) => write!(f, "{direction}: not isolated"),
        Some(Side::Exempt) => write!(f, "{direction}: the pod itself or its node"),
        Some(Side::Denied(policies)) => {
            write!(f, "{direction}: isolated by {}, no rule allows it", list(policies))
        }
        Some(Side::Shut(policies)) if policies.is_empty() => {
            write!(f, "{direction}: shut, no object of its pod is known")
        }
        Some(Side::Shut(policies)) => {
            write!(f, "{direction}: shut, isolated by {} in different ways", list(policies))
        }
        Some(Side::Allowed(rules)) => {
            let rules: Vec<String> = rules
                .iter()
                .map(|rule| format!("{} {direction}[{}]", rule.policy, rule.index))
                .collect();
            write!(f, "{direction}: allowed by {}", rules.join(", "))
        }
    }
}
