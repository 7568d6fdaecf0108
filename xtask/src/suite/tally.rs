//! Adds up the results that test programs printed.
//!
//! Reads libtest's lines. Returns counts, the names of failed tests and what they said.
//! Never: success when a program died before it could report.

mod told;

use std::ops::AddAssign;

use anyhow::{Result, bail};

use told::Told;

/// The results of some test programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Tests announced by a program that has not reported yet.
    pending: Option<usize>,
    /// Names of the tests that failed.
    pub failures: Vec<String>,
    told: Told,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
        // What each said is printed before programs are added up.
    }
}

impl Tally {
    /// How many tests ran or were skipped.
    pub fn tests(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    /// The first lines of what this failed test said.
    pub fn said(&self, test: &str) -> &[String] {
        self.told.of(test)
    }

    /// Reads one line of libtest's output.
    pub fn read(&mut self, line: &str) {
        let line = plain(line);
        self.told.read(&line);
        if let Some(tests) = announced(&line) {
            self.died();
            self.pending = Some(tests);
        } else if let Some([passed, failed, skipped]) = reported(&line) {
            self.passed += passed;
            self.failed += failed;
            self.skipped += skipped;
            self.pending = None;
        } else if let Some(name) = failed(&line) {
            self.failures.push(name.to_owned());
        }
    }

    /// If a program announced tests and never reported, all of them have failed.
    fn died(&mut self) {
        if let Some(tests) = self.pending.take() {
            self.failed += tests.max(1);
        }
    }

    /// The end of the output. If a program did not exit with 0, at least one of its
    /// tests failed.
    pub fn close(&mut self, success: bool) {
        self.died();
        if !success && self.failed == 0 {
            self.failed = 1;
        }
    }

    /// Whether the run may succeed. It needs at least one test. In CI (`strict`) a
    /// skipped test is a failure, too.
    pub fn verdict(&self, strict: bool) -> Result<()> {
        match self {
            Self { failed: 0, passed: 0, .. } => bail!("no test ran"),
            Self { failed: 0, skipped, .. } if strict && *skipped > 0 => {
                bail!("{skipped} tests were skipped, which CI does not allow")
            }
            Self { failed: 0, .. } => Ok(()),
            Self { failed, .. } => bail!("{failed} tests failed"),
        }
    }
}

/// `running 12 tests`
fn announced(line: &str) -> Option<usize> {
    let count = line.strip_prefix("running ")?;
    count.strip_suffix(" tests").or_else(|| count.strip_suffix(" test"))?.parse().ok()
}

/// `test some::name ... FAILED`
fn failed(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`
fn reported(line: &str) -> Option<[usize; 3]> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let counted = counts.split("; ").find_map(|part| part.strip_suffix(word));
        counted.and_then(|number| number.trim().parse::<usize>().ok())
    };
    Some([count("passed")?, count("failed")?, count("ignored")?])
}

/// The line without colours (ECMA-48 `ESC [ ... m`).
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    text.trim_end_matches(['\r', '\x0f']).trim_end_matches("\x1b(B").to_owned()
}

#[cfg(test)]
mod tests;
