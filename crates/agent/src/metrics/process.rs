//! What this process uses, from /proc/self and getrusage(2).
//!
//! Out: memory and CPU time, or nothing where /proc is missing.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};

/// What the process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Resident memory.
    pub resident_bytes: i64,
    /// User and system time since the start.
    pub cpu_seconds: f64,
}

/// When the process started, in seconds since 1970: proc(5), `starttime` in
/// /proc/self/stat (in 1/100 s since boot, USER_HZ) and `btime` in /proc/stat.
pub fn start_seconds() -> Option<f64> {
    const USER_HZ: f64 = 100.0;
    let own = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name, is in parentheses and may hold anything; 22 is the number.
    let ticks: f64 = own.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / USER_HZ)
}

/// The present usage; `None` where it cannot be read.
pub fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = resident.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let times = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1_000_000.0;
    Some(Usage {
        resident_bytes: kilobytes * 1024,
        cpu_seconds: seconds(times.user_time()) + seconds(times.system_time()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_started_a_moment_ago() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.expect("after 1970").as_secs_f64() - start_seconds().expect("a start");
        assert!((-2.0..600.0).contains(&age), "{age} s");
    }
}
