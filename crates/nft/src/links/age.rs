//! When an address was added, in an order that holds for years.
//!
//! In: stamps of the kernel, the time since boot. Out: times since boot. Never: a time
//! that differs from one look to the next.

use std::fs;

/// A day, in 1/100 s. The kernel's stamps count the ticks of a clock that nobody sets
/// right (`cstamp_delta`, include/net/addrconf.h, Linux 6.18). The time since boot does
/// not drift from them by more.
const DRIFT: u64 = 24 * 60 * 60 * 100;

/// The time since boot, in 1/100 s (proc_uptime(5)). 0 if it cannot be read: then stamps
/// are taken as they are.
pub(super) fn now() -> u64 {
    fs::read_to_string("/proc/uptime").ok().and_then(|text| hundredths(&text)).unwrap_or_default()
}

/// `350735.47 234388.90`: the first number.
fn hundredths(text: &str) -> Option<u64> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    seconds.checked_mul(100)?.checked_add(hundredths.parse().ok()?)
}

/// When a stamp was made, which wraps after 497 days: the last time before now. An
/// address that is older still passes for a younger one.
pub(super) fn since_boot(stamp: u32, now: u64) -> u64 {
    let stamp = u64::from(stamp);
    let wraps = now.saturating_add(DRIFT).saturating_sub(stamp) >> u32::BITS;
    stamp + (wraps << u32::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAP: u64 = 1 << u32::BITS;

    #[test]
    fn a_stamp_from_before_it_wrapped_is_the_older_one() {
        let now = WRAP + 1000;
        assert_eq!(since_boot(900, now), WRAP + 900);
        assert_eq!(since_boot(u32::MAX, now), WRAP - 1);
        assert_eq!(since_boot(900, now + WRAP / 2), WRAP + 900, "it stays so");
        assert_eq!(since_boot(900, 1000), 900);
        // The clocks differ, or the time cannot be read.
        assert_eq!(since_boot(900, WRAP + 800), WRAP + 900);
        assert_eq!(since_boot(900, 0), 900);
        assert_eq!(since_boot(u32::MAX, 0), WRAP - 1);
    }

    #[test]
    fn the_time_since_boot_is_read() {
        assert_eq!(hundredths("350735.47 234388.90\n"), Some(35_073_547));
        assert_eq!(["", "1", "1.x 2", "x.1"].map(hundredths), [None; 4]);
        assert!(now() > 0);
    }
}
