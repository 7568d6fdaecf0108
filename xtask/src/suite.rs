//! Runs every test of the workspace and adds up what the test binaries say.
//!
//! In: filters for the test binaries. Out: their output as it comes, then one
//! line `N passed, N failed, N skipped`.
//! Never: a green end when a binary died before it could report.

use std::io::{BufRead, BufReader, IsTerminal};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::cargo::Cargo;

/// What all test binaries said together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Tests announced by a binary that has not reported yet.
    pending: Option<usize>,
    /// Names of those that failed.
    failures: Vec<String>,
}

/// Builds all programs and tests, runs the tests, prints the sum. An error
/// only when there is nothing to count; [`Tally::verdict`] judges the rest.
pub fn run(cargo: &Cargo, args: &[String]) -> Result<Tally> {
    // Programs and tests in one build: the tests start `nftpol`, and apart
    // from them it would be built with other features of its dependencies.
    cargo.run(["build", "--workspace", "--bins", "--tests"]).context("the build failed")?;
    let colour = if std::io::stdout().is_terminal() { "always" } else { "never" };
    let colour = format!("--color={colour}");
    let fixed = ["test", "--workspace", "--no-fail-fast", "--", &colour];
    let mut command = cargo.command(fixed.into_iter().chain(args.iter().map(String::as_str)));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    tally.close(status.success());
    println!();
    for name in &tally.failures {
        println!("failed: {name}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    Ok(tally)
}

/// Names of tests that run a whole Kubernetes have this word in them.
const WITH_NODES: &str = "kubernetes";

/// The one test that runs upstream's.
const WITH_UPSTREAM: &str = "six_upstream_specs_on_kubernetes";

/// Whether tests that these filters let through need programs of nodes.
pub fn needs_nodes(args: &[String]) -> bool {
    any(args, |filter| filter.contains(WITH_NODES)) || needs_upstream(args)
}

/// Whether tests that these filters let through need upstream's.
pub fn needs_upstream(args: &[String]) -> bool {
    any(args, |filter| WITH_UPSTREAM.contains(filter))
}

/// Whether there is no filter, or one that is so.
fn any(args: &[String], is_so: impl Fn(&str) -> bool) -> bool {
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    filters.peek().is_none() || filters.any(|filter| is_so(filter))
}

impl Tally {
    /// Reads one line of libtest's output.
    fn read(&mut self, line: &str) {
        let line = plain(line);
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

    /// A binary that announced tests and never reported has failed them all.
    fn died(&mut self) {
        if let Some(tests) = self.pending.take() {
            self.failed += tests.max(1);
        }
    }

    /// The end of the output. What cargo calls a failure is at least one.
    fn close(&mut self, success: bool) {
        self.died();
        if !success && self.failed == 0 {
            self.failed = 1;
        }
    }

    /// Whether this may end green. No test at all never may; in CI (`strict`)
    /// a skipped test may not either.
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
