//! One network namespace.
//!
//! A namespace ends with its value, together with its processes. A borrowed
//! namespace stays.
//! Never: `setns` in the caller's own thread.

use std::fs::{self, File};
use std::io::Write;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Where iproute2 mounts named namespaces (ip-netns(8)).
const NETNS_DIR: &str = "/run/netns";

static COUNTER: AtomicU32 = AtomicU32::new(1);

/// A named network namespace with `lo` up. Dropping it kills its processes and
/// deletes it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    path: PathBuf,
    handle: File,
    kept: bool,
}

/// Fails with advice if this process may not create namespaces.
///
/// # Errors
/// When the effective user is not root.
pub fn require_root() -> Result<()> {
    ensure!(
        geteuid().is_root(),
        "network namespaces need root: run this as root, for instance `sudo -E cargo xtask test`"
    );
    Ok(())
}

impl Namespace {
    /// A new namespace with a unique name: the prefix, the process id and a
    /// counter. With a prefix of up to 4 characters the name also fits an interface
    /// name (15 characters).
    ///
    /// # Errors
    /// Without root, or when `ip netns add` fails.
    pub fn new(prefix: &str) -> Result<Self> {
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{prefix}{}-{number}", std::process::id());
            if !Path::new(NETNS_DIR).join(&name).exists() {
                return Self::named(&name);
            }
        }
    }

    /// A new namespace with exactly this name.
    ///
    /// # Errors
    /// As [`Namespace::new`], and when the name is taken.
    pub fn named(name: &str) -> Result<Self> {
        require_root()?;
        batch(&["-batch", "-"], &format!("netns add {name}"))?;
        let namespace = Self::existing(name)?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// An existing namespace. Dropping it deletes it, too.
    ///
    /// # Errors
    /// When no namespace has this name.
    pub fn existing(name: &str) -> Result<Self> {
        require_root()?;
        Self::open(name, Path::new(NETNS_DIR).join(name), false)
    }

    /// Borrows a namespace by the file that names it, anywhere. Use it for sockets.
    /// `ip` does not know its name. Dropping this value changes nothing.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn lent(path: PathBuf) -> Result<Self> {
        let name = path.display().to_string();
        Self::open(&name, path, true)
    }

    fn open(name: &str, path: PathBuf, kept: bool) -> Result<Self> {
        let handle = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { name: name.to_owned(), path, handle, kept })
    }

    /// The names of all namespaces with this prefix.
    ///
    /// # Errors
    /// When the directory of namespaces cannot be read.
    pub fn list(prefix: &str) -> Result<Vec<String>> {
        if !Path::new(NETNS_DIR).exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(NETNS_DIR).context("read /run/netns")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The name that `ip netns` shows, or the path of a borrowed namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file for `nsenter --net=`.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Keeps the namespace when this value is dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// Runs a closure in a thread inside this namespace. Sockets opened there
    /// belong to this namespace, whichever thread uses them later.
    ///
    /// # Errors
    /// When the thread cannot enter. A panic of the closure continues in the
    /// caller.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T> {
        let entered = thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.handle, CloneFlags::CLONE_NEWNET)?;
                    Ok::<T, nix::Error>(inside())
                })
                .join()
        });
        match entered {
            Ok(result) => result.with_context(|| format!("enter namespace {}", self.name)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A command that will run in this namespace.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `ip` commands, one per line, without the leading `ip`.
    ///
    /// # Errors
    /// At the first line that `ip` refuses, with its message.
    pub fn ip(&self, lines: &str) -> Result<()> {
        batch(&["-n", &self.name, "-batch", "-"], lines)
    }

    /// Sets a sysctl below `net`, such as `ipv4.ip_forward`. Every dot becomes a
    /// slash, so interface names with dots do not work.
    ///
    /// # Errors
    /// When there is no such sysctl or it refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        // /proc/sys/net shows the namespace of the thread that looks
        // (net_ctl_header_lookup in net/sysctl_net.c, Linux 6.18).
        let path = format!("/proc/sys/net/{}", key.replace('.', "/"));
        self.run(|| fs::write(&path, value))?
            .with_context(|| format!("write {value} to {path} in {}", self.name))
    }

    /// Deletes the namespace now. Its interfaces are gone soon after: the kernel does
    /// it in the background (`cleanup_net`, net/core/net_namespace.c, Linux 6.18).
    ///
    /// # Errors
    /// When `ip` refuses it.
    pub fn end(&mut self) -> Result<()> {
        self.kept = true;
        batch(&["-batch", "-"], &format!("netns del {}", self.name))
    }

    /// Processes in this namespace, except this one.
    pub fn processes(&self) -> Vec<Pid> {
        let Ok(own) = self.handle.metadata() else { return Vec::new() };
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|&pid| pid != nix::unistd::getpid().as_raw())
            .filter(|pid| {
                fs::metadata(format!("/proc/{pid}/ns/net"))
                    .is_ok_and(|theirs| theirs.st_ino() == own.st_ino())
            })
            .map(Pid::from_raw)
            .collect()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        for pid in self.processes() {
            // A process that is already gone is as good as killed.
            let _ = kill(pid, Signal::SIGKILL);
        }
        if let Err(error) = batch(&["-batch", "-"], &format!("netns del {}", self.name)) {
            eprintln!("leaving namespace {} behind: {error:#}", self.name);
        }
    }
}

/// Feeds lines to `ip`. It stops at the first one that fails.
fn batch(arguments: &[&str], lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("run `ip` (Debian package iproute2)")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A broken pipe means that ip gave up; its message says why.
        let _ = stdin.write_all(lines.as_bytes());
        let _ = stdin.write_all(b"\n");
    }
    let output = child.wait_with_output().context("wait for `ip`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}\nin:\n{lines}", arguments.join(" "), said.trim());
    }
    Ok(())
}
