//! Property tests with new random cases, for as long as you like.
//!
//! In CI the large properties have fixed seeds, so that a run is the same every
//! time. This command searches instead: it runs the properties again and again,
//! each time with another seed. The property with the least time so far is next.
//!
//! You give minutes and filters. It prints each failure with its shrunk case and
//! the command that repeats it, and at the end one line per property.

mod sources;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::Cargo;
use crate::programs::{self, Program};
use crate::setup;

/// Cases per run. Some properties have a number of their own.
const CASES: &str = "50";

/// A property test and its results.
struct Property {
    program: Program,
    test: String,
    runs: u32,
    /// The total time of its runs.
    took: Duration,
    running: bool,
    failed: bool,
}

/// Runs properties whose names contain a filter, or all.
pub fn run(args: &[String]) -> Result<()> {
    let (minutes, filters) = args.split_first().context("`--fresh` takes a number of minutes")?;
    let minutes: f64 = minutes.parse().with_context(|| format!("`{minutes}` is not a number"))?;
    let time = Duration::try_from_secs_f64(minutes * 60.0).context("a number of minutes")?;
    setup::packages()?;
    let cargo = Cargo::default();
    let names = sources::properties(&cargo.workspace_folder()?)?;
    let mut properties = Vec::new();
    for program in programs::build(&cargo)? {
        for test in program.tests(&[])? {
            let name = test.rsplit("::").next().unwrap_or(&test);
            let chosen = filters.is_empty() || filters.iter().any(|filter| test.contains(filter));
            if chosen && names.contains(name) {
                properties.push(Property::new(program.clone(), test));
            }
        }
    }
    ensure!(!properties.is_empty(), "no property test has {} in its name", filters.join(" or "));
    let properties = search(properties, time)?;
    report(&properties)
}

impl Property {
    fn new(program: Program, test: String) -> Self {
        Self { program, test, runs: 0, took: Duration::ZERO, running: false, failed: false }
    }
}

/// Runs one property per processor at a time until the time is over. A started run
/// always finishes.
fn search(properties: Vec<Property>, time: Duration) -> Result<Vec<Property>> {
    eprintln!("fresh: {} properties for {} s", properties.len(), time.as_secs());
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let until = Instant::now() + time;
    let properties = Mutex::new(properties);
    side_by_side(workers, || work(&properties, until))?;
    Ok(properties.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs `work` in as many threads. The panic of one is a panic of this one.
fn side_by_side(workers: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(&work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn work(properties: &Mutex<Vec<Property>>, until: Instant) -> Result<()> {
    let hasher = RandomState::new();
    for number in 0_u64.. {
        if Instant::now() >= until {
            break;
        }
        let Some(index) = next(&mut lock(properties)) else { break };
        let (program, test) = {
            let property = &lock(properties)[index];
            (property.program.clone(), property.test.clone())
        };
        let start = Instant::now();
        let failed = !one(&program, &test, hasher.hash_one(number))?;
        let property = &mut lock(properties)[index];
        property.running = false;
        property.runs += 1;
        property.took += start.elapsed();
        // A second failure would usually be the same one.
        property.failed |= failed;
    }
    Ok(())
}

/// The property with the least time so far, marked as running.
fn next(properties: &mut [Property]) -> Option<usize> {
    let free = properties.iter_mut().enumerate().filter(|(_, one)| !one.running && !one.failed);
    let (index, property) = free.min_by_key(|(_, one)| one.took)?;
    property.running = true;
    Some(index)
}

/// Returns whether a run passed. Prints a failure.
fn one(program: &Program, test: &str, seed: u64) -> Result<bool> {
    let seed = seed.to_string();
    let mut command = program.command(&[]);
    command.args([test, "--exact", "--color=never"]);
    command.envs([("PROPTEST_RNG_SEED", seed.as_str()), ("PROPTEST_CASES", CASES)]);
    command.env("RUST_BACKTRACE", "0");
    let output = command.output().with_context(|| format!("cannot start {}", program.name()))?;
    if !output.status.success() {
        println!(
            "\n{} {test} failed:\n{}{}\nrepeat it with:\n  PROPTEST_RNG_SEED={seed} \
             PROPTEST_CASES={CASES} cargo test {} -- --exact {test}",
            program.name(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            program.selection(),
        );
    }
    Ok(output.status.success())
}

fn report(properties: &[Property]) -> Result<()> {
    println!("\n   runs  seconds  property");
    for property in properties {
        let Property { program, test, runs, took, failed, .. } = property;
        let failed = if *failed { "  FAILED" } else { "" };
        println!("{runs:7}  {:7.1}  {} {test}{failed}", took.as_secs_f32(), program.name());
    }
    let failed = properties.iter().filter(|property| property.failed).count();
    let runs: u32 = properties.iter().map(|property| property.runs).sum();
    println!("{} properties, {runs} runs, {failed} failed", properties.len());
    if failed > 0 {
        bail!("{failed} properties failed");
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a worker's")]
    fn the_panic_of_a_worker_is_not_lost() {
        let _ = side_by_side(2, || panic!("a worker's"));
    }

    #[test]
    fn the_error_of_a_worker_is_not_lost() {
        assert!(side_by_side(2, || bail!("no program")).is_err());
        assert!(side_by_side(2, || Ok(())).is_ok());
    }
}
