//! A complete run of one kind of update, with its controls and its report.
//!
//! Prints rows of a table on stderr. Fails when a packet met the wrong fate, or
//! when the controls show that the test would not see such a packet. The result
//! must not depend on the speed of the machine.

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

/// Packets per second that a run should reach.
const RATE: f64 = 100_000.0;

/// How much is enough. `NFTPOL_FIRE=long` makes it twenty times as much.
pub fn goal() -> Goal {
    let long = std::env::var_os("NFTPOL_FIRE").is_some_and(|value| value == "long");
    let times = if long { 20 } else { 1 };
    Goal { updates: 5_000 * times, packets: 1_000_000 * times }
}

/// Runs one kind of update.
///
/// # Errors
/// When packets passed or dropped wrongly, when a control saw no leak, or when a
/// step failed.
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

/// Runs the controls. Each causes a wrong fate on purpose, and the test must see
/// it.
///
/// # Errors
/// When a wrong fate is not seen.
pub fn controls(range: &Range, probes: &[Probe], table: &str, folder: &Folder) -> Result<()> {
    let ours = (compiler::scaffold::table(), table);
    let wrong = |outcome: &Outcome| outcome.wrongly_passed + outcome.wrongly_dropped > 0;
    let ours = (ours.0.as_str(), ours.1);
    let outcome = control::recreate(range, probes, ours, folder.path(), wrong)?;
    report("  control: our table deleted and added again", &outcome)?;
    ensure!(wrong(&outcome), "the control did not leak: this test would not see a leak");

    let (name, script) = control::verdicts(range, probes);
    control::set(range, &format!("delete table inet {}\n{script}", ours.0))?;
    let passed = |outcome: &Outcome| outcome.wrongly_passed > 0;
    let outcome = control::recreate(range, probes, (name, &script), folder.path(), passed)?;
    report("  control: a map of verdicts deleted and added again", &outcome)?;
    ensure!(passed(&outcome), "the control did not leak: this test would not see a leak");
    Ok(())
}

/// Checks the result of a run.
///
/// # Errors
/// Everything that is wrong, with the counts of each probe.
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

/// Prints one row, and the column heads before the first one.
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

/// Warns loudly when the fire was slower than it should be.
///
/// # Errors
/// When stderr is closed.
pub fn too_slow(outcome: &Outcome) -> Result<()> {
    let rate = outcome.rate();
    if rate >= RATE {
        return Ok(());
    }
    say(&format!(
        "\nSLOW MACHINE: {rate:.0} packets a second, not {RATE:.0}. The run took longer and \
         sent as many packets. Faster fire might have found more.\n\n"
    ))
}

/// Writes to stderr. The print macros would not do: the test runner captures their
/// output.
///
/// # Errors
/// When stderr is closed.
pub fn say(text: &str) -> Result<()> {
    std::io::stderr().write_all(text.as_bytes()).context("write to stderr")
}
