//! `nftpol cleanup`, as the uninstall overlay runs it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost};
use kubebed::world::{PATIENCE, manifests};
use netbed::program;

#[test]
fn cleanup_waits_for_the_agents_end_and_then_leaves_nothing() -> Result<()> {
    let outpost = Outpost::new()?;
    let node = outpost.range.node();
    let mut table = outpost.table()?;
    let mut agent = Daemon::start(node, outpost.kubeconfig(), NODE, &[])?;
    agent.ready_within(PATIENCE)?;
    let early = program::run(node, &["cleanup", "--stay"], "")?;
    assert_eq!(early.code, Some(1), "{early:#?}");
    ensure!(early.stderr.contains("another nftpol enforces"), "{early:#?}");
    ensure!(!table.names()?.is_empty(), "removed under a running agent");
    agent.stop()?;
    ensure!(!table.names()?.is_empty(), "removed by the agent's end");

    let mut command = node.command(program::path()?);
    command.args(["cleanup", "--stay"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut stays = command.spawn().context("start cleanup")?;
    let said = BufReader::new(stays.stdout.take().context("no output")?);
    let mut lines = said.lines();
    let last = "this node has no rules of nftpol; this process waits to be ended";
    ensure!(lines.by_ref().map_while(Result::ok).any(|line| line == last), "it ended");
    let tables = node.command("nft").args(["list", "tables"]).output().context("run nft")?;
    let tables = String::from_utf8_lossy(&tables.stdout).into_owned();
    ensure!(!tables.contains("nftpol"), "left: {tables}");
    ensure!(stays.try_wait()?.is_none(), "it ended");
    // It does not hold the lock: nftpol can be installed again.
    let again = program::run(node, &["cleanup"], "");
    stays.kill()?;
    stays.wait()?;
    assert_eq!(again?.stdout, "no table of nftpol is here\n");
    Ok(())
}

/// The overlay has the rights of the agent, no account, and the same image.
#[test]
fn the_uninstall_overlay_may_do_what_the_agent_may() -> Result<()> {
    let read = |path: &str| {
        fs::read_to_string(manifests().join(path)).with_context(|| format!("read {path}"))
    };
    let (agent, uninstall) =
        (read("base/daemonset.yaml")?, read("overlays/uninstall/daemonset.yaml")?);
    for line in [
        "hostNetwork: true",
        "runAsUser: 0",
        "allowPrivilegeEscalation: false",
        "readOnlyRootFilesystem: true",
        "drop: [ALL]",
        "add: [NET_ADMIN]",
        "type: RuntimeDefault",
        "- operator: Exists",
        "image: nftpol",
    ] {
        let has = |text: &str| text.lines().any(|one| one.trim() == line);
        ensure!(has(&agent) && has(&uninstall), "{line}");
    }
    ensure!(uninstall.contains("automountServiceAccountToken: false"));
    Ok(())
}
