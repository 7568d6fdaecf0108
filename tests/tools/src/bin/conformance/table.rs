//! Results for a terminal. Each failure has its reason.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use kubebed::upstream::{Outcome, Verdict};

use crate::record::Record;

/// Counts of one suite.
#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub not_run: usize,
    /// The sum for all specs, as if they had run one after another.
    pub time: Duration,
}

/// The suites of a record, each with its counts.
pub fn tallies(record: &Record) -> BTreeMap<&str, Tally> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for outcome in &record.outcomes {
        let tally = tallies.entry(&outcome.spec.suite).or_default();
        match outcome.verdict {
            Verdict::Passed => tally.passed += 1,
            Verdict::Failed(_) => tally.failed += 1,
            Verdict::NotRun(_) => tally.not_run += 1,
        }
        tally.time += outcome.time;
    }
    tallies
}

/// The line for a spec that has ended.
pub fn line(outcome: &Outcome) -> String {
    let verdict = match &outcome.verdict {
        Verdict::Passed => "passed",
        Verdict::Failed(_) => "FAILED",
        Verdict::NotRun(_) => "NOT RUN",
    };
    let seconds = outcome.time.as_secs_f32();
    let mut line = format!("{verdict} in {seconds:5.1} s  {}", outcome.spec.name);
    if let Verdict::NotRun(why) = &outcome.verdict {
        let _ = write!(line, ": {why}");
    }
    if outcome.cells.any_wrong() {
        let cells = &outcome.cells;
        let tries = [cells.first_tries, cells.later_tries];
        let _ = write!(
            line,
            "\n    wrong: {} at the end, {} for ten seconds",
            cells.wrong, cells.wrong_for_long
        );
        let _ = write!(line, ", first tries {}, later {}", tries[0], tries[1]);
        let _ = write!(line, ", to itself {}", cells.itself_refused);
        for said in &cells.shown {
            let _ = write!(line, "\n      {said}");
        }
    }
    line
}

/// The whole table.
pub fn of(records: &[Record]) -> String {
    let mut text = String::new();
    let head = ("network", "suite", "passed", "failed", "not run", "seconds");
    let _ = writeln!(
        text,
        "\n{:<20} {:<50} {:>7} {:>7} {:>8} {:>8}",
        head.0, head.1, head.2, head.3, head.4, head.5
    );
    for record in records {
        for (suite, tally) in tallies(record) {
            let Tally { passed, failed, not_run, time } = tally;
            let seconds = time.as_secs_f32();
            let _ = writeln!(
                text,
                "{:<20} {suite:<50} {passed:>7} {failed:>7} {not_run:>8} {seconds:>8.1}",
                record.network
            );
        }
    }
    for record in records {
        let cells = record.cells();
        let _ = writeln!(
            text,
            "\n{}: {:.0} s; {} answers between two pods: {} wrong at the end, {} wrong for ten seconds, \
             wrong first tries {}, later tries {}; {} of a pod and itself: {} refused",
            record.network,
            record.time.as_secs_f32(),
            cells.pairs,
            cells.wrong,
            cells.wrong_for_long,
            cells.first_tries,
            cells.later_tries,
            cells.itself,
            cells.itself_refused
        );
        for outcome in &record.outcomes {
            if let Verdict::Failed(why) = &outcome.verdict {
                let why = why.replace('\n', "\n    ");
                let _ = writeln!(text, "  FAILED: {}\n    {why}", outcome.spec.name);
            }
        }
    }
    text
}
