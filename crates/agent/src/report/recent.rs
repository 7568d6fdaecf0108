//! The last lines of the log.
//!
//! In: lines. Out: the last ones. Never: more than [`LINES`] of [`LINE_MAX`] bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many lines are kept.
const LINES: usize = 1000;
/// The bytes of a line at most: 1,000 such lines take half a MiB.
const LINE_MAX: usize = 512;

/// The last lines.
#[derive(Debug)]
pub(super) struct Recent(Mutex<VecDeque<String>>);

impl Recent {
    pub const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// Keeps a line. It is cut where it is too long.
    pub fn add(&self, line: &str) {
        let end = (0..=LINE_MAX.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
        let kept = line[..end.unwrap_or(0)].replace('\n', "\\n");
        let mut lines = self.lines();
        if lines.len() >= LINES {
            lines.pop_front();
        }
        lines.push_back(kept);
    }

    /// All that is kept.
    pub fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }

    /// A thread that panicked while it held the lock left no half-written value.
    fn lines(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_are_cut() {
        let recent = Recent::new();
        (0..LINES + 5).for_each(|number| recent.add(&format!("line {number}")));
        recent.add(&"ä".repeat(LINE_MAX));
        let text = recent.text();
        assert_eq!(text.lines().count(), LINES);
        assert!(text.starts_with("line 6\n"), "{text}");
        assert_eq!(text.lines().last().map(str::len), Some(LINE_MAX));
    }
}
