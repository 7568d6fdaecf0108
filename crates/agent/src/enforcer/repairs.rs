//! How repairs of the table follow each other when others keep touching it.
//!
//! In: when the table was repaired, and how long that took. Out: when it may be
//! repaired again, and whether this is a fight. Never: a clock.

use std::time::{Duration, Instant};

/// A table that is touched this long after a repair has left the last one
/// behind: the count begins again.
pub const QUIET: Duration = Duration::from_secs(2);
/// After a repair, this many times as long as it took passes before the next
/// one. So repairs take at most one part in this many of the time, unless one
/// takes longer than this part of [`LONGEST_PAUSE`].
pub const REPAIR_SHARE: u32 = 20;
/// The shortest pause after a repair: that of a small table.
pub const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause after a repair, however large the table is.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Repairs in a row that make a fight.
pub const FIGHT: u32 = 3;

/// Repairs that followed each other without a quiet time between them.
#[derive(Debug, Default)]
pub struct Repairs {
    last: Option<Repair>,
    in_a_row: u32,
}

/// When a repair ended, and when the next one may begin.
#[derive(Clone, Copy, Debug)]
struct Repair {
    ended: Instant,
    next_at: Instant,
}

impl Repairs {
    /// The table was restored, or read without finding a difference, and that
    /// took this long.
    pub fn repaired(&mut self, now: Instant, took: Duration) {
        self.in_a_row = if self.is_recent(now) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(Repair { ended: now, next_at: now + pause(took) });
    }

    /// When a table that is found touched now may be repaired.
    pub fn may_repair_at(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| last.next_at.max(now))
    }

    /// Whether a repair was made before this without a quiet time since.
    pub fn is_recent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last.ended) < QUIET)
    }

    /// Whether others touch the table again and again.
    pub fn is_fight(&self, now: Instant) -> bool {
        self.in_a_row >= FIGHT && self.is_recent(now)
    }
}

/// How long to wait after a repair that took this long.
fn pause(took: Duration) -> Duration {
    (took * REPAIR_SHARE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_repair_is_at_once_and_the_pauses_grow_with_its_cost() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        assert_eq!(repairs.may_repair_at(now), now);
        let costs = [0, 1, 2, 10, 50, 3000];
        let pauses = costs.map(|cost| {
            repairs.repaired(now, cost * MS);
            (repairs.may_repair_at(now + MS) - now).as_millis()
        });
        assert_eq!(pauses, [20, 20, 40, 200, 1000, 1000]);
    }

    #[test]
    fn a_small_table_never_waits_longer_however_often_it_is_touched() {
        let start = Instant::now();
        let mut now = start;
        let mut repairs = Repairs::default();
        let mut fights = Vec::new();
        for _ in 0..100 {
            repairs.repaired(now, MS);
            fights.push(repairs.is_fight(now));
            now = repairs.may_repair_at(now + MS);
        }
        assert_eq!(now - start, 100 * SHORTEST_PAUSE);
        assert_eq!(fights[..4], [false, false, true, true]);
        assert!(fights[2..].iter().all(|is_fight| *is_fight));
    }

    #[test]
    fn a_quiet_time_ends_a_fight() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        for step in 0..4 {
            repairs.repaired(now + step * MS, MS);
        }
        let later = now + QUIET + 4 * MS;
        assert!(!repairs.is_fight(later));
        assert_eq!(repairs.may_repair_at(later), later);
        repairs.repaired(later, MS);
        assert!(!repairs.is_fight(later), "the count begins again");
    }
}
