//! The source of time of the loop and the pipeline.
//!
//! Tests use a clock that stops until they move it.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

/// A source of time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present time.
    fn now(&self) -> Instant;

    /// Waits.
    fn sleep(&self, time: Duration);
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
