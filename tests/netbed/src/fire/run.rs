//! A complete run of one kind of update, with its controls and its report.
//!
//! In: a kind. Out: rows of a table on stderr. An error when a packet met the
//! wrong fate, or when the controls show that such a packet would not be seen.
//! Never: a result that depends on the speed of the machine.

use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Once;

use anyhow::{Context, Result, ensure};
use samples::scratch::Folder;

use super::control;
use super::drive::Driver;
use super::gun::Fire;
use super::{Expect, Goal, Kind, Outcome, Probe, Range, shoot};

/// Packets a second that a run should reach.
const RATE: f64 = 100_000.0;

/// How much is enough, by the environment: `NFTPOL_FIRE=long` is twenty times
/// as much.
pub fn goal() -> Goal {
    let long = std::env::var_os("NFTPOL_FIRE").is_some_and(|value| value == "long");
    let times = if long { 20 } else { 1 };
    Goal { updates: 5_000 * times, packets: 1_000_000 * times }
}

/// Runs one kind of update.
///
/// # Errors
/// Packets passed or dropped wrongly; controls that saw no leak; whatever
/// else went wrong.
pub fn run(kind: impl FnOnce(&Range) -> Kind) -> Result<()> {
    let range = Range::new(2)?;
    let kind = kind(&range);
    let folder = Folder::new("fire")?;
    let fire = Rc::new(Fire::default());
    let mut driver = Driver::start(&range, &kind, folder.path(), &fire)?;
    let outcome = shoot(&range, &kind.probes, goal(), &fire, |_| driver.step().map(|()| true))?;
    report(kind.name, &outcome)?;
    too_slow(&outcome)?;
    let table = driver.text();
    driver.finish().context("after the last update")?;
    judge(&kind.probes, &outcome)?;
    controls(&range, &kind.probes, &table, &folder)
}

/// The controls: both kinds of wrong fate are seen where they are known to be.
///
/// # Errors
/// When one is not seen.
pub fn controls(range: &Range, probes: &[Probe], table: &str, folder: &Folder) -> Result<()> {
    let ours = (compiler::scaffold::table(), table);
    let wrong = |outcome: &Outcome| outcome.wrongly_passed + outcome.wrongly_dropped > 0;
    let ours = (ours.0.as_str(), ours.1);
    let outcome = control::recreate(range, probes, ours, folder.path(), wrong)?;
    report("  control: our table deleted and made anew", &outcome)?;
    ensure!(wrong(&outcome), "the control did not leak: this test would not see a leak");

    let (name, script) = control::verdicts(range, probes);
    control::set(range, &format!("delete table inet {}\n{script}", ours.0))?;
    let passed = |outcome: &Outcome| outcome.wrongly_passed > 0;
    let outcome = control::recreate(range, probes, (name, &script), folder.path(), passed)?;
    report("  control: a map of verdicts made anew", &outcome)?;
    ensure!(passed(&outcome), "the control did not leak: this test would not see a leak");
    Ok(())
}

/// Whether all went as it must.
///
/// # Errors
/// What did not, with the counts of each probe.
pub fn judge(probes: &[Probe], outcome: &Outcome) -> Result<()> {
    let mut counts = String::new();
    let mut idle = None;
    for (probe, count) in probes.iter().zip(&outcome.counts) {
        let _ = writeln!(counts, "  {probe:?}: {count:?}");
        let both = count.passed > 0 && count.passed < count.arrived;
        if probe.expect == Expect::Either && !both {
            idle = Some(probe);
        }
    }
    let (passed, dropped) = (outcome.wrongly_passed, outcome.wrongly_dropped);
    ensure!(
        passed == 0 && dropped == 0,
        "{passed} packets passed wrongly, {dropped} were dropped wrongly:\n{counts}"
    );
    ensure!(idle.is_none(), "the updates did not reach {idle:?}:\n{counts}");
    Ok(())
}

/// Prints one row, and before the first one the heads of the columns.
///
/// # Errors
/// When stderr is closed.
pub fn report(name: &str, outcome: &Outcome) -> Result<()> {
    static HEADS: Once = Once::new();
    let mut rows = String::new();
    HEADS.call_once(|| {
        let _ = writeln!(
            rows,
            "\n| update | updates | packets | packets/s | wrongly passed | wrongly dropped |\n\
             |---|---:|---:|---:|---:|---:|"
        );
    });
    let Outcome { updates, packets, wrongly_passed, wrongly_dropped, .. } = outcome;
    let rate = outcome.rate();
    let _ = writeln!(
        rows,
        "| {name} | {updates} | {packets} | {rate:.0} | {wrongly_passed} | {wrongly_dropped} |"
    );
    say(&rows)
}

/// Says so, loudly, when the fire was slower than it should be.
///
/// # Errors
/// When stderr is closed.
pub fn too_slow(outcome: &Outcome) -> Result<()> {
    let rate = outcome.rate();
    if rate >= RATE {
        return Ok(());
    }
    say(&format!(
        "\nSLOW MACHINE: {rate:.0} packets a second, not {RATE:.0}. As many were sent as elsewhere, \
         for longer; what a faster fire would hit may have been missed.\n\n"
    ))
}

/// Writes to stderr. Not through the print macros: the test runner would keep
/// it to itself.
///
/// # Errors
/// When stderr is closed.
pub fn say(text: &str) -> Result<()> {
    std::io::stderr().write_all(text.as_bytes()).context("write to stderr")
}
