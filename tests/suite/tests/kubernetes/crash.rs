//! The process that keeps a cluster running dies.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use kubebed::kubernetes::running;
use netbed::program::{self, Finished};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::PATIENCE;

/// Starts a cluster, kills the process that keeps it, and removes the cluster.
pub fn crash() -> Result<()> {
    let program = program::beside("cluster")?;
    let name = format!("npt{}-crash", std::process::id());
    let cluster = |words: &[&str]| -> Result<Finished> {
        let mut command = Command::new(&program);
        command.args(words).env(running::NAME, &name);
        program::finish(command, "")
    };
    let up = ["up", "--nodes", "1"];
    cluster(&up)?.success()?;
    let again = cluster(&up)?;
    ensure!(again.stderr.contains("one is already running"), "{again:?}");
    assert!(again.success()?.contains("node-1"));
    assert_eq!(cluster(&["exec", "node-1", "--", "hostname"])?.success()?, "node-1\n");
    let holder = std::fs::read_to_string(std::env::temp_dir().join(&name).join("pid"))?;
    kill(Pid::from_raw(holder.parse()?), Signal::SIGKILL)?;
    let start = Instant::now();
    while !cluster(&["status"])?.stderr.contains("no cluster is running") {
        ensure!(start.elapsed() < PATIENCE, "a killed process still keeps a cluster");
    }
    cluster(&["down"])?.success().map(drop)
}
