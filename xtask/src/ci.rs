//! Runs the steps of CI one by one, and times each.
//!
//! Succeeds when every step passed, else names the steps that failed. A failed step
//! does not stop the others, so that one run shows everything.
//!
//! Go takes longer to build the programs of Kubernetes than cargo takes for all of
//! the Rust. They are built in the background from the start, and the tests that
//! need them come last.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo::Cargo;
use crate::{edges, kube, setup, suite};

/// Runs all steps, those that take seconds first. Lints run before tests: both need
/// most of the machine, and lints finish sooner.
pub fn run() -> Result<()> {
    let start = Instant::now();
    let mut steps = Steps::default();
    let cargo = Cargo::locked();
    let strict = cargo.clone().env("RUSTDOCFLAGS", "-D warnings");
    if !steps.run("packages", setup::packages_of_nodes) {
        return steps.finish(start);
    }
    steps.run("format", || Cargo::default().run(["fmt", "--all", "--check"]));
    // Also fails when Cargo.lock is not up to date. Then it is no use to continue.
    if !steps.run("edges and lock file", || edges::run(&cargo)) {
        return steps.finish(start);
    }
    let kubernetes = kube::Builds::start(&cargo, &suite::ORDER);
    steps.run("lints", || {
        cargo.run(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
    });
    steps.run("documentation", || strict.run(["doc", "--workspace", "--no-deps"]));
    steps.run("tests", || {
        suite::Selection::build(&cargo, &[])?.run(&cargo, &kubernetes).verdict(true)
    });
    steps.run("kubernetes for the tests", || kubernetes.wait_for_all());
    steps.finish(start)
}

/// What has run so far.
#[derive(Default)]
struct Steps {
    failed: Vec<&'static str>,
}

impl Steps {
    /// Runs one step and prints how long it took. Returns whether it passed.
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("ci: {name} ...");
        let start = Instant::now();
        let result = step();
        let seconds = start.elapsed().as_secs_f32();
        match &result {
            Ok(()) => eprintln!("ci: {name}: passed in {seconds:.1} s"),
            Err(error) => {
                eprintln!("ci: {name}: FAILED in {seconds:.1} s: {error:#}");
                self.failed.push(name);
            }
        }
        result.is_ok()
    }

    fn finish(&self, start: Instant) -> Result<()> {
        let seconds = start.elapsed().as_secs_f32();
        if self.failed.is_empty() {
            eprintln!("ci: all passed in {seconds:.1} s");
            return Ok(());
        }
        bail!("failed after {seconds:.1} s: {}", self.failed.join(", "))
    }
}
