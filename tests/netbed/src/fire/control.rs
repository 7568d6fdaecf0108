//! Updates that are known to leak. A test that does not see these leaks would see
//! no others.
//!
//! The control deletes the table and adds it again in one batch, over and over.
//! While such a batch commits, a packet can meet the new base chain before the
//! commit, when the chain is still empty. It can meet the old one after the commit,
//! when its maps are empty. So neither table judges it.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::net::Namespace;

use super::gun::Fire;
use super::observe::{self, nft};
use super::shoot::judge;
use super::{Expect, Goal, Outcome, Probe, Range, shoot};

/// Commits in one run of nft(8).
const COMMITS: usize = 200;
/// It must have leaked after this many runs.
const RUNS: u64 = 500;
/// How many packets show what a table does while nothing changes.
const STILL: u64 = 10_000;
/// Name of the table that [`verdicts`] creates.
const TABLE: &str = "control";

/// Replaces a table again and again until a packet meets the wrong fate. `script`
/// creates the table, `table` is its name in family `inet`. The table must already
/// exist.
///
/// # Errors
/// When nft(8) fails. A missing leak is no error here.
pub fn recreate(
    range: &Range,
    probes: &[Probe],
    (table, script): (&str, &str),
    folder: &Path,
    leaked: impl Fn(&Outcome) -> bool,
) -> Result<Outcome> {
    let file = folder.join("recreate.nft");
    fs::write(&file, format!("delete table inet {table}\n{script}")).context("write a script")?;
    let fire = Fire::default();
    let still = shoot(range, probes, Goal { updates: 0, packets: STILL }, &fire, |_| Ok(true))?;
    ensure!(
        still.wrongly_passed == 0 && still.wrongly_dropped == 0,
        "the control table gives wrong verdicts without any update: {still:?}"
    );
    let goal = Goal { updates: RUNS, packets: 0 };
    let outcome = shoot(range, probes, goal, &fire, |_| {
        commits(range.node(), &file)?;
        let counts = observe::read(range.node(), probes.len())?;
        Ok(!leaked(&judge(probes, counts, 0, 0.0)))
    })?;
    Ok(Outcome { updates: outcome.updates * COMMITS as u64, ..outcome })
}

/// A table that gives every probe its verdict from one map, and the table's name. A
/// failed look-up lets the packet pass.
pub fn verdicts(range: &Range, probes: &[Probe]) -> (&'static str, String) {
    let element = |probe: &Probe| {
        let verdict = if probe.expect == Expect::Drop { "drop" } else { "accept" };
        let (source, Probe { destination, port, .. }) = (range.source(probe.source), probe);
        format!("{source} . {destination} . {port} : {verdict}")
    };
    let elements: Vec<String> = probes.iter().map(element).collect();
    let script = format!(
        "table inet {TABLE} {{
           map verdicts {{
             type ipv4_addr . ipv4_addr . inet_service : verdict
             elements = {{ {} }}
           }}
           chain forward {{
             type filter hook forward priority filter - 1; policy accept;
             ct state established,related accept
             ip saddr . ip daddr . udp dport vmap @verdicts
           }}
         }}\n",
        elements.join(", ")
    );
    (TABLE, script)
}

/// Creates a table from `script`, or deletes it.
///
/// # Errors
/// When nft(8) fails.
pub fn set(range: &Range, script: &str) -> Result<()> {
    nft(range.node(), script)
}

/// Commits a script many times in one process. In interactive mode each line
/// is a batch of its own (nft(8), option -i).
fn commits(node: &Namespace, file: &Path) -> Result<()> {
    let mut command = node.command("nft");
    command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start nft")?;
    let lines = format!("include \"{}\"\n", file.display()).repeat(COMMITS);
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().context("wait for nft")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "nft -i: {said}");
    written.transpose().context("write to nft")?;
    Ok(())
}
