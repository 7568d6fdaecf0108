//! Runs the tests of the workspace.
//!
//! Two lanes. Programs that only compute run in the background, several at a
//! time, and give way to everything else. So do the tests of the documentation.
//! All others run in the foreground, one after the other, because many of them
//! measure time or share the kernel. Those that mostly wait ([`kinds`]) run beside
//! each other there. Those that need programs of Kubernetes come last.
//!
//! ```text
//! foreground  packets  services  ...  | wait | apiserver  agent  networks     | wait | kubernetes ...
//!                                     |      |                   multi_network |      |
//! background  meaning   verify   mutations   ...
//! Go builds   etcd  kube-apiserver  kubectl --^  kubelet ...  flannel ---------^ e2e.test
//! ```

mod kinds;
mod lanes;
mod tally;

use std::io::IsTerminal;
use std::time::Instant;

use anyhow::{Error, Result};

use crate::background;
use crate::cargo::Cargo;
use crate::kube::{self, Builds, Group};
use crate::programs::{self, Program};
use kinds::{Kind, kind, threads};
use lanes::{Finished, Job, Lanes};
pub use tally::Tally;

/// Which tests need which programs of Kubernetes. A group needs the groups before
/// it.
const NEEDS: [(&str, &Group); 11] = [
    ("suite accepted", &kube::SERVER),
    ("suite agent", &kube::SERVER),
    ("suite apiserver", &kube::SERVER),
    ("suite author_cluster", &kube::SERVER),
    ("suite chaos", &kube::SERVER),
    ("suite first_packet", &kube::CNI),
    ("suite install", &kube::SERVER),
    ("suite kubernetes", &kube::FLANNEL),
    ("suite multi_network", &kube::SERVER),
    ("suite pod_agent", &kube::SERVER),
    ("suite upstream", &kube::E2E),
];

/// How many programs the list of the slowest ones shows.
const SLOWEST: usize = 10;

/// The test programs in which a filter selects a test.
pub struct Selection {
    args: Vec<String>,
    programs: Vec<Program>,
    /// Programs that could not list their tests.
    broken: Vec<(String, Error)>,
}

impl Selection {
    /// Builds all programs and tests. `args` go to the test programs: filters, and
    /// arguments that begin with `-`.
    pub fn build(cargo: &Cargo, args: &[String]) -> Result<Self> {
        let colour = if std::io::stdout().is_terminal() { "always" } else { "never" };
        let args = [format!("--color={colour}")].into_iter().chain(args.iter().cloned());
        Ok(Self::of(programs::build(cargo)?, args.collect()))
    }

    /// Those of `programs` in which some test may run.
    fn of(mut programs: Vec<Program>, args: Vec<String>) -> Self {
        let mut broken = Vec::new();
        programs.retain(|program| match program.tests(&args) {
            Ok(tests) => !tests.is_empty(),
            Err(error) => {
                broken.push((program.name(), error));
                false
            }
        });
        Self { args, programs, broken }
    }

    /// What Go has to build for them.
    pub fn groups(&self) -> &'static [&'static Group] {
        let last = self.programs.iter().filter_map(needed).max();
        &ORDER[..last.map_or(0, |last| last + 1)]
    }

    /// Runs them, prints what they print and the sum. [`Tally::verdict`] judges it.
    pub fn run(self, cargo: &Cargo, kubernetes: &Builds) -> Tally {
        let start = Instant::now();
        let documentation = documentation(cargo, background::words(), &self.args);
        sum(self.finish(documentation, kubernetes), start)
    }

    /// Runs them to their end.
    fn finish(self, documentation: Job, kubernetes: &Builds) -> Vec<Finished> {
        let (computing, foreground): (Vec<_>, Vec<_>) =
            self.programs.into_iter().partition(|program| kind(program) == Kind::Computes);
        let (waiting, mut alone): (Vec<_>, Vec<_>) =
            foreground.into_iter().partition(|program| kind(program) == Kind::Waits);
        alone.sort_by_key(needed);
        // They come when the last of them has what it needs.
        let later = waiting.iter().filter_map(needed).max();
        let later = alone.split_off(alone.partition_point(|program| needed(program) <= later));
        let before = background::words();
        let args = &self.args;
        let computing = computing.iter().map(|program| job(program, before, args));
        let lanes = Lanes::new(computing.chain([documentation]).collect());
        lanes.run(|lane| {
            for (name, error) in &self.broken {
                lane.could_not_run(name.clone(), error);
            }
            let ready = |program: &Program| {
                let built = need(program).map_or(Ok(()), |need| kubernetes.wait(need));
                built.map_err(|error| lane.could_not_run(program.name(), &error)).ok()?;
                Some(job(program, &[], args))
            };
            let one_by_one = |programs: &[Program]| {
                programs.iter().filter_map(ready).for_each(|job| lane.run_one(job));
            };
            one_by_one(&alone);
            lane.run_beside(waiting.iter().filter_map(ready).collect());
            one_by_one(&later);
        })
    }
}

fn job(program: &Program, before: &[&str], args: &[String]) -> Job {
    let mut command = program.command(before);
    if let Some(threads) = threads(program) {
        // The book of rustc, "Tests", `--test-threads`. An argument of a person wins.
        command.env("RUST_TEST_THREADS", threads.to_string());
    }
    command.args(args);
    Job { name: program.name(), command }
}

/// The tests of the documentation, with these words before the command.
fn documentation(cargo: &Cargo, before: &[&str], args: &[String]) -> Job {
    let fixed = ["test", "--workspace", "--doc", "--"];
    let words = fixed.into_iter().chain(args.iter().map(String::as_str));
    Job { name: "documentation".to_owned(), command: cargo.command_behind(before, words) }
}

/// All groups that tests need, in the order in which they are built.
pub static ORDER: [&Group; 5] =
    [&kube::SERVER, &kube::CNI, &kube::NODES, &kube::FLANNEL, &kube::E2E];

fn place(group: &Group) -> Option<usize> {
    ORDER.iter().position(|one| *one == group)
}

fn need(program: &Program) -> Option<&'static Group> {
    let name = program.name();
    NEEDS.iter().find(|(test, _)| *test == name).map(|(_, group)| *group)
}

/// The place of what it needs in the order of builds.
fn needed(program: &Program) -> Option<usize> {
    need(program).and_then(place)
}

/// Prints the slowest and the failed programs, and the sum as the last line.
fn sum(mut finished: Vec<Finished>, start: Instant) -> Tally {
    let mut tally = Tally::default();
    finished.sort_by_key(|one| std::cmp::Reverse(one.took));
    println!("\nslowest of {:.0} s:", start.elapsed().as_secs_f32());
    for one in finished.iter().take(SLOWEST) {
        let lane = if one.background { " (in the background)" } else { "" };
        println!("{:7.1} s  {}{lane}", one.took.as_secs_f32(), one.name);
    }
    for one in finished {
        for name in &one.tally.failures {
            println!("failed: {}: {name}", one.name);
            for line in one.tally.said(name).iter().filter(|line| !line.is_empty()) {
                println!("    {line}");
            }
        }
        if one.tally.failed > one.tally.failures.len() {
            println!("failed: {}: it ended without a result", one.name);
        }
        tally += one.tally;
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    tally
}

#[cfg(test)]
mod tests;
