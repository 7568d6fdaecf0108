//! Time between batches.

use std::time::Duration;

use ruleset::Ruleset;

/// A packet spends about 22 ns on a rule (measured). More than twice that, to be
/// safe.
const PACKET_NANOSECONDS_A_RULE: u64 = 50;
/// A commit takes at least this long: a faster packet meets only one.
const COMMIT: Duration = Duration::from_micros(20);

/// How long to wait between batches, so that a packet meets at most one commit.
/// Zero, unless chains are so long that a packet takes longer than a commit.
pub(super) fn between(live: Option<&Ruleset>, target: &Ruleset) -> Duration {
    let rules = live.map_or(0, Ruleset::longest_chain).max(target.longest_chain());
    let packet = Duration::from_nanos(rules as u64 * PACKET_NANOSECONDS_A_RULE);
    if packet > COMMIT { packet } else { Duration::ZERO }
}
