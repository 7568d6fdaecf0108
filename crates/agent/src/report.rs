//! Output for people and programs: results on stdout; findings, diagnostics
//! and errors on stderr.
//!
//! Never: a panic when nobody reads it, as the print macros do. A process that
//! enforces outlives the terminal that it was started from. Once [`never_wait`] was called,
//! no reader stops it either.

mod recent;

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use nft::{ForeignKind, ForeignObject};
use nix::fcntl::OFlag;
use nix::unistd::dup2_stderr;
use policy::Diagnostic;
use ruleset::TableId;

use crate::lines::Lines;
use crate::pipeline::{Outcome, TableOutcome};
use recent::Recent;

/// How long a process that ends waits for the reader of its last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The lines of a process that enforces as long as it runs.
static QUEUES: OnceLock<Queues> = OnceLock::new();

/// The last lines on stderr of such a process.
static RECENT: Recent = Recent::new();

#[derive(Debug)]
struct Queues {
    stdout: Lines,
    stderr: Lines,
}

/// From now on a thread of its own writes what this module prints, and the messages of
/// panics. A reader that stops reading costs lines ([`lost`]) and stops nothing else.
/// Call [`finish`] before the process ends.
///
/// # Errors
/// The system gives no descriptor or no thread.
pub fn never_wait() -> Result<()> {
    let queues = || {
        let (stdout, stderr) = (Lines::to(io::stdout())?, Lines::to(io::stderr())?);
        io::Result::Ok(Queues { stdout, stderr })
    };
    let queues = queues().context("start a thread that writes the log")?;
    if QUEUES.set(queues).is_ok() {
        // Without it, only the message of a process that finds no memory could wait.
        drop(never_block_stderr());
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            line(format_args!("thread {:?} {panic}", thread.name().unwrap_or("without a name")));
        }));
    }
    Ok(())
}

/// What the standard library itself writes on stderr, such as the last words of a process
/// that finds no memory (`handle_alloc_error`), must not wait for a reader either: the
/// process would neither end nor answer. Opening a pipe anew gives a description with
/// flags of its own (proc_pid_fd(5)), so those who share the old one notice nothing.
///
/// # Errors
/// Stderr cannot be opened anew, for example a socket. It stays as it was.
fn never_block_stderr() -> io::Result<()> {
    let flags = OFlag::O_NONBLOCK.bits();
    let again = OpenOptions::new().append(true).custom_flags(flags).open("/proc/self/fd/2")?;
    Ok(dup2_stderr(again)?)
}

/// Lines lost since the start, because nobody read them in time.
pub fn lost() -> u64 {
    QUEUES.get().map_or(0, |queues| queues.stdout.lost() + queues.stderr.lost())
}

/// The last lines of the log, for those who ask later.
pub fn recent() -> String {
    RECENT.text()
}

/// Waits a moment until the last lines are written.
pub fn finish() {
    if let Some(Queues { stdout, stderr }) = QUEUES.get() {
        stderr.finish(LAST_LINES);
        stdout.finish(LAST_LINES);
    }
}

/// Text on stdout, unchanged. A reader that closed the pipe (`| head -1`) is no
/// error: it has what it wanted.
///
/// # Errors
/// When it cannot be written, such as on a full disk.
pub fn print(text: &str) -> Result<()> {
    if let Some(queues) = QUEUES.get() {
        text.lines().for_each(|line| queues.stdout.push(line));
        return Ok(());
    }
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

/// The first items of a list: `a, b and 7 more`.
pub fn some<T: Display>(items: impl ExactSizeIterator<Item = T>, at_most: usize) -> String {
    let more = items.len().saturating_sub(at_most);
    let shown: Vec<String> = items.take(at_most).map(|item| item.to_string()).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
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

/// A piece of the log: what is written to it becomes a line on stderr when it is dropped.
#[derive(Debug, Default)]
pub struct LogLine(Vec<u8>);

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        line(String::from_utf8_lossy(&self.0).trim_end_matches('\n'));
    }
}

/// A line on stderr, in one piece.
fn line(text: impl Display) {
    let text = text.to_string();
    match QUEUES.get() {
        Some(queues) => {
            RECENT.add(&text);
            queues.stderr.push(&text);
        }
        // There is no other stream to report a failure to.
        None => {
            let _ = io::stderr().lock().write_all((text + "\n").as_bytes());
        }
    }
}

/// A line of the log about an object. The log's level is that of the line, so the
/// diagnostic's own word for it is left out.
pub fn diagnosed(diagnostic: &Diagnostic) {
    let text = diagnostic.to_string();
    let text = text.strip_prefix(&format!("{}: ", diagnostic.severity)).unwrap_or(&text);
    tracing::warn!(object = %diagnostic.object, kind = diagnostic.kind, "{text}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let shown = |count| some(0..count, 3);
        assert_eq!(
            [0, 1, 3, 4, 100].map(shown),
            ["", "0", "0, 1, 2", "0, 1, 2 and 1 more", "0, 1, 2 and 97 more"]
        );
    }
}
