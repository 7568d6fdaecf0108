//! Other programs change our table, where the kernel lets them. The agent notices, restores the table, counts the
//! repair, and ends the connections that were let in meanwhile. Each row shows how
//! long that took and which packets passed.

use std::net::IpAddr;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use compiler::scaffold;
use kubebed::daemon::Daemon;
use kubebed::outpost::{
    NODE, OPEN, Outpost, SERVER, STRANGER, Table, always, fire_at, ingress, under_fire,
};
use kubebed::world::PATIENCE;
use netbed::conntrack::{Entry, create};
use netbed::fire::{Probe, Range, nft, observer, say};
use netbed::net::Namespace;
use nft::Conntrack;
use nix::sys::signal::Signal;
use policy::Direction::{Egress, Ingress};
use ruleset::{Family, Name, Ruleset, text};

/// Long enough for the agent to look for denied flows twice.
const SWEPT: Duration = Duration::from_millis(1500);

/// Damage that rules out a repair step by step, while the table still enforces.
const PRIORITY: &str = "another priority";
const OF_OTHER_TYPE: &str = "a set of another type";
const IN_THE_WAY: &str = "a foreign set of this name";
const IN_THE_WAY_FOR_LONG: &str = "a foreign set of this name that was seen before";

/// What another program does to our table.
struct Damage {
    name: &'static str,
    script: String,
    /// Whether packets pass that must not.
    opens: bool,
    /// Whether packets are dropped that must pass.
    shuts: bool,
}

#[test]
fn repairs() -> Result<()> {
    let outpost = Outpost::new()?;
    let mut agent =
        Daemon::start(outpost.range.node(), outpost.kubeconfig(), NODE, &["--table-owner=off"])?;
    agent.ready_within(PATIENCE)?;
    outpost.settled()?;
    let mut table = outpost.table()?;
    let ours = table.dump()?.context("no table")?.ruleset;
    say("\n| damage | restored after | let in | kept out |\n|---|---:|---:|---:|\n")?;
    let probes = always(&outpost.range);
    for damage in damages(&outpost.range, &ours, probes.len())? {
        repaired(&outpost, &agent, &ours, &damage).with_context(|| damage.name)?;
    }
    outpost.settled()?;
    left_alone(&outpost, &agent, &mut table)?;
    for name in [PRIORITY, OF_OTHER_TYPE, IN_THE_WAY, IN_THE_WAY_FOR_LONG] {
        replaced(&outpost, &agent, &mut table, name).with_context(|| name)?;
    }
    outpost.settled()?;
    ensure!(agent.metric("nftpol_syncs_total{result=\"failed\"}")? == 0.0, "{}", agent.log());
    agent.stop().map(drop)
}

fn damages(range: &Range, ours: &Ruleset, probes: usize) -> Result<Vec<Damage>> {
    let (opens, shuts) = ((true, false), (false, true));
    // Deleting a table also drops the packets that are passing through it.
    let both = (true, true);
    let server = range.destination(SERVER);
    let isolated = scaffold::isolated_set(Ingress, Family::V4);
    let map = scaffold::dispatch(Ingress, Family::V4);
    let chain = ours.maps[&map].entries[&IpAddr::V4(server)].clone();
    let rule = first_rule(range.node(), &chain)?;
    let (leash, stranger) = (scaffold::dispatch(Egress, Family::V4), range.source(STRANGER));
    let damage = |name, (opens, shuts), script: String| Damage { name, script, opens, shuts };
    Ok(vec![
        damage("ruleset flushed", both, format!("flush ruleset\n{}", observer(probes))),
        damage("table deleted", both, "delete table inet nftpol".to_owned()),
        damage("base chain flushed", opens, "flush chain inet nftpol forward".to_owned()),
        damage("rule deleted", shuts, format!("delete rule inet nftpol {chain} handle {rule}")),
        damage("chain opened", opens, format!("insert rule inet nftpol {chain} accept")),
        damage("chain emptied", opens, format!("flush chain inet nftpol {chain}")),
        damage(
            "address isolated",
            shuts,
            format!("add element inet nftpol {isolated} {{ {} }}", range.destination(OPEN)),
        ),
        damage(
            "address released",
            opens,
            format!("delete element inet nftpol {isolated} {{ {server} }}"),
        ),
        damage(
            "map entry deleted",
            shuts,
            format!("delete element inet nftpol {map} {{ {server} }}"),
        ),
        damage(
            "map entry of the sender deleted",
            shuts,
            format!("delete element inet nftpol {leash} {{ {stranger} }}"),
        ),
        damage("table dormant", opens, "add table inet nftpol { flags dormant; }".to_owned()),
        damage(
            "base chain drops by policy",
            shuts,
            "add chain inet nftpol forward { policy drop; }".to_owned(),
        ),
        damage(
            "base chain on another hook",
            opens,
            "flush chain inet nftpol forward
             delete chain inet nftpol forward
             add chain inet nftpol forward { type filter hook output priority 0; policy accept; }"
                .to_owned(),
        ),
        damage(
            "table deleted and recreated empty",
            both,
            "delete table inet nftpol\nadd table inet nftpol".to_owned(),
        ),
    ])
}

/// The handle of a chain's first rule.
fn first_rule(node: &Namespace, chain: &Name) -> Result<String> {
    let arguments = ["-a", "list", "chain", "inet", "nftpol", chain.as_str()];
    let output = node.command("nft").args(arguments).output().context("start nft")?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut handles = listing.lines().skip(2).filter_map(|line| line.split("# handle ").nth(1));
    handles.next().map(str::to_owned).with_context(|| format!("no rule in {listing}"))
}

/// Does the damage under fire and waits for the repair.
fn repaired(outpost: &Outpost, agent: &Daemon<'_>, ours: &Ruleset, damage: &Damage) -> Result<()> {
    let range = &outpost.range;
    let probes: Vec<Probe> = always(range);
    if damage.opens {
        // The sweeps of earlier repairs must be over: they must not find the flow of
        // this one.
        sleep(SWEPT);
    }
    let before = agent.metric("nftpol_repairs_total")?;
    let mut took = Duration::ZERO;
    let outcome = fire_at(range, &probes, || {
        if damage.opens {
            range.node().run(|| create(&[intruder(range)]))??;
        }
        let mut eye = outpost.table()?;
        let generation = eye.generation()?;
        took = thread::scope(|scope| -> Result<Duration> {
            let watching = scope.spawn(|| {
                while eye.generation()? == generation {
                    sleep(Duration::from_micros(200));
                }
                let changed = Instant::now();
                restored(&mut eye, ours)?;
                anyhow::Ok(changed.elapsed())
            });
            nft(range.node(), &damage.script)?;
            watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        Ok(())
    })?;
    let (let_in, kept_out) = (outcome.wrongly_passed, outcome.wrongly_dropped);
    say(&format!("| {} | {took:.1?} | {let_in} | {kept_out} |\n", damage.name))?;
    ensure!(damage.opens || let_in == 0, "let in: {:?}", outcome.counts);
    ensure!(damage.shuts || kept_out == 0, "kept out: {:?}", outcome.counts);
    wait("the repair to be counted", agent, || Ok(agent.metric("nftpol_repairs_total")? > before))?;
    if damage.opens {
        let tuple = intruder(range).original;
        let mut flows = range.node().run(Conntrack::open)??;
        wait("the intruder to go", agent, || Ok(flows.get(&tuple, 0)?.is_none()))?;
    }
    ensure!(outpost.table()?.names()?.len() == 1, "{}", agent.log());
    Ok(())
}

/// Waits until the table is ours again.
fn restored(eye: &mut Table, ours: &Ruleset) -> Result<()> {
    let (start, mut last) = (Instant::now(), None);
    loop {
        let generation = eye.generation()?;
        if last != Some(generation) {
            last = Some(generation);
            let dump = eye.dump()?;
            if dump.is_some_and(|dump| dump.ruleset == *ours && dump.foreign.is_empty()) {
                return Ok(());
            }
        }
        ensure!(start.elapsed() < PATIENCE, "not restored: {:?}", eye.dump()?);
        sleep(Duration::from_micros(200));
    }
}

/// A flow that the policies deny.
fn intruder(range: &Range) -> Entry {
    let (from, to) = (range.source(STRANGER), range.destination(SERVER));
    Entry::plain((from.into(), 999), (to.into(), 80), 17)
}

fn wait(what: &str, agent: &Daemon<'_>, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PATIENCE, "still waiting for {what}: {}", agent.log());
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Foreign objects that disturb nothing stay. They do not count as repairs.
fn left_alone(outpost: &Outpost, agent: &Daemon<'_>, table: &mut Table) -> Result<()> {
    let node = outpost.range.node();
    let before = agent.metric("nftpol_repairs_total")?;
    let synced = "nftpol_syncs_total{result=\"ok\"}";
    let looked = agent.metric(synced)?;
    nft(node, "add counter inet nftpol theirs\nadd set inet nftpol marks { type mark; }\n")?;
    wait("the agent to look", agent, || Ok(agent.metric(synced)? > looked))?;
    let foreign = table.dump()?.context("no table")?.foreign;
    ensure!(foreign.len() == 2, "{foreign:?}: {}", agent.log());
    ensure!(agent.metric("nftpol_repairs_total")? == before, "{}", agent.log());
    outpost.settled()?;
    nft(node, "delete counter inet nftpol theirs\ndelete set inet nftpol marks\n")
}

/// A table that still enforces, but cannot become ours step by step. The agent builds
/// a new table beside it, and no packet is affected.
fn replaced(outpost: &Outpost, agent: &Daemon<'_>, table: &mut Table, name: &str) -> Result<()> {
    let Outpost { server, range, .. } = outpost;
    let extra = ingress("extra", "spare", "{podSelector: {matchLabels: {app: nobody}}}", 80);
    let delete = || server.kubectl(&["delete", "-f", "-"], &extra)?.success().map(drop);
    let before = table.dump()?.context("no table")?.ruleset;
    let mut wanted = before.clone();
    if name != PRIORITY {
        server.apply(&extra)?;
        table.until("extra", |now| *now != before)?;
        wanted = table.dump()?.context("no table")?.ruleset;
        delete()?;
        table.until("no extra", |now| *now == before)?;
    }
    // Includes the time for the agent to read its change back.
    sleep(Duration::from_millis(500));
    let counted = agent.metric("nftpol_replacements_total")?;
    let synced = "nftpol_syncs_total{result=\"ok\"}";
    let looked = agent.metric(synced)?;
    agent.signal(Signal::SIGSTOP)?;
    let new = wanted.sets.keys().find(|name| !before.sets.contains_key(*name));
    nft(
        range.node(),
        &match (name, new) {
            (PRIORITY, _) => {
                let mut other = before.clone();
                let chain = other.chains.get_mut(&scaffold::base_chain()).context("no chain")?;
                let base = &mut std::sync::Arc::make_mut(chain).base;
                base.as_mut().context("no base chain")?.priority += 7;
                format!("delete table inet nftpol\n{}", text::ruleset(&other))
            }
            (IN_THE_WAY | IN_THE_WAY_FOR_LONG, Some(new)) => {
                format!("add set inet nftpol {new} {{ type mark; }}\n")
            }
            (_, Some(new)) => format!("add set inet nftpol {new} {{ type inet_service; }}\n"),
            (_, None) => anyhow::bail!("the policy makes no set"),
        },
    )?;
    if name == IN_THE_WAY_FOR_LONG {
        agent.signal(Signal::SIGCONT)?;
        wait("the agent to look", agent, || Ok(agent.metric(synced)? > looked))?;
        agent.signal(Signal::SIGSTOP)?;
    }
    if wanted != before {
        server.apply(&extra)?;
    }
    let row = format!("rebuilt: {name}");
    let mut took = Duration::ZERO;
    under_fire(range, &row, &always(range), || {
        agent.signal(Signal::SIGCONT)?;
        let start = Instant::now();
        restored(table, &wanted)?;
        took = start.elapsed();
        // The agent may find and delete a set of a type that nftpol knows before it
        // knows the policy that needs the set's name.
        if name != OF_OTHER_TYPE {
            wait("the replacement to be counted", agent, || {
                Ok(agent.metric("nftpol_replacements_total")? > counted)
            })?;
        }
        wait("the stand-in to go", agent, || Ok(table.names()?.len() == 1))
    })?;
    say(&format!("{row}: after {took:.1?}\n"))?;
    if wanted != before {
        delete()?;
        table.until("no extra", |now| *now == before)?;
    }
    Ok(())
}
