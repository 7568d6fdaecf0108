//! One agent follows another, and one version follows another. The table stays and
//! packets are not affected.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{
    CLIENT, NODE, Outpost, STRANGER, TOGGLED, Table, always, isolates, probe, toggle, under_fire,
};
use kubebed::world::PATIENCE;
use netbed::fire::{Expect, Range, nft};
use policy::Direction::Ingress;
use ruleset::{Name, Ruleset, text};

/// Where the second agent serves its pages when it does not use the first agent's
/// address.
const ELSEWHERE: &str = "127.0.0.1:9479";

#[test]
fn takeovers() -> Result<()> {
    let outpost = Outpost::new()?;
    let mut table = outpost.table()?;
    second_agent(&outpost, &mut table, &["--health-address", ELSEWHERE])?;
    second_agent(&outpost, &mut table, &[])?;
    for name in ["nftpol-2", "nftpol-0"] {
        other_version(&outpost, &mut table, name)?;
        older_policies(&outpost, &mut table, name)?;
    }
    outpost.settled()
}

/// The second agent waits while the first one lives. It takes the table over and
/// changes nothing in it.
fn second_agent(outpost: &Outpost, table: &mut Table, options: &[&str]) -> Result<()> {
    let Outpost { range, .. } = outpost;
    let start = |options| Daemon::start(range.node(), outpost.kubeconfig(), NODE, options);
    let mut first = start(&[])?;
    first.ready_within(PATIENCE)?;
    let mut second = Some(start(options)?);
    if !options.is_empty() {
        let why = "another nftpol enforces in this network namespace";
        second.as_mut().context("gone")?.unready_within(PATIENCE, why)?;
    }
    let mut first = Some(first);
    under_fire(range, "killed, the second agent takes over", &always(range), || {
        let generation = table.generation()?;
        first.take().context("once")?.kill()?;
        let second = second.as_mut().context("gone")?;
        second.ready_within(PATIENCE)?;
        let commits = table.generation()?.0.wrapping_sub(generation.0);
        ensure!(commits == 1, "{commits} commits: {}", second.log());
        ensure!(second.metric("nftpol_batches_total")? == 1.0, "{}", second.log());
        Ok(())
    })?;
    outpost.settled()?;
    second.context("gone")?.stop().map(drop)
}

/// A table of another version that enforces the same, first beside ours, then alone.
fn other_version(outpost: &Outpost, table: &mut Table, name: &str) -> Result<()> {
    let Outpost { range, .. } = outpost;
    let ours = table.dump()?.context("no table")?.ruleset;
    let theirs = renamed(&ours, name)?;
    for alone in [false, true] {
        nft(range.node(), &theirs)?;
        if alone {
            nft(range.node(), &format!("delete table inet {}\n", ours.table))?;
        }
        let what = if alone { "alone" } else { "beside ours" };
        let row = format!("start with {name} {what}");
        under_fire(range, &row, &always(range), || start_and_stop(outpost, table))?;
        ensure!(table.names()? == [ours.table.as_str()], "left: {:?}", table.names()?);
    }
    outpost.settled()
}

/// A table of another version that enforces older policies. Until it is gone, what
/// both tables allow passes, and what ours denies never passes.
fn older_policies(outpost: &Outpost, table: &mut Table, name: &str) -> Result<()> {
    let Outpost { server, range, .. } = outpost;
    let address = range.destination(TOGGLED);
    let both = |expect| {
        let mut probes = always(range);
        probes.push(probe(range, (CLIENT, TOGGLED, 80, Expect::Pass)));
        probes.push(probe(range, (STRANGER, TOGGLED, 80, expect)));
        probes
    };
    let free = table.dump()?.context("no table")?.ruleset;
    server.apply(&toggle())?;
    start_and_stop(outpost, table)?;
    let shut = table.dump()?.context("no table")?.ruleset;
    ensure!(isolates(&shut, Ingress, address) && !isolates(&free, Ingress, address));

    nft(range.node(), &renamed(&free, name)?)?;
    let row = format!("start with an older, wider {name}");
    under_fire(range, &row, &both(Expect::Drop), || start_and_stop(outpost, table))?;
    ensure!(table.names()?.len() == 1, "left: {:?}", table.names()?);
    outpost.settled()?;

    server.kubectl(&["delete", "-f", "-"], &toggle())?.success()?;
    nft(range.node(), &renamed(&shut, name)?)?;
    let row = format!("start with an older, narrower {name}");
    under_fire(range, &row, &both(Expect::Either), || {
        still_shut(range, table)?;
        start_and_stop(outpost, table)
    })?;
    ensure!(table.names()?.len() == 1, "left: {:?}", table.names()?);
    outpost.settled()
}

/// Lets some packets pass before the agent starts.
fn still_shut(range: &Range, table: &mut Table) -> Result<()> {
    std::thread::sleep(Duration::from_millis(50));
    let names = table.names()?;
    ensure!(names.len() == 2, "{}: {names:?}", range.node().name());
    Ok(())
}

fn start_and_stop(outpost: &Outpost, table: &mut Table) -> Result<()> {
    let node = outpost.range.node();
    let mut agent = Daemon::start(node, outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    let log = agent.stop()?;
    ensure!(table.names()?.len() == 1, "{:?}: {log}", table.names()?);
    Ok(())
}

/// The text of a table under another name, as `nftpol render` of another version
/// would print it.
fn renamed(table: &Ruleset, name: &str) -> Result<String> {
    Ok(text::ruleset(&Ruleset { table: Name::new(name)?, ..table.clone() }))
}
