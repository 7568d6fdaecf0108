//! Runs work that gives way to everything else on the machine.
//!
//! Out: the words to put before a command. Never: a program that Debian lacks
//! by default.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// chrt(1) of util-linux. A SCHED_IDLE process (sched(7)) runs only when no other
/// wants to, and is preempted at once. Tests that measure time do not notice it.
const CHRT: &[&str] = &["chrt", "--idle", "0"];
/// nice(1) of coreutils, if chrt is missing.
const NICE: &[&str] = &["nice", "-n", "19"];

/// The words to put before such a command.
pub fn words() -> &'static [&'static str] {
    static WORDS: OnceLock<&[&str]> = OnceLock::new();
    WORDS.get_or_init(|| [CHRT, NICE].into_iter().find(|words| starts(words)).unwrap_or(&[]))
}

/// A program with these words before it, not yet started.
pub fn command(before: &[&str], program: &Path) -> Command {
    let mut words = before.iter().map(Path::new).chain([program]);
    let mut command = Command::new(words.next().unwrap_or(program));
    command.args(words);
    command
}

/// Whether a command that starts so succeeds.
fn starts(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
