//! Test programs in the foreground, and some in the background.
//!
//! In: commands. Out: what each printed and how long it took. The output of one that is
//! alone in the foreground is shown as it comes. That of others is shown as one piece: a
//! background program's once the foreground's program has ended. A program that cannot run counts as
//! failed. Never: an end before all have ended.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};

use super::Tally;
use crate::cargo::words;

/// How many run at once in the foreground where they mostly wait.
const BESIDE: usize = 2;

/// A program to run.
pub struct Job {
    pub name: String,
    pub command: Command,
}

/// A program that has ended.
pub struct Finished {
    pub name: String,
    pub tally: Tally,
    pub took: Duration,
    pub background: bool,
}

/// Both lanes.
pub struct Lanes {
    waiting: Mutex<VecDeque<Job>>,
    finished: Mutex<Vec<Finished>>,
    /// Output of background programs that was not shown yet.
    unseen: Mutex<String>,
}

impl Lanes {
    /// These programs will run in the background.
    pub fn new(background: VecDeque<Job>) -> Self {
        Self {
            waiting: Mutex::new(background),
            finished: Mutex::default(),
            unseen: Mutex::default(),
        }
    }

    /// Starts the background and calls `foreground`, which runs programs with
    /// [`Lanes::run_one`]. Returns when both have ended.
    pub fn run(self, foreground: impl FnOnce(&Self)) -> Vec<Finished> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work())).collect();
            foreground(&self);
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
        self.show();
        self.finished.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one in the foreground.
    pub fn run_one(&self, Job { name, mut command }: Job) {
        let start = Instant::now();
        println!("\n{name}:");
        let tally = shown(&mut command).unwrap_or_else(|error| {
            println!("{error:#}");
            failed()
        });
        self.add(name, tally, start, false);
        self.show();
    }

    /// Runs these in the foreground, some of them at once.
    pub fn run_beside(&self, jobs: Vec<Job>) {
        let jobs = Mutex::new(VecDeque::from(jobs));
        thread::scope(|scope| {
            for _ in 0..BESIDE {
                scope.spawn(|| {
                    while let Some(output) = self.next(&jobs, "", false) {
                        print!("{output}");
                    }
                });
            }
        });
        self.show();
    }

    /// Counts a program as failed that lacks what it needs.
    pub fn could_not_run(&self, name: String, error: &Error) {
        println!("\n{name}:\n{error:#}");
        self.add(name, failed(), Instant::now(), false);
    }

    /// Runs those in the background until there are no more.
    fn work(&self) {
        while let Some(output) = self.next(&self.waiting, " (in the background)", true) {
            *lock(&self.unseen) += &output;
        }
    }

    /// Runs the next of these programs, whose name is shown with this note. Returns what to
    /// show, or nothing when there are no more.
    fn next(&self, jobs: &Mutex<VecDeque<Job>>, note: &str, background: bool) -> Option<String> {
        let Job { name, mut command } = lock(jobs).pop_front()?;
        let start = Instant::now();
        let ended = kept(&mut command);
        let (tally, output) = ended.unwrap_or_else(|error| (failed(), format!("{error:#}\n")));
        let ran = tally.tests() > 0;
        let shown = if ran { format!("\n{name}{note}:\n{output}") } else { String::new() };
        self.add(name, tally, start, background);
        Some(shown)
    }

    fn add(&self, name: String, tally: Tally, start: Instant, background: bool) {
        let took = start.elapsed();
        lock(&self.finished).push(Finished { name, tally, took, background });
    }

    fn show(&self) {
        print!("{}", std::mem::take(&mut *lock(&self.unseen)));
    }
}

/// Runs a command to its end and shows its output as it comes.
fn shown(command: &mut Command) -> Result<Tally> {
    let mut child = start(command.stdout(Stdio::piped()))?;
    let output = child.stdout.take().context("a test program has no output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what a test program prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    tally.close(child.wait().context("cannot wait for a test program")?.success());
    Ok(tally)
}

/// Runs a command to its end and keeps its output.
fn kept(command: &mut Command) -> Result<(Tally, String)> {
    let mut child = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let errors = child.stderr.take().context("a test program has no stderr")?;
    let output = child.stdout.take().context("a test program has no output")?;
    let errors = thread::spawn(move || text(errors));
    let mut output = text(output);
    output += &errors.join().unwrap_or_default();
    let mut tally = Tally::default();
    output.lines().for_each(|line| tally.read(line));
    tally.close(child.wait().context("cannot wait for a test program")?.success());
    Ok((tally, output))
}

fn start(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start `{}`", words(command)))
}

/// Of a program without a result.
fn failed() -> Tally {
    let mut tally = Tally::default();
    tally.close(false);
    tally
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, script: &str) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job { name: name.to_owned(), command }
    }

    const RESULT: &str = "echo 'running 1 test'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out'";

    #[test]
    fn both_lanes_count() {
        let background = ["b", "c"].map(|name| job(name, RESULT)).into();
        let foreground = |lanes: &Lanes| lanes.run_one(job("a", RESULT));
        let mut finished = Lanes::new(background).run(foreground);
        finished.sort_by(|one, other| one.name.cmp(&other.name));
        let seen = finished.iter().map(|one| (one.name.as_str(), one.tally.passed, one.background));
        assert_eq!(seen.collect::<Vec<_>>(), [("a", 1, false), ("b", 1, true), ("c", 1, true)]);
    }

    #[test]
    fn a_program_that_dies_in_either_lane_has_failed() {
        let died = "echo 'running 3 tests'; exit 1";
        let background = [job("b", died)].into();
        let foreground = |lanes: &Lanes| lanes.run_one(job("a", died));
        let finished = Lanes::new(background).run(foreground);
        assert!(finished.iter().all(|one| one.tally.failed == 3));
        assert_eq!(finished.len(), 2);
    }

    #[test]
    fn those_that_wait_run_at_once() {
        // Each waits for the other.
        let (one, other) = (scratch("one"), scratch("other"));
        let meet = |ours: &str, theirs: &str| {
            format!("touch {ours}; while [ ! -e {theirs} ]; do sleep 0.01; done; {RESULT}")
        };
        let jobs = vec![job("a", &meet(&one, &other)), job("b", &meet(&other, &one))];
        let finished = Lanes::new([].into()).run(|lanes| lanes.run_beside(jobs));
        for path in [one, other] {
            std::fs::remove_file(path).unwrap();
        }
        assert!(finished.iter().all(|one| one.tally.passed == 1 && !one.background));
        assert_eq!(finished.len(), 2);
    }

    /// A path that does not exist yet.
    fn scratch(name: &str) -> String {
        let name = format!("xtask-lanes-{}-{name}", std::process::id());
        std::env::temp_dir().join(name).display().to_string()
    }

    #[test]
    fn a_program_that_lacks_what_it_needs_has_failed() {
        let foreground = |lanes: &Lanes| {
            lanes.could_not_run("a".to_owned(), &anyhow::anyhow!("no Go"));
        };
        let finished = Lanes::new([].into()).run(foreground);
        assert_eq!(finished.iter().map(|one| one.tally.failed).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_program_that_cannot_start_has_failed_and_the_others_run() {
        let missing =
            |name: &str| Job { name: name.to_owned(), command: Command::new("/nonexistent") };
        let lanes = Lanes::new([missing("c"), job("d", RESULT)].into());
        let mut finished = lanes.run(|lanes| {
            lanes.run_one(missing("a"));
            lanes.run_one(job("b", RESULT));
        });
        finished.sort_by(|one, other| one.name.cmp(&other.name));
        let seen = finished.iter().map(|one| (one.name.as_str(), one.tally.failed));
        assert_eq!(seen.collect::<Vec<_>>(), [("a", 1), ("b", 0), ("c", 1), ("d", 0)]);
    }
}
