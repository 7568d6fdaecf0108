//! How far long work is, on a terminal.
//!
//! Never: a word in a pipe, or about work that is done within a second.

use std::cell::Cell;
use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

/// Work that takes no longer is not worth a word.
const SILENT: Duration = Duration::from_secs(1);

/// How often it is drawn while nothing tells of a step.
const TICK: Duration = Duration::from_millis(100);

/// Waits for work of which nobody knows how long it is, such as lists of a server. `came`:
/// how many objects have come.
pub async fn while_waiting<T>(
    what: &'static str,
    came: &Cell<usize>,
    work: impl Future<Output = T>,
) -> T {
    let since = Instant::now();
    let mut work = pin!(work);
    let mut bar: Option<ProgressBar> = None;
    loop {
        let done = timeout(TICK, &mut work).await;
        match done {
            Ok(done) => {
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                return done;
            }
            Err(_) if since.elapsed() < SILENT => {}
            Err(_) => {
                let bar = bar.get_or_insert_with(|| {
                    let style = ProgressStyle::with_template("{spinner} {msg}: {pos} objects");
                    let bar = ProgressBar::new_spinner().with_message(what);
                    style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
                });
                bar.set_position(came.get() as u64);
                bar.tick();
            }
        }
    }
}

/// A bar that comes after a second, on stderr if that is a terminal.
pub struct Progress {
    what: &'static str,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For work that starts now.
    pub fn new(what: &'static str) -> Self {
        Self { what, since: Instant::now(), bar: None }
    }

    /// So many of so many steps are done.
    pub fn at(&mut self, done: usize, all: usize) {
        if self.bar.is_none() && self.since.elapsed() < SILENT {
            return;
        }
        let what = self.what;
        let bar = self.bar.get_or_insert_with(|| {
            // It draws on stderr, and nothing where that is no terminal.
            let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
            let bar = ProgressBar::new(all as u64).with_message(what);
            style.map(|style| bar.clone().with_style(style)).unwrap_or(bar)
        });
        bar.set_position(done as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
