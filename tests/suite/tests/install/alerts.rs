//! Alerts that need more than a stopped agent, each raised by what causes it, in a real
//! Prometheus. `monitoring.rs` has the others.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use agent::metrics::Metrics;
use agent::pipeline::Pipeline;
use agent::status::Status;
use anyhow::{Context, Result, ensure};
use compiler::{Options, scaffold};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost, SPARE, ingress, pod, toggle};
use kubebed::world::PATIENCE;
use netbed::net::Namespace;
use netbed::program;
use nft::{DropLog, Kernel};
use policy::{NodeNetwork, ObjectKey, Snapshot};
use ruleset::Ruleset;
use samples::scratch::Folder;
use verify::{Report, VerifyError};
use watcher::{Store, api};

use super::prometheus::{Prometheus, TARGETS};

/// The group of NFLOG that agents read by default.
const GROUP: u16 = 9478;
/// Where a second agent serves its pages.
const SECOND: &str = "127.0.0.1:9479";
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn the_other_alerts_are_raised_by_what_causes_them() -> Result<()> {
    let outpost = Outpost::new()?;
    let node = outpost.range.node();
    let first = node.run(|| DropLog::open(GROUP))??;
    // It may not read the Node.
    let options = ["--table-owner=off", "--node-pod-cidrs"];
    let mut agent = Daemon::start(node, outpost.kubeconfig(), NODE, &options)?;
    agent.ready_within(PATIENCE)?;
    let prometheus = Prometheus::start(node, TARGETS)?;
    let fires = |alert: &str| prometheus.fires(alert, "node=\"node-1\"").context("no alert");

    fires("NftpolRangesUnknown")?;
    fires("NftpolDenialsNotShown")?;
    drop(first);

    let before = agent.metric("nftpol_unbound_pods")?;
    let nowhere = pod("fire", "nowhere", "198.51.100.9".parse()?);
    outpost.server.create_pods(&[nowhere])?;
    prometheus.until(&format!("nftpol_unbound_pods > {before}"), 1)?;
    fires("NftpolUnboundPods")?;

    let folder = Folder::new("newer")?;
    let newer = folder.path().join("nftpol");
    of_another_version(&program::path()?, &newer)?;
    let options = ["--health-address", SECOND];
    let second = Daemon::of(node, node.command(&newer), outpost.kubeconfig(), NODE, &options)?;
    prometheus.fires("NftpolVersionsDiffer", "severity=\"info\"")?;
    second.stop()?;

    the_compiler_is_wrong(&outpost, &prometheus)?;
    connections_fill_the_table(node, &agent)?;
    fires("NftpolConntrackFull")?;

    let refused = Refusals::of(thread_of(&agent, "conntrack")?)?;
    outpost.server.apply(&toggle())?;
    fires("NftpolConnectionCleanupFailing")?;
    drop(refused);

    // The thread that enforces is the first one.
    let refused = Refusals::of(agent.pid().as_raw())?;
    outpost.server.apply(&ingress("late", "spare", "{podSelector: {}}", 80))?;
    fires("NftpolSyncFailing")?;
    drop(refused);
    agent.ready_within(PATIENCE)?;
    let spare = outpost.range.destination(SPARE);
    let is_there =
        |table: &Ruleset| kubebed::outpost::isolates(table, policy::Direction::Ingress, spare);
    outpost.table()?.until("the policy that was refused", is_there)?;
    agent.stop().map(drop)
}

/// Each request of a thread to the kernel ends with ENOBUFS, as it does where memory is short.
struct Refusals(Child);

impl Refusals {
    fn of(thread: i32) -> Result<Self> {
        let mut strace = Command::new("strace");
        strace.args(["-qq", "-o", "/dev/null", "-e", "trace=sendmsg", "-e", "signal=none"]);
        strace.args(["-e", "inject=sendmsg:error=ENOBUFS", "-p", &thread.to_string()]);
        strace.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(strace.spawn().context("start strace (Debian package strace)")?))
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        // The kernel lets the thread go when strace ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn thread_of(agent: &Daemon<'_>, name: &str) -> Result<i32> {
    for thread in fs::read_dir(format!("/proc/{}/task", agent.pid()))?.flatten() {
        let called = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        if called.trim() == name {
            return thread.file_name().to_string_lossy().parse().context("a thread's number");
        }
    }
    anyhow::bail!("the agent has no thread {name}")
}

/// The same program with another version in it.
fn of_another_version(ours: &Path, to: &Path) -> Result<()> {
    let other = VERSION.replace('0', "9");
    let (from, into) = (VERSION.as_bytes(), other.as_bytes());
    let mut bytes = fs::read(ours).context("read the program")?;
    let mut found = 0;
    for at in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[at] == from[0] && bytes[at..].starts_with(from) {
            bytes[at..at + into.len()].copy_from_slice(into);
            found += 1;
        }
    }
    ensure!(found > 0, "the program does not hold its version");
    fs::write(to, bytes)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

/// Connections of the node to itself, until nine of ten entries are taken. They live for 30 s
/// (`nf_conntrack_udp_timeout`, kernel Documentation, networking/nf_conntrack-sysctl).
fn connections_fill_the_table(node: &Namespace, agent: &Daemon<'_>) -> Result<()> {
    let limit = agent.metric("nftpol_conntrack_limit")?;
    let flows = (limit * 0.95) as usize;
    node.run(|| -> Result<()> {
        let mut opened = 0;
        while opened < flows {
            let socket = UdpSocket::bind("127.0.0.1:0").context("open a socket")?;
            for port in (1..=u16::MAX).take(flows - opened) {
                // A refusal is about the packet before it.
                let _ = socket.send_to(b"x", ("127.0.0.1", port));
                opened += 1;
            }
        }
        Ok(())
    })?
}

/// What the compiler makes is proved, and is not what the objects mean.
fn the_compiler_is_wrong(outpost: &Outpost, prometheus: &Prometheus<'_>) -> Result<()> {
    let found = outpost.server.block_on(api::list(outpost.server.client()))?;
    let store: Store = found.into_iter().map(|found| found.object).collect();
    let apart = Namespace::new("pf")?;
    let options = Options { node: Some(NODE.to_owned()), ..Options::default() };
    let metrics = Metrics::new();
    apart.run(|| -> Result<()> {
        let mut pipeline = Pipeline::new(Kernel::open()?, options).proving(forgetful);
        ensure!(pipeline.sync(store.snapshot()).is_err(), "a wrong table is sent");
        metrics.proved(&pipeline.proofs());
        Ok(())
    })??;
    let page = Arc::new(metrics.prometheus_text(&Status::new())?);
    let listener = outpost.range.node().run(|| TcpListener::bind(SECOND))??;
    let serves = Arc::clone(&page);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if Arc::strong_count(&serves) == 1 {
                return;
            }
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n";
            let (length, page) = (serves.len(), &serves);
            let _ =
                write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{page}");
        }
    });
    prometheus.fires("NftpolProofFailed", "node=\"node-2\"")?;
    drop(page);
    Ok(())
}

/// Acts as if the compiler forgot the rules of the base chain.
fn forgetful(
    snapshot: &Snapshot,
    node: Option<&str>,
    set_aside: &BTreeSet<ObjectKey>,
    network: &NodeNetwork,
    table: &Ruleset,
    bridge: Option<&Ruleset>,
) -> Result<Report, VerifyError> {
    let mut table = table.clone();
    if let Some(chain) = table.chains.get_mut(&scaffold::base_chain()) {
        Arc::make_mut(chain).rules.clear();
    }
    verify::verify(snapshot, node, set_aside, network, &table, bridge)
}
