//! Denied packets as lines of the log, where that is asked for.
//!
//! In: packets. Out: a line for each pair of pods and chain a minute. Never: more than
//! [`A_MINUTE`] lines a minute, whatever pods send, and [`OF_AN_END`] of them about one
//! address, so that a pod that scans does not hide the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a pair is not named again.
const AGAIN: Duration = Duration::from_secs(60);
/// Lines a minute.
const A_MINUTE: u32 = 100;
/// Lines a minute with one address as their source, and as their destination.
const OF_AN_END: u32 = 10;
/// Pairs that are remembered. Those that find no room are not named.
const PAIRS: usize = 10_000;

/// Who denied what to whom.
type Pair = (String, IpAddr, IpAddr);

/// What was logged.
#[derive(Debug, Default)]
pub(super) struct LogLines {
    named: HashMap<Pair, Instant>,
    minute: Option<Instant>,
    lines: u32,
    from: HashMap<IpAddr, u32>,
    to: HashMap<IpAddr, u32>,
    silent: u64,
}

impl LogLines {
    /// Whether this packet is to be named.
    pub fn is_due(&mut self, chain: &str, from: IpAddr, to: IpAddr, now: Instant) -> bool {
        if self.minute.is_none_or(|start| now.saturating_duration_since(start) >= AGAIN) {
            self.minute = Some(now);
            self.lines = 0;
            self.from.clear();
            self.to.clear();
            self.named.retain(|_, since| now.saturating_duration_since(*since) < AGAIN);
            match std::mem::take(&mut self.silent) {
                0 => {}
                silent => tracing::info!("denied: {silent} more pairs were not named in a minute"),
            }
        }
        let pair = (chain.to_owned(), from, to);
        if self.named.get(&pair).is_some_and(|since| now.saturating_duration_since(*since) < AGAIN)
        {
            return false;
        }
        let ends = [self.from.get(&from), self.to.get(&to)];
        let is_loud = ends.into_iter().flatten().any(|lines| *lines >= OF_AN_END);
        if is_loud || self.lines >= A_MINUTE || self.named.len() >= PAIRS {
            self.silent += 1;
            return false;
        }
        self.lines += 1;
        *self.from.entry(from).or_default() += 1;
        *self.to.entry(to).or_default() += 1;
        self.named.insert(pair, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_named_once_a_minute_and_a_scan_fills_no_log() {
        let (mut lines, start) = (LogLines::default(), Instant::now());
        let address = |last: u32| IpAddr::from((0x0a00_0000 | last).to_be_bytes());
        assert!(lines.is_due("i.a", address(1), address(2), start));
        assert!(!lines.is_due("i.a", address(1), address(2), start + AGAIN / 2));
        assert!(lines.is_due("i.b", address(1), address(2), start));
        assert!(lines.is_due("i.a", address(1), address(2), start + AGAIN));
        let later = start + 3 * AGAIN;
        let scan = (0..70_000).filter(|to| lines.is_due("i.a", address(1), address(*to), later));
        assert_eq!(scan.count(), OF_AN_END as usize);
        assert!(lines.is_due("i.a", address(2), address(3), later), "another pod is named");
        let later = later + AGAIN;
        let crowd =
            (0..70_000).filter(|from| lines.is_due("i.a", address(*from), address(0), later));
        assert_eq!(crowd.count(), OF_AN_END as usize);
        assert!(lines.is_due("i.a", address(1), address(3), later), "another pod is named");
        let later = later + AGAIN;
        let all =
            (0..70_000).filter(|one| lines.is_due("i.a", address(*one), address(*one), later));
        assert_eq!(all.count(), A_MINUTE as usize);
        assert!(lines.named.len() <= PAIRS);
    }
}
