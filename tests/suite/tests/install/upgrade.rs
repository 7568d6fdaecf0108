//! One build follows another whose table differs, there and back, under fire.
//!
//! The other build is this program with other words in it: names of the sets that the base
//! chain asks, of sets that rules write to, and comments. So the two tables differ in every
//! chain, and neither program knows the other's names.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost, always, under_fire};
use kubebed::world::PATIENCE;
use netbed::program;
use samples::scratch::Folder;

/// Texts of the program of equal length, and what the other build has instead.
const WORDS: [(&[u8], &[u8]); 4] = [
    (b"pods of this node isolated for ", b"pods of that node isolated for "),
    // Before it is its length (a piece of `format!`).
    (b"\tisolated.", b"\tizolated."),
    (b"logged.", b"lagged."),
    (b"isolated by ", b"isolated of "),
];

#[test]
fn builds_with_different_tables_follow_each_other() -> Result<()> {
    let folder = Folder::new("builds")?;
    let [ours, other] = [program::path()?, folder.path().join("nftpol")];
    other_build(&ours, &other)?;
    let outpost = Outpost::new()?;
    let mut table = outpost.table()?;
    let mut names = Vec::new();
    let mut at_work = Some(start(&outpost, &other)?);
    names.push(sets(&outpost)?);
    // Upgrade, rollback, upgrade.
    for (row, next) in [("upgrade", &ours), ("rollback", &other), ("upgrade again", &ours)] {
        let mut before = at_work.take();
        under_fire(&outpost.range, row, &always(&outpost.range), || {
            before.take().context("once")?.stop()?;
            at_work = Some(start(&outpost, next)?);
            Ok(())
        })?;
        ensure!(table.names()?.len() == 1, "left: {:?}", table.names()?);
        names.push(sets(&outpost)?);
    }
    let [first, second, third, fourth] = &names[..] else { anyhow::bail!("{names:?}") };
    ensure!(first.contains("izolated.i4") && !first.contains("isolated.i4"), "{first}");
    ensure!(second.contains("isolated.i4") && !second.contains("izolated.i4"), "{second}");
    ensure!(third == first && fourth == second, "{third}{fourth}");
    at_work.context("none")?.stop()?;
    outpost.settled()
}

fn start<'a>(outpost: &'a Outpost, program: &Path) -> Result<Daemon<'a>> {
    let node = outpost.range.node();
    let command = node.command(program);
    let mut agent = Daemon::of(node, command, outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    Ok(agent)
}

/// The names of the sets in the kernel, in order.
fn sets(outpost: &Outpost) -> Result<String> {
    let mut command = outpost.range.node().command("nft");
    let output = command.args(["-t", "list", "table", "inet", "nftpol"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().map(str::trim).filter(|line| line.starts_with("set "));
    let names: BTreeSet<&str> = names.collect();
    Ok(names.into_iter().map(|line| format!("{line}\n")).collect())
}

fn other_build(ours: &Path, to: &Path) -> Result<()> {
    let mut bytes = fs::read(ours).context("read the program")?;
    for (from, into) in WORDS {
        assert_eq!(from.len(), into.len());
        let mut found = 0;
        let mut at = 0;
        while let Some(next) = position(&bytes[at..], from) {
            at += next;
            bytes[at..at + into.len()].copy_from_slice(into);
            found += 1;
        }
        ensure!(found > 0, "no {:?} in the program", String::from_utf8_lossy(from));
    }
    fs::write(to, bytes)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

fn position(bytes: &[u8], word: &[u8]) -> Option<usize> {
    let first = *word.first()?;
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(word) {
            return Some(at);
        }
        at += 1;
    }
}
