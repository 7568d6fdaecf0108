//! How far long work is, on a terminal.
//!
//! Never: a word in a pipe, or about work that is done within a second.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Work that takes no longer is not worth a word.
const SILENT: Duration = Duration::from_secs(1);

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
