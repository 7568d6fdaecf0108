//! A cluster that keeps running after the command ends.
//!
//! One process holds it, and a file describes how others reach it.
//! Never: a second cluster at the same time. A holder of the lock is alive. What a
//! dead process left behind has known names and is removed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use netbed::net::Namespace;
use netbed::testbed::Testbed;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout};
use samples::scratch::Folder;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{Kubernetes, Options, cgroups, described};

/// Names a cluster other than the usual one. Its namespaces and control groups have
/// this prefix, and its folder has it in its name.
pub const NAME: &str = "NFTPOL_CLUSTER_NAME";
/// How long the cluster may take to end before the holder is killed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of its files.
pub fn folder() -> PathBuf {
    std::env::temp_dir().join(std::env::var(NAME).unwrap_or("nftpol-cluster".into()))
}

fn prefix() -> String {
    std::env::var(NAME).unwrap_or("npk".into())
}

/// Holds a cluster until this process is asked to end (SIGTERM, SIGINT). Calls
/// `say` at each step.
///
/// # Errors
/// When a cluster already exists, and as [`Kubernetes::up`].
pub fn hold(options: Options, say: &dyn Fn(&str)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let inside = runtime.enter();
    let mut ends = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let folder = Folder::at(folder())?;
    let lock = File::create(lock_path()).context("make the lock")?;
    let locked = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    let _locked = locked.map_err(|(_, error)| error).context("take the lock")?;
    fs::write(pid_path(), std::process::id().to_string()).context("write the process's number")?;
    let cluster = Testbed::named(described(&options), &prefix())?;
    let kubernetes = Kubernetes::on(options, cluster, folder, say)?;
    let state = describe(&kubernetes).to_string();
    fs::write(state_path(), state).context("write how to reach the cluster")?;
    say("ready");
    detach()?;
    drop(inside);
    let [terminate, interrupt] = &mut ends;
    let (terminate, interrupt) = (terminate.as_mut(), interrupt.as_mut());
    let (Ok(terminate), Ok(interrupt)) = (terminate, interrupt) else {
        bail!("cannot wait for signals");
    };
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    Ok(())
}

/// Closes the terminal or the pipe, so that a reader of the pipe reaches its end.
fn detach() -> Result<()> {
    let log = File::create(folder().join("holder.log")).context("make the holder's log")?;
    dup2_stdout(&log).and_then(|()| dup2_stderr(&log)).context("write to the holder's log")
}

/// Whether a process holds a cluster.
pub fn is_running() -> bool {
    let Ok(lock) = File::open(lock_path()) else { return false };
    Flock::lock(lock, FlockArg::LockSharedNonblock).is_err()
}

/// How to reach the running cluster.
///
/// # Errors
/// When there is none, or it is not ready.
pub fn state() -> Result<Value> {
    ensure!(is_running(), "no cluster is running: start one with `cargo xtask cluster up`");
    let text = fs::read_to_string(state_path()).context("the cluster is not ready yet")?;
    serde_json::from_str(&text).context("read how to reach the cluster")
}

/// Ends the running cluster, and removes what a dead one left behind. Returns
/// whether there was anything.
///
/// # Errors
/// When something cannot be removed.
pub fn down() -> Result<bool> {
    let mut any = end_holder()?;
    let names = format!("{}-", prefix());
    for name in Namespace::list(&names)? {
        any = true;
        drop(Namespace::existing(&name)?);
    }
    for group in cgroups::list(&names)? {
        any = true;
        cgroups::remove(&group)?;
    }
    if folder().exists() {
        any = true;
        remove_folder()?;
    }
    Ok(any)
}

/// Removes the folder. Programs of a holder that was killed are ending, and may still
/// make files in it.
fn remove_folder() -> Result<()> {
    let start = Instant::now();
    while let Err(error) = fs::remove_dir_all(folder()) {
        if !folder().exists() {
            break;
        }
        if start.elapsed() > PATIENCE {
            return Err(error).context("remove the cluster's folder");
        }
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn end_holder() -> Result<bool> {
    if !is_running() {
        return Ok(false);
    }
    let pid = fs::read_to_string(pid_path()).context("read who holds the cluster")?;
    let pid = Pid::from_raw(pid.trim().parse().context("read who holds the cluster")?);
    let start = Instant::now();
    // If it is already gone, that is what we want.
    let _ = kill(pid, Signal::SIGTERM);
    while is_running() {
        if start.elapsed() > PATIENCE {
            let _ = kill(pid, Signal::SIGKILL);
        }
        ensure!(start.elapsed() < 2 * PATIENCE, "process {pid} does not end");
        sleep(Duration::from_millis(50));
    }
    Ok(true)
}

fn describe(kubernetes: &Kubernetes) -> Value {
    let doors = kubernetes.doors().map(|(node, words)| {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        (node.to_owned(), json!(words))
    });
    json!({
        "options": kubernetes.options().to_string(),
        "namespace": kubernetes.cluster().switch().name(),
        "kubeconfig": kubernetes.server().admin_kubeconfig(),
        "nodes": doors.collect::<serde_json::Map<_, _>>(),
    })
}

fn lock_path() -> PathBuf {
    folder().join("lock")
}

fn pid_path() -> PathBuf {
    folder().join("pid")
}

fn state_path() -> PathBuf {
    folder().join("state.json")
}
