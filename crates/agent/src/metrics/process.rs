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
