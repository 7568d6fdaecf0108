//! One build follows another whose table differs, there and back, under fire.
//!
//! The other build is this program with other words in it (`kubebed::other_build`).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::other_build;
use kubebed::outpost::{NODE, Outpost, always, under_fire};
use kubebed::world::PATIENCE;
use netbed::program;
use samples::scratch::Folder;

#[test]
fn builds_with_different_tables_follow_each_other() -> Result<()> {
    let folder = Folder::new("builds")?;
    let [ours, other] = [program::path()?, folder.path().join("nftpol")];
    other_build::write(&ours, &other)?;
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
    let [ours, other] = [other_build::SET, other_build::OTHER_SET];
    ensure!(first.contains(other) && !first.contains(ours), "{first}");
    ensure!(second.contains(ours) && !second.contains(other), "{second}");
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
