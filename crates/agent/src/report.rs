//! Output for people and programs: results on stdout; findings, diagnostics
//! and errors on stderr.
//!
//! Never: a panic when nobody reads it, as the print macros do. A process that
//! enforces outlives the terminal that it was started from.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use nft::{ForeignKind, ForeignObject};
use ruleset::TableId;

use crate::pipeline::{Outcome, TableOutcome};

/// Text on stdout, unchanged. A reader that closed the pipe (`| head -1`) is no
/// error: it has what it wanted.
///
/// # Errors
/// When it cannot be written, such as on a full disk.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

/// An error with its causes, on one line.
pub fn error(error: &anyhow::Error) {
    line(format_args!("error: {error:#}"));
}

/// A line for each item.
pub fn lines<T: Display>(items: impl IntoIterator<Item = T>) {
    for item in items {
        line(item);
    }
}

/// Something is wrong but stops nothing.
pub fn warning(text: impl Display) {
    line(format_args!("warning: {text}"));
}

/// Something worth knowing that is no error.
pub fn notice(text: impl Display) {
    line(format_args!("notice: {text}"));
}

fn line(text: impl Display) {
    // There is no other stream to report a failure to.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Lists what others put into a table of ours.
pub fn foreign(table: &TableId, objects: &[ForeignObject]) {
    for ForeignObject { kind, name, why } in objects {
        let kind = match kind {
            ForeignKind::Table | ForeignKind::Unownable => "table",
            ForeignKind::Set => "set",
            ForeignKind::Chain => "chain",
            ForeignKind::Object => "object",
            ForeignKind::Flowtable => "flowtable",
        };
        notice(format_args!(
            "table {table} holds {kind} {name}, which is not ours ({why}); it is left alone"
        ));
    }
}

/// What a change did: a line on stdout for each table in kubectl's style,
/// diagnostics on stderr. A bridge table that is not there has no line.
///
/// # Errors
/// As [`fn@print`]. The change itself is done.
pub fn outcome(outcome: &Outcome) -> Result<()> {
    lines(&outcome.diagnostics);
    let mut text = String::new();
    for table in &outcome.tables {
        foreign(&table.id, &table.foreign);
        text += &changed(table);
    }
    print(&text)
}

fn changed(table: &TableOutcome) -> String {
    let TableOutcome { id, batches, operations, exists, .. } = table;
    match (exists, batches) {
        (true, 0) => format!("table {id} unchanged\n"),
        (false, 0) => String::new(),
        (false, _) => format!("table {id} deleted\n"),
        (true, batches) => format!(
            "table {id} configured ({} in {})\n",
            counted(*operations, "operation", "operations"),
            counted(*batches, "batch", "batches")
        ),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}
