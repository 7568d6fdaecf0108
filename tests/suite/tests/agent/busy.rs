//! Another program commits all the time, as kube-proxy does when Services change
//! often. Changes and repairs still take effect, and the agent does not use up the
//! node's CPU time.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost, Table, toggle};
use kubebed::world::PATIENCE;
use netbed::fire::{nft, policy, say};
use netbed::net::Namespace;
use netbed::stream::percentile;

/// Pause between two commits of the other program.
const EVERY: Duration = Duration::from_millis(5);
const CHANGES: u32 = 10;
/// Address blocks of one policy. Reading them takes longer than [`EVERY`].
const BLOCKS: u32 = 8_000;

#[test]
fn others_commit_all_the_time() -> Result<()> {
    let outpost = Outpost::new()?;
    let mut table = outpost.table()?;
    let mut agent =
        Daemon::start(outpost.range.node(), outpost.kubeconfig(), NODE, &["--table-owner=off"])?;
    agent.ready_within(PATIENCE)?;
    {
        let _noise = Noise::start(outpost.range.node())?;
        busy(&outpost, &agent, &mut table, "small table")?;
    }
    // Too large for `kubectl apply`, which stores a copy of an object in an annotation
    // of the object.
    outpost.server.kubectl(&["create", "-f", "-"], &blocks())?.success()?;
    table.until("blocks", |table| {
        table.sets.values().any(|set| set.elements.len() >= BLOCKS as usize)
    })?;
    {
        let _noise = Noise::start(outpost.range.node())?;
        busy(&outpost, &agent, &mut table, "large table")?;
    }
    outpost.settled()?;
    ensure!(agent.metric("nftpol_syncs_total{result=\"failed\"}")? == 0.0, "{}", agent.log());
    agent.stop().map(drop)
}

fn busy(outpost: &Outpost, agent: &Daemon<'_>, table: &mut Table, name: &str) -> Result<()> {
    let Outpost { server, range, .. } = outpost;
    // From here on a large table cannot be read between two commits.
    let in_force = || agent.metric("nftpol_event_to_kernel_seconds_count");
    let cpu = || agent.metric("process_cpu_seconds_total");
    let (start, spent) = (Instant::now(), cpu()?);
    sleep(Duration::from_secs(2));
    let idle = (cpu()? - spent) / start.elapsed().as_secs_f64();
    let (generation, mut changed) = (table.generation()?, Vec::new());
    for number in 0..CHANGES {
        let before = in_force()?;
        match number % 2 == 0 {
            true => server.apply(&toggle())?,
            false => server.kubectl(&["delete", "-f", "-"], &toggle())?.success().map(drop)?,
        }
        let now = Instant::now();
        wait(agent, || Ok(in_force()? > before))?;
        changed.push(now.elapsed());
    }
    let mut restored = Vec::new();
    for damage in ["flush chain inet nftpol forward", "delete table inet nftpol"] {
        let repairs = agent.metric("nftpol_repairs_total")?;
        nft(range.node(), damage)?;
        let now = Instant::now();
        wait(agent, || Ok(agent.metric("nftpol_repairs_total")? > repairs))?;
        restored.push(now.elapsed());
    }
    let theirs = table.generation()?.0.wrapping_sub(generation.0);
    say(&format!(
        "others commit every {EVERY:?} ({theirs} times), {name}: changes in force after {:.1?} \
         (median), {:.1?} (longest); repairs counted after {restored:.1?}; CPU {:.1} % of one \
         while nothing happens, {:.1} % in all\n",
        percentile(&mut changed, 0.5),
        percentile(&mut changed, 1.0),
        idle * 100.0,
        (cpu()? - spent) / start.elapsed().as_secs_f64() * 100.0,
    ))
}

fn wait(agent: &Daemon<'_>, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PATIENCE, "{}", agent.log());
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A policy that only makes the table larger.
fn blocks() -> String {
    let mut from = String::new();
    for number in 0..BLOCKS {
        let address = Ipv4Addr::from_bits(0xac10_0000 + 2 * number);
        let _ = write!(from, "{{ipBlock: {{cidr: {address}/32}}}}, ");
    }
    let spec =
        format!("podSelector: {{matchLabels: {{app: spare}}}}\n  ingress: [{{from: [{from}]}}]");
    policy("blocks", &spec)
}

/// Commits to a table of its own for as long as this value lives.
struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    nft: Child,
}

impl Noise {
    fn start(node: &Namespace) -> Result<Self> {
        nft(node, "add table ip noise\nadd set ip noise s { type ipv4_addr; }\n")?;
        // In interactive mode each line is a batch of its own (nft(8)).
        let mut nft = node.command("nft");
        nft.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut nft = nft.spawn().context("start nft")?;
        let mut lines = nft.stdin.take().context("its standard input")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for verb in ["add", "delete"].into_iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                lines
                    .write_all(format!("{verb} element ip noise s {{ 10.9.9.9 }}\n").as_bytes())?;
                sleep(EVERY);
            }
            Ok(())
        });
        Ok(Self { stop, thread: Some(thread), nft })
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A failed write no longer matters.
            let _ = thread.join();
        }
        // nft ends when its input ends.
        let _ = self.nft.kill();
        let _ = self.nft.wait();
    }
}
