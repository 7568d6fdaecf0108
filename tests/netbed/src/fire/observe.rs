//! Counts every packet on both sides of the forward hook.
//!
//! Returns, for each probe, the packets that arrived and passed. Never: a change of
//! the table under test. The observer has its own table.
//!
//! | hook | priority | what |
//! |---|---|---|
//! | prerouting | raw (-300) | count; connection tracking comes at -200 |
//! | forward | filter - 1 | the table under test |
//! | postrouting | filter (0) | count, drop; connection tracking confirms at the very end |

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::net::Namespace;

/// Name of the observer's table, family `inet`.
pub const TABLE: &str = "observe";

/// The packets counted for one probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCount {
    /// Packets that came in from the pod.
    pub arrived: u64,
    /// Packets that passed the forward hook.
    pub passed: u64,
}

/// Replaces the table and sets all counters to zero.
///
/// # Errors
/// When nft(8) refuses.
pub fn start(node: &Namespace, probes: usize) -> Result<()> {
    nft(node, &script(probes))
}

/// Reads the counters, one pair for each probe.
///
/// # Errors
/// When nft(8) fails, or shows other counters than those of [`start`].
pub fn read(node: &Namespace, probes: usize) -> Result<Vec<ProbeCount>> {
    let mut command = node.command("nft");
    let output = command.args(["list", "table", "inet", TABLE]).output().context("start nft")?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    let counters = parse(&String::from_utf8_lossy(&output.stdout));
    let counter = |name: String| counters.get(&name).copied().context(name);
    (1..=probes)
        .map(|tag| {
            let arrived = counter(format!("arrived{tag}"))?;
            Ok(ProbeCount { arrived, passed: counter(format!("passed{tag}"))? })
        })
        .collect()
}

/// Loads a script as one batch for nft(8).
///
/// # Errors
/// When nft(8) refuses it, with its message.
pub fn nft(node: &Namespace, script: &str) -> Result<()> {
    let mut command = node.command("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start nft (Debian package nftables)")?;
    // A broken pipe means that nft gave up; its message says why.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().context("wait for nft")?;
    ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    written.transpose().context("write to nft")?;
    Ok(())
}

/// The script that replaces the table.
pub fn script(probes: usize) -> String {
    let mut script = format!("table inet {TABLE}\ndelete table inet {TABLE}\n");
    let _ = writeln!(script, "table inet {TABLE} {{");
    for (chain, hook, priority, end) in
        [("arrived", "prerouting", -300, "accept"), ("passed", "postrouting", 0, "drop")]
    {
        let tags: Vec<String> =
            (1..=probes).map(|tag| format!("{tag} : \"{chain}{tag}\"")).collect();
        let tags = tags.join(", ");
        for tag in 1..=probes {
            let _ = writeln!(script, "counter {chain}{tag} {{ packets 0 bytes 0; }}");
        }
        let _ = writeln!(
            script,
            "chain {chain} {{ type filter hook {hook} priority {priority}; policy accept;
               meta l4proto != udp accept
               meta nfproto != ipv4 accept
               ip id > {probes} accept
               ip id 0 accept
               counter name ip id map {{ {tags} }} {end}
             }}"
        );
    }
    script.push_str("}\n");
    script
}

/// Counters by name in what `nft list table` prints:
/// `counter NAME {`, then `packets N bytes N`.
fn parse(listing: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    let mut name = None;
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["counter", counter, "{"] => name = Some(counter.to_owned()),
            ["packets", packets, "bytes", _] => {
                if let (Some(name), Ok(packets)) = (name.take(), packets.parse()) {
                    counters.insert(name, packets);
                }
            }
            _ => {}
        }
    }
    counters
}
