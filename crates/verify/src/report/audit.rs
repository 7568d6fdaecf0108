//! Differences of what is told of policies in audit.

use std::fmt;

use policy::Direction;
use ruleset::simulator::Packet;

use super::write_packet;

/// A packet that passes, and of which a table tells wrongly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditDifference {
    /// The packet.
    pub packet: Packet,
    /// Of whose policies: of its source (egress) or of its destination.
    pub direction: Direction,
    /// Whether the table tells that policies in audit would deny it.
    pub is_told: bool,
    /// How many further packets it treats wrongly in the same way.
    pub alike: usize,
}

/// Several lines, for people.
impl fmt::Display for AuditDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packet, direction, is_told, alike } = self;
        write_packet(f, packet)?;
        writeln!(f)?;
        let (expected, got) = match is_told {
            true => ("nothing is told of it", "told as one that they would deny"),
            false => ("told as one that they would deny", "nothing is told of it"),
        };
        writeln!(f, "  expected: passes, {direction} policies in audit: {expected}")?;
        write!(f, "  got:      {got}")?;
        match alike {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more like it"),
        }
    }
}
