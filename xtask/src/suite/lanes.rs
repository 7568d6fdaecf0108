//! Test programs, one in the foreground and some in the background.
//!
//! Returns what each printed and how long it took. The output of the foreground is
//! shown as it comes. The output of a background program is shown as one piece,
//! after a foreground program has ended.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};

use super::Tally;

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
    pub fn run(self, foreground: impl FnOnce(&Self) -> Result<()>) -> Result<Vec<Finished>> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work())).collect();
            let done = foreground(&self);
            if done.is_err() {
                lock(&self.waiting).clear();
            }
            for worker in workers {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            done
        })?;
        self.show();
        Ok(self.finished.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs one program in the foreground.
    pub fn run_one(&self, mut job: Job) -> Result<()> {
        let start = Instant::now();
        let mut child = start_job(job.command.stdout(Stdio::piped()), &job.name)?;
        let output = child.stdout.take().context("a test program has no output")?;
        let mut tally = Tally::default();
        println!("\n{}:", job.name);
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read what a test program prints")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            tally.read(&line);
        }
        tally.close(child.wait().context("cannot wait for a test program")?.success());
        self.add(job.name, tally, start, false);
        self.show();
        Ok(())
    }

    /// Counts a program as failed that lacks what it needs.
    pub fn could_not_run(&self, name: String, error: &Error) {
        println!("\n{name}:\n{error:#}");
        let mut tally = Tally::default();
        tally.close(false);
        self.add(name, tally, Instant::now(), false);
    }

    /// Runs the background programs until none are left.
    fn work(&self) -> Result<()> {
        loop {
            // Not in the loop's head, which would hold the lock.
            let next = lock(&self.waiting).pop_front();
            let Some(mut job) = next else { return Ok(()) };
            let start = Instant::now();
            job.command.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = start_job(&mut job.command, &job.name)?;
            let errors = child.stderr.take().context("a test program has no stderr")?;
            let output = child.stdout.take().context("a test program has no output")?;
            let errors = thread::spawn(move || text(errors));
            let mut output = text(output);
            output += &errors.join().unwrap_or_default();
            let mut tally = Tally::default();
            output.lines().for_each(|line| tally.read(line));
            tally.close(child.wait().context("cannot wait for a test program")?.success());
            if tally.tests() > 0 {
                *lock(&self.unseen) += &format!("\n{} (in the background):\n{output}", job.name);
            }
            self.add(job.name, tally, start, true);
        }
    }

    fn add(&self, name: String, tally: Tally, start: Instant, background: bool) {
        let took = start.elapsed();
        lock(&self.finished).push(Finished { name, tally, took, background });
    }

    fn show(&self) {
        print!("{}", std::mem::take(&mut *lock(&self.unseen)));
    }
}

fn start_job(command: &mut Command, name: &str) -> Result<std::process::Child> {
    command.spawn().with_context(|| format!("cannot start {name}"))
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
        let mut finished = Lanes::new(background).run(foreground).unwrap();
        finished.sort_by(|one, other| one.name.cmp(&other.name));
        let seen = finished.iter().map(|one| (one.name.as_str(), one.tally.passed, one.background));
        assert_eq!(seen.collect::<Vec<_>>(), [("a", 1, false), ("b", 1, true), ("c", 1, true)]);
    }

    #[test]
    fn a_program_that_dies_in_either_lane_has_failed() {
        let died = "echo 'running 3 tests'; exit 1";
        let background = [job("b", died)].into();
        let foreground = |lanes: &Lanes| lanes.run_one(job("a", died));
        let finished = Lanes::new(background).run(foreground).unwrap();
        assert!(finished.iter().all(|one| one.tally.failed == 3));
        assert_eq!(finished.len(), 2);
    }

    #[test]
    fn a_program_that_lacks_what_it_needs_has_failed() {
        let foreground = |lanes: &Lanes| {
            lanes.could_not_run("a".to_owned(), &anyhow::anyhow!("no Go"));
            Ok(())
        };
        let finished = Lanes::new([].into()).run(foreground).unwrap();
        assert_eq!(finished.iter().map(|one| one.tally.failed).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_program_that_cannot_start_is_an_error() {
        let missing = || Job { name: "a".to_owned(), command: Command::new("/nonexistent") };
        assert!(Lanes::new([missing()].into()).run(|_| Ok(())).is_err());
        assert!(Lanes::new([].into()).run(|lanes| lanes.run_one(missing())).is_err());
    }
}
