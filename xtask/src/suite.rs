//! Runs the tests of the workspace.
//!
//! Two lanes. Programs that only compute run in the background, several at a
//! time, and give way to everything else. So do the tests of the documentation.
//! All others run in the foreground, one after the other, because many of them
//! measure time or share the kernel. Those that need programs of Kubernetes
//! come last.
//!
//! ```text
//! foreground  packets  services  ...  | wait | apiserver  agent  | wait | kubernetes ...
//! background  meaning   verify   mutations   ...
//! Go builds   etcd  kube-apiserver  kubectl --^  kubelet ...  flannel --^ e2e.test
//! ```

mod lanes;
mod tally;

use std::io::IsTerminal;
use std::time::Instant;

use anyhow::{Error, Result};

use crate::background;
use crate::cargo::Cargo;
use crate::kube::{self, Builds, Group};
use crate::programs::{self, Program};
use lanes::{Finished, Job, Lanes};
pub use tally::Tally;

/// Packages whose tests only compute. `xtask edges` keeps most of them from
/// sockets and clocks.
const COMPUTING_PACKAGES: [&str; 6] = ["compiler", "fuzz", "policy", "samples", "verify", "xtask"];

/// Programs of other packages whose tests only compute. `ruleset text` is not
/// one of them: it makes a network namespace and runs `nft`. That takes a lock
/// of the kernel that all namespaces share (`rtnl_mutex`), and a program that
/// gives way to others can hold it for long.
const COMPUTING_PROGRAMS: [&str; 13] = [
    "ruleset lib",
    "ruleset limits",
    "suite coverage",
    "suite docs",
    "suite incremental",
    "suite meaning",
    "suite mended",
    "suite mutations",
    "suite suspects",
    "suite verify",
    "watcher broken",
    "watcher fuzz",
    "watcher oracle",
];

/// Which tests need which programs of Kubernetes. A group needs the groups before
/// it.
const NEEDS: [(&str, &Group); 8] = [
    ("suite accepted", &kube::SERVER),
    ("suite agent", &kube::SERVER),
    ("suite apiserver", &kube::SERVER),
    ("suite chaos", &kube::SERVER),
    ("suite first_packet", &kube::CNI),
    ("suite install", &kube::SERVER),
    ("suite kubernetes", &kube::FLANNEL),
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
        let last = self.programs.iter().filter_map(need).filter_map(place).max();
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
        let (computing, mut foreground): (Vec<_>, Vec<_>) =
            self.programs.into_iter().partition(only_computes);
        foreground.sort_by_key(|program| need(program).and_then(place));
        let args = &self.args;
        let job = |program: &Program, before: &[&str]| {
            let mut command = program.command(before);
            command.args(args);
            Job { name: program.name(), command }
        };
        let before = background::words();
        let waiting = computing.iter().map(|program| job(program, before));
        let lanes = Lanes::new(waiting.chain([documentation]).collect());
        lanes.run(|lane| {
            for (name, error) in &self.broken {
                lane.could_not_run(name.clone(), error);
            }
            for program in &foreground {
                match need(program).map_or(Ok(()), |need| kubernetes.wait(need)) {
                    Ok(()) => lane.run_one(job(program, &[])),
                    Err(error) => lane.could_not_run(program.name(), &error),
                }
            }
        })
    }
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

fn only_computes(program: &Program) -> bool {
    COMPUTING_PACKAGES.contains(&program.package.as_str())
        || COMPUTING_PROGRAMS.contains(&program.name().as_str())
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
