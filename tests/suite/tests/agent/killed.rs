//! SIGKILL at any moment of an update. No packet is affected and nothing is left
//! behind.
//!
//! `NFTPOL_LONG=1`: 200 times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{
    CLIENT, NODE, Outpost, SERVER, STRANGER, TOGGLED, Table, always, ingress, probe, toggle,
    under_fire,
};
use kubebed::world::PATIENCE;
use netbed::fire::{Expect, say};
use policy::{Labels, ObjectKey};

/// One in this many agents gets the time to become ready.
const SPARED: u32 = 8;

#[test]
fn killed_at_any_moment() -> Result<()> {
    let outpost = Outpost::new()?;
    let times = if std::env::var_os("NFTPOL_LONG").is_some() { 200 } else { 40 };
    let range = &outpost.range;
    let mut table = outpost.table()?;
    for state in 0..2 {
        outpost.server.apply(&policies(state))?;
    }
    start(&outpost)?.stop()?;
    let mut probes = always(range);
    probes.extend(
        [
            (CLIENT, SERVER, 82, Expect::Either),
            (CLIENT, SERVER, 84, Expect::Pass),
            (STRANGER, SERVER, 82, Expect::Drop),
            (CLIENT, TOGGLED, 80, Expect::Pass),
            (STRANGER, TOGGLED, 80, Expect::Either),
        ]
        .map(|one| probe(range, one)),
    );
    let (mut commits, mut deaths) = (0, Deaths::default());
    let done = AtomicBool::new(false);
    let row = format!("agent killed {times} times");
    thread::scope(|scope| {
        let changing = scope.spawn(|| keep_changing(&outpost, &done));
        let fought = under_fire(range, &row, &probes, || {
            for number in 0..times {
                let before = table.generation()?;
                deaths.one(&outpost, &mut table, number)?;
                commits += table.generation()?.0.wrapping_sub(before.0);
            }
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        let changed = changing.join().unwrap()?;
        let Deaths { amid, idle } = deaths;
        say(&format!(
            "{changed} changes of the API server's objects, {commits} commits; {amid} agents \
             killed right after a commit, {idle} at another moment\n"
        ))?;
        fought
    })?;
    start(&outpost)?.stop()?;
    let dump = table.dump()?.context("no table")?.ruleset;
    let stand_ins: Vec<_> = dump
        .chains
        .keys()
        .filter(|name| ["old.", "new.", "both"].iter().any(|one| name.as_str().starts_with(one)))
        .collect();
    ensure!(stand_ins.is_empty(), "left behind: {stand_ins:?}");
    ensure!(table.names()?.len() == 1, "left behind: {:?}", table.names()?);
    outpost.settled()
}

fn start(outpost: &Outpost) -> Result<Daemon<'_>> {
    let mut agent = Daemon::start(outpost.range.node(), outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    Ok(agent)
}

/// When the agents were killed.
#[derive(Default)]
struct Deaths {
    amid: u32,
    idle: u32,
}

impl Deaths {
    /// Starts an agent and kills it right after its first, second or third commit, or
    /// after a while. Some agents live longer.
    fn one(&mut self, outpost: &Outpost, table: &mut Table, number: u32) -> Result<()> {
        let range = &outpost.range;
        let mut agent = Daemon::start(range.node(), outpost.kubeconfig(), NODE, &[])?;
        if number.is_multiple_of(SPARED) {
            agent.ready_within(PATIENCE)?;
        }
        let (start, mut generation) = (Instant::now(), table.generation()?);
        let mut commits = number % 4;
        // Multiples of the golden ratio, modulo 1, spread the lifetimes evenly.
        let golden = (f64::from(number) * 0.618_033_988_749_895).fract();
        let life = Duration::from_millis(600).mul_f64(golden);
        let longest = if commits == 0 { life } else { Duration::from_secs(2) };
        while start.elapsed() < longest {
            let now = table.generation()?;
            if now != generation && commits > 0 {
                generation = now;
                commits -= 1;
                if commits == 0 {
                    self.amid += 1;
                    return agent.kill();
                }
            }
            // The time between two batches is shorter than a timer's resolution.
            thread::yield_now();
        }
        self.idle += 1;
        agent.kill()
    }
}

/// Creates, changes and deletes policies and relabels pods, over and over. No step
/// changes what the probes expect. Returns the number of rounds.
fn keep_changing(outpost: &Outpost, done: &AtomicBool) -> Result<u64> {
    let Outpost { server, .. } = outpost;
    let mut changes = 0;
    let client = ObjectKey::new("fire", "client");
    while !done.load(Ordering::Relaxed) {
        let state = changes % 2;
        let role = ["a", "b"][usize::from(state == 1)];
        let labels: Labels = [("app", "client"), ("role", role)]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
        server.relabel_pods(&[(client.clone(), labels)])?;
        server.apply(&policies(state))?;
        if state == 0 {
            server.apply(&toggle())?;
        } else {
            server.kubectl(&["delete", "-f", "-"], &toggle())?.success()?;
        }
        changes += 1;
        sleep(Duration::from_millis(20));
    }
    Ok(changes)
}

/// One policy that changes, in its peer and its port, and one that does not.
fn policies(state: u64) -> String {
    let (role, port) = if state == 0 { ("a", 82) } else { ("b", 83) };
    let peer = format!("{{podSelector: {{matchLabels: {{role: {role}}}}}}}");
    let steady = "{podSelector: {matchExpressions: [{key: app, operator: In, values: [client]}]}}";
    format!(
        "{}---\n{}",
        ingress("changing", "server", &peer, port),
        ingress("steady", "server", steady, 84)
    )
}
