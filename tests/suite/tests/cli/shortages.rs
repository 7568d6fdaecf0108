//! Memory is short while the kernel answers, and files cannot be opened.

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program;

use super::support::{arguments, good, nftpol};

/// Runs a command while each `step`th receive ends with ENOBUFS.
fn short_of_memory(namespace: &Namespace, step: usize, command: &str) -> Result<()> {
    let output = namespace
        .command("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=recvmsg", "-e", "signal=none", "-e"])
        .arg(format!("inject=recvmsg:error=ENOBUFS:when={step}+{step}"))
        .arg(program::path()?)
        .args(arguments(&[command], &good()))
        .output()
        .context("run strace (Debian package strace; `cargo xtask test` installs it)")?;
    ensure!(output.status.success(), "{command}, each {step}. receive fails: {output:?}");
    Ok(())
}

#[test]
fn a_receive_that_fails_now_and_then_stops_nothing() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    for step in [3, 5, 7] {
        short_of_memory(&namespace, step, "apply")?;
        ensure!(nftpol(&namespace, &["diff"], &good())?.code == Some(0));
        // Reads the tables and finds no difference.
        short_of_memory(&namespace, step, "diff")?;
        program::run(&namespace, &["cleanup"], "")?.success()?;
    }
    Ok(())
}

#[test]
fn an_agent_that_may_open_too_few_files_says_so() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let output = namespace
        .command("prlimit")
        .arg("--nofile=16")
        .arg(program::path()?)
        .args(["agent", "--node-name", "node-1"])
        .output()
        .context("run prlimit (Debian package util-linux)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(said.contains("16 files at once") && said.contains("ulimit -n"), "{said}");
    Ok(())
}
