//! What runs in a node's namespaces: process 1, and the way in.
//!
//! Process 1 has mount, pid, uts, ipc and cgroup namespaces with the node's own
//! /proc, /sys, /run, /var/lib and /var/log. They last until process 1 is killed.
//! Never: a change that the machine outside of the node sees. A kubelet sets
//! sysctls for the whole machine. Here they are files of the node.
//!
//! ```text
//! cluster node ──unshare──▶ cluster init, pid 1: mounts, then reaps
//! cluster enter ──setns──▶ containerd, kubelet, kube-proxy, kubectl exec
//! ```

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::{cgroups, second};

/// Subcommands for a node. A program that has them passes their arguments to [`serve`].
pub const CALLS: [&str; 4] = [NODE, INIT, ENTER, SECOND];
pub(super) const NODE: &str = "node";
const INIT: &str = "init";
pub(super) const ENTER: &str = "enter";
pub(super) const SECOND: &str = "second-network";

/// The sysctls that kubelet sets (setupKernelTunables in
/// pkg/kubelet/cm/container_manager_linux.go, Kubernetes 1.36), with the values
/// that it accepts.
pub(super) const TUNABLES: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// The file with the number of a node's process 1, in the node's folder.
const NUMBER: &str = "pid";
/// The names of routing tables (ip-route(8)).
const ROUTING_TABLES: &str = "/etc/iproute2/rt_tables";

/// Serves a call of [`CALLS`].
///
/// # Errors
/// When an argument is missing, or the kernel refuses something.
pub fn serve(call: &str, arguments: &[&str]) -> Result<ExitCode> {
    match (call, arguments) {
        (NODE, [folder, name, group]) => node(Path::new(folder), name, group),
        (INIT, [folder, name]) => init(Path::new(folder), name),
        (ENTER, [process, group, program, rest @ ..]) => enter(process, group, program, rest),
        (SECOND, []) => second::call().map(|()| ExitCode::SUCCESS),
        _ => anyhow::bail!("wrong arguments of an internal command: {call} {arguments:?}"),
    }
}

/// The process id of a node's process 1, once its namespaces exist.
pub(super) fn process_one(folder: &Path) -> Option<u32> {
    ready(&folder.join("lib")).exists().then_some(())?;
    fs::read_to_string(folder.join(NUMBER)).ok()?.trim().parse().ok()
}

/// Lets a node whose process 1 is gone start again. The new process 1 can be ready before
/// its parent has written its number, so the old number must go, too.
pub(super) fn forget(folder: &Path) -> Result<()> {
    for path in [ready(&folder.join("lib")), folder.join(NUMBER)] {
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

fn ready(lib: &Path) -> PathBuf {
    lib.join("ready")
}

/// Runs in the node's network namespace. Creates the other namespaces, and waits
/// for process 1.
fn node(folder: &Path, name: &str, group: &str) -> Result<ExitCode> {
    let executable = std::env::current_exe().context("find this program")?;
    let hierarchies = cgroups::all()?;
    for one in &hierarchies {
        one.make(group)?;
        one.enter_root(group)?;
    }
    unshare(CloneFlags::CLONE_NEWCGROUP).context("make a cgroup namespace")?;
    for one in &hierarchies {
        one.enter(group)?;
        one.delegate(group)?;
    }
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(flags | CloneFlags::CLONE_NEWPID).context("make namespaces")?;
    let mut child = Command::new(executable).arg(INIT).arg(folder).arg(name).spawn()?;
    fs::write(folder.join(NUMBER), child.id().to_string()).context("write the process's number")?;
    finished(child.wait().context("wait for process 1")?)
}

/// Process 1.
fn init(folder: &Path, name: &str) -> Result<ExitCode> {
    set_pdeathsig(Signal::SIGKILL).context("ask to die with the parent")?;
    fs::write("/proc/sys/kernel/hostname", name).context("set the host name")?;
    let hierarchies = cgroups::all()?;
    flag("/", MsFlags::MS_PRIVATE)?;
    for (own, at) in [("lib", "/var/lib"), ("log", "/var/log")] {
        bind(&folder.join(own), Path::new(at))?;
    }
    fresh("proc", "/proc")?;
    let shadows = folder.join("sysctl");
    for (name, value) in TUNABLES {
        let shadow = shadows.join(name.replace('/', "."));
        fs::write(&shadow, value).with_context(|| format!("write {}", shadow.display()))?;
        bind(&shadow, &Path::new("/proc/sys").join(name))?;
    }
    // kube-router adds a name to it.
    if Path::new(ROUTING_TABLES).exists() {
        let own = shadows.join("rt_tables");
        fs::copy(ROUTING_TABLES, &own).with_context(|| format!("copy {ROUTING_TABLES}"))?;
        bind(&own, Path::new(ROUTING_TABLES))?;
    }
    fresh("sysfs", "/sys")?;
    cgroups::mount_all(&hierarchies)?;
    fresh("tmpfs", "/run")?;
    // Volumes of pods come and go on both sides (mount propagation).
    flag("/", MsFlags::MS_SHARED)?;
    let signals = SigSet::from(Signal::SIGCHLD);
    signals.thread_block().context("block a signal")?;
    fs::write(ready(Path::new("/var/lib")), "").context("report that the node is ready")?;
    loop {
        reap();
        signals.wait().context("wait for a signal")?;
    }
}

fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Runs a program in the node of this process 1, to its end.
fn enter(process: &str, group: &str, program: &str, arguments: &[&str]) -> Result<ExitCode> {
    for one in cgroups::all()? {
        one.enter(group)?;
    }
    let open = |kind: &str| {
        let path = format!("/proc/{process}/ns/{kind}");
        File::open(&path).with_context(|| format!("open {path}"))
    };
    // Mounts last, because they change /proc.
    let kinds = ["net", "uts", "ipc", "cgroup", "pid", "mnt"];
    for namespace in kinds.map(open) {
        setns(namespace?, CloneFlags::empty()).context("enter a namespace")?;
    }
    let status = Command::new(program).args(arguments).status();
    finished(status.with_context(|| format!("run {program}"))?)
}

/// The exit code that a shell would have.
fn finished(status: std::process::ExitStatus) -> Result<ExitCode> {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1)))
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("bind {} to {}", from.display(), to.display()))
}

fn fresh(kind: &str, at: &str) -> Result<()> {
    mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mount {kind} at {at}"))
}

fn flag(at: &str, flag: MsFlags) -> Result<()> {
    mount(None::<&str>, at, None::<&str>, flag | MsFlags::MS_REC, None::<&str>)
        .with_context(|| format!("set the propagation of {at}"))
}
