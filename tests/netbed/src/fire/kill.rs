//! Kills `nftpol apply --watch` at random moments and starts it again.
//!
//! It uses SIGKILL alone, because `nftpol` could handle any other signal.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use samples::scratch::Folder;

use super::drive::Driver;
use super::gun::Fire;
use super::run::{controls, goal, judge, report, too_slow};
use super::{Goal, Kind, Range, shoot};
use crate::program;

/// One start for this many of [`Goal::updates`], because each start costs a
/// process.
const ONE_IN: u64 = 50;
/// A run is killed within this many times the duration of an `apply`.
const LIVES: u32 = 3;
/// Of this many runs in a row, two live until they are long done: one for each
/// state.
const SPARED: u64 = 8;

/// Starts `nftpol apply --watch` again and again. Changes its file before each
/// start, and kills it after another time.
///
/// # Errors
/// As [`super::run()`].
pub fn run_killed() -> Result<()> {
    let range = Range::new(2)?;
    let kind = Kind::pods_relabelled(&range);
    let folder = Folder::new("kill")?;
    // Writes the states to files and checks the probes.
    let fire = Rc::new(Fire::default());
    let driver = Driver::start(&range, &kind, folder.path(), &fire)?;
    let table = driver.text();
    drop(driver);
    let whole = finish(&range, folder.path(), 1)?;
    let goal = Goal { updates: goal().updates / ONE_IN, ..goal() };
    let outcome = shoot(&range, &kind.probes, goal, &fire, |number| {
        let state = number as usize % kind.states.len();
        let mut child = start(&range, folder.path(), state)?;
        thread::sleep(life(number, whole));
        kill(&mut child)?;
        Ok(true)
    })?;
    report("nftpol killed", &outcome)?;
    too_slow(&outcome)?;
    ensure!(has_table(&range)?, "the table went with the process");
    judge(&kind.probes, &outcome)?;
    // A run that nobody kills finishes whatever the last one left half done.
    finish(&range, folder.path(), 0)?;
    controls(&range, &kind.probes, &table, &folder)
}

fn start(range: &Range, folder: &Path, state: usize) -> Result<Child> {
    // A separate file, so that the files of the states stay unchanged.
    let file = folder.join("watched.yml");
    fs::copy(folder.join(format!("{state}.yaml")), &file).context("change the manifests")?;
    let mut command = nftpol(range)?;
    command.args(["apply", "--watch", "-f"]).arg(file);
    command.spawn().context("start nftpol")
}

/// Kills it. If it ended by itself, that is an error.
fn kill(child: &mut Child) -> Result<()> {
    if let Some(status) = child.try_wait().context("look after nftpol")? {
        bail!("nftpol apply --watch ended by itself: {status}");
    }
    child.kill().context("kill nftpol")?;
    child.wait().context("wait for nftpol")?;
    Ok(())
}

/// How long run `number` may live. `whole` is the duration of an `apply` without
/// fire. The golden ratio spreads the lives evenly up to the longest.
fn life(number: u64, whole: Duration) -> Duration {
    let golden = number as f64 * 0.618_033_988_749_895;
    let part = if number % SPARED < 2 { 2.0 } else { golden.fract() };
    (whole * LIVES).mul_f64(part)
}

/// Runs `apply` to its end, and `diff` to check that nothing is left to do. Returns
/// the duration of `apply`.
fn finish(range: &Range, folder: &Path, state: usize) -> Result<Duration> {
    let start = Instant::now();
    let mut took = Duration::ZERO;
    for command in ["apply", "diff"] {
        let file = folder.join(format!("{state}.yaml"));
        let status = nftpol(range)?.args([command, "-f"]).arg(file).status();
        let status = status.context("start nftpol")?;
        ensure!(status.success(), "nftpol {command}: {status}");
        if took.is_zero() {
            took = start.elapsed();
        }
    }
    Ok(took)
}

/// `nftpol` in the node's namespace. `ip netns exec` executes the program in its
/// own process, so the signal kills `nftpol` itself.
fn nftpol(range: &Range) -> Result<Command> {
    let mut command = range.node().command(program::path()?);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

fn has_table(range: &Range) -> Result<bool> {
    let table = compiler::scaffold::table().to_string();
    let mut command = range.node().command("nft");
    let output = command.args(["list", "tables"]).output().context("start nft")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    Ok(listing.lines().any(|line| line == format!("table inet {table}")))
}
