//! Runs work that gives way to everything else on the machine.
//!
//! Returns the words that start a command this way. Never: a program that a base
//! Debian lacks.

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

/// Whether a command with these words before it succeeds.
fn starts(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("true").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
