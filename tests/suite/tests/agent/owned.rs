//! The tables belong to the agent. Other programs cannot change them, and no packet
//! notices that they try. Needs Linux 6.9.

use std::io::Write;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost, always, fire_at, under_fire};
use kubebed::world::PATIENCE;
use netbed::fire::{nft, observer, say};
use netbed::net::Namespace;

/// What others try, each of them this often.
const TRIES: usize = 15;
const CHANGES: [&str; 6] = [
    "flush chain inet nftpol forward",
    "insert rule inet nftpol forward accept",
    "flush table inet nftpol",
    "add table inet nftpol { flags dormant; }",
    "add chain inet nftpol forward { policy drop; }",
    "delete table inet nftpol",
];
/// As on a kernel before Linux 6.9.
const NOT_OWNED: &[&str] = &["--table-owner=off"];

#[test]
fn tables_belong_to_the_agent() -> Result<()> {
    let outpost = Outpost::new()?;
    others_try(&outpost).context("others try to change the table")?;
    made_without_an_owner(&outpost).context("a table that nobody can own")?;
    owned_by_another(&outpost).context("a table that another process owns")?;
    outpost.settled()
}

/// What others try changes nothing, while the agent lives. Later they may.
fn others_try(outpost: &Outpost) -> Result<()> {
    let node = outpost.range.node();
    let mut agent = start(outpost, &[])?;
    agent.ready_within(PATIENCE)?;
    outpost.settled()?;
    let probes = always(&outpost.range);
    let outcome = fire_at(&outpost.range, &probes, || {
        for _ in 0..TRIES {
            nft(node, &format!("flush ruleset\n{}", observer(probes.len())))?;
            for script in CHANGES {
                refused(node, script)?;
            }
        }
        Ok(())
    })?;
    let (let_in, kept_out) = (outcome.wrongly_passed, outcome.wrongly_dropped);
    say(&format!("owned by the agent: let in {let_in}, kept out {kept_out}\n"))?;
    ensure!((let_in, kept_out) == (0, 0), "{:?}", outcome.counts);
    ensure!(agent.metric("nftpol_repairs_total")? == 0.0, "{}", agent.log());
    let (code, report) = agent.get("/readyz")?;
    ensure!(code == 200 && report.contains("[+] kernel\n"), "{code}: {report}");
    outpost.settled()?;
    agent.stop()?;
    outpost.settled()?;
    nft(node, "flush chain inet nftpol forward\n")
}

/// The agent builds it again, and no packet is affected.
fn made_without_an_owner(outpost: &Outpost) -> Result<()> {
    let node = outpost.range.node();
    nft(node, "delete table inet nftpol\n")?;
    let mut before = start(outpost, NOT_OWNED)?;
    before.ready_within(PATIENCE)?;
    let (_, report) = before.get("/readyz")?;
    ensure!(report.contains("[+] kernel: other programs can change the tables"), "{report}");
    before.stop()?;
    under_fire(&outpost.range, "built again to be owned", &always(&outpost.range), || {
        let mut agent = start(outpost, &[])?;
        agent.ready_within(PATIENCE)?;
        ensure!(agent.metric("nftpol_replacements_total")? == 1.0, "{}", agent.log());
        refused(node, "delete table inet nftpol")?;
        agent.stop().map(drop)
    })?;
    ensure!(outpost.table()?.names()?.len() == 1, "a stand-in is left");
    outpost.settled()
}

/// The agent says so, and enforces beside it.
fn owned_by_another(outpost: &Outpost) -> Result<()> {
    let node = outpost.range.node();
    nft(node, "delete table inet nftpol\n")?;
    let other = Owner::of_an_empty_table(node)?;
    let mut table = outpost.table()?;
    wait("the other process's table", || Ok(!table.names()?.is_empty()))?;
    let mut agent = start(outpost, &[])?;
    let why = "another process owns table inet nftpol (netlink port";
    agent.unready_within(PATIENCE, why)?;
    wait("a stand-in", || Ok(table.names()?.len() == 2))?;
    let probes = always(&outpost.range);
    under_fire(&outpost.range, "beside a table of others", &probes, || Ok(()))?;
    other.end()?;
    agent.ready_within(PATIENCE)?;
    wait("one table", || Ok(table.names()?.len() == 1))?;
    outpost.settled()?;
    agent.stop().map(drop)
}

fn start<'a>(outpost: &'a Outpost, options: &[&str]) -> Result<Daemon<'a>> {
    Daemon::start(outpost.range.node(), outpost.kubeconfig(), NODE, options)
}

/// The kernel does not let nft(8) do this.
fn refused(node: &Namespace, script: &str) -> Result<()> {
    let output = node.command("nft").arg(script).output().context("start nft")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains("Operation not permitted"),
        "{script}: {said}"
    );
    Ok(())
}

fn wait(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A process of others that owns `inet nftpol`.
struct Owner(Child);

impl Owner {
    fn of_an_empty_table(node: &Namespace) -> Result<Self> {
        // In interactive mode nft(8) keeps its socket.
        let mut nft = node.command("nft");
        nft.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut nft = nft.spawn().context("start nft")?;
        let input = nft.stdin.as_mut().context("its standard input")?;
        input.write_all(b"add table inet nftpol { flags owner; }\n").context("write to nft")?;
        Ok(Self(nft))
    }

    fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        self.0.wait().context("wait for nft").map(drop)
    }
}
