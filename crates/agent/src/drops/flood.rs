//! How much of a flood is read and shown.
//!
//! In: what arrives, the time. Out: whether a packet is shown, how long to read nothing.
//! Never: a core for a sender, or a ring that is full of strangers.
//!
//! The rules limit what they log for each pod that denies. For addresses that no object
//! names the limit is for each sender, and a host outside has as many addresses as it
//! likes: the kernel then logs up to 65,535 senders ten times a second.

use std::time::{Duration, Instant};

/// Packets that are read in a second. The pods of a node log 2,200 at most (110 pods, two
/// directions, ten a second), and 5,000 if there are 250 pods.
const READ: u32 = 10_000;
/// Packets of a second that no policy denied and that are shown.
const STRANGERS: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// What came in this second.
#[derive(Debug, Default)]
pub(super) struct Flood {
    since: Option<Instant>,
    read: u32,
    strangers: u32,
    left_out: u64,
}

impl Flood {
    /// A packet was read. Whether it is shown.
    pub fn shows(&mut self, is_strangers: bool, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            (self.since, self.read, self.strangers) = (Some(now), 0, 0);
        }
        self.read += 1;
        if !is_strangers {
            return true;
        }
        self.strangers += 1;
        let is_shown = self.strangers <= STRANGERS;
        self.left_out += u64::from(!is_shown);
        is_shown
    }

    /// How many were not shown since the last question.
    pub fn left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// How long nothing is to be read. What comes meanwhile fills the socket's buffer, and
    /// is then counted as unread.
    pub fn pause(&self, now: Instant) -> Duration {
        let end = self.since.filter(|_| self.read >= READ).map(|since| since + SECOND);
        end.map(|end| end.saturating_duration_since(now)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_hides_no_pod_and_takes_no_core() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let shown = (0..9_000).filter(|_| flood.shows(true, start)).count();
        assert_eq!((shown, flood.left_out(), flood.left_out()), (100, 8_900, 0));
        assert_eq!(flood.pause(start), Duration::ZERO);
        assert!((0..1_000).all(|_| flood.shows(false, start)), "what policies deny");
        let later = start + SECOND / 4;
        assert_eq!(flood.pause(later), SECOND * 3 / 4);
        assert_eq!(flood.pause(start + SECOND), Duration::ZERO);
        assert!(flood.shows(true, start + SECOND), "the next second");
        assert_eq!(flood.pause(start + SECOND), Duration::ZERO);
    }
}
