//! The source of time of the loop and the pipeline.
//!
//! Tests use a clock that stops until they move it.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present time.
    fn now(&self) -> Instant;

    /// Waits.
    fn sleep(&self, time: Duration);

    /// What the node's clock shows: seconds since 1970.
    fn wall_seconds(&self) -> i64 {
        wall_seconds()
    }
}

/// What the node's clock shows: seconds since 1970. A clock before that shows its beginning.
pub fn wall_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) {
        if !time.is_zero() {
            thread::sleep(time);
        }
    }
}
