//! Measures how long a node has no agent: the total time without the process in the
//! node's network namespace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;
use netbed::net::Namespace;

use crate::agents::{agent_in, is_agent};

/// Pause between two looks.
const EVERY: Duration = Duration::from_millis(10);

/// Watches the node for as long as this value lives.
pub struct Absence {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Duration>>,
}

impl Absence {
    pub fn watch(node: &Namespace) -> Result<Self> {
        let node = Namespace::lent(node.path())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut known = agent_in(&node).ok();
            let (mut sum, mut last) = (Duration::ZERO, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                sleep(EVERY);
                let there = known.is_some_and(is_agent);
                if !there {
                    known = agent_in(&node).ok();
                    sum += last.elapsed();
                }
                last = Instant::now();
            }
            sum
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// The total time, in steps of [`EVERY`].
    pub fn end(mut self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has already printed why.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Absence {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
