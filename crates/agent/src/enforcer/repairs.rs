//! How repairs of the table follow each other when others keep touching it.
//!
//! In: when the table was repaired. Out: when it may be repaired again, and
//! whether this is a fight. Never: a clock.

use std::time::{Duration, Instant};

/// A table that is touched this long after a repair has left the last one
/// behind: the next repair is at once again.
pub const QUIET: Duration = Duration::from_secs(2);
/// Between the first repair and the second; twice as long after each more, up
/// to [`LAST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two repairs.
pub const LAST_PAUSE: Duration = Duration::from_secs(1);
/// Repairs in a row that make a fight.
pub const FIGHT: u32 = 3;

/// Repairs that followed each other without a quiet time between them.
#[derive(Debug, Default)]
pub struct Repairs {
    last: Option<Instant>,
    in_a_row: u32,
}

impl Repairs {
    /// The table was restored.
    pub fn repaired(&mut self, now: Instant) {
        self.in_a_row = if self.is_recent(now) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(now);
    }

    /// When a table that is found touched now may be repaired.
    pub fn may_repair_at(&self, now: Instant) -> Instant {
        match self.last {
            Some(last) if self.is_recent(now) => last + self.pause(),
            _ => now,
        }
    }

    /// Whether a repair was made before this without a quiet time since.
    pub fn is_recent(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.saturating_duration_since(last) < QUIET)
    }

    /// Whether others touch the table again and again.
    pub fn is_fight(&self, now: Instant) -> bool {
        self.in_a_row >= FIGHT && self.is_recent(now)
    }

    fn pause(&self) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(8);
        (FIRST_PAUSE * 2_u32.pow(doublings)).min(LAST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_repair_is_at_once_and_the_pauses_grow() {
        let mut now = Instant::now();
        let mut repairs = Repairs::default();
        assert_eq!(repairs.may_repair_at(now), now);
        let mut pauses = Vec::new();
        let mut fights = Vec::new();
        for _ in 0..6 {
            repairs.repaired(now);
            fights.push(repairs.is_fight(now));
            let next = repairs.may_repair_at(now + MS);
            pauses.push((next - now).as_millis());
            now = next;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(fights, [false, false, true, true, true, true]);
    }

    #[test]
    fn a_quiet_time_ends_a_fight() {
        let now = Instant::now();
        let mut repairs = Repairs::default();
        for step in 0..4 {
            repairs.repaired(now + step * MS);
        }
        let later = now + QUIET + 4 * MS;
        assert!(!repairs.is_fight(later));
        assert_eq!(repairs.may_repair_at(later), later);
        repairs.repaired(later);
        assert!(!repairs.is_fight(later), "the count begins again");
    }
}
