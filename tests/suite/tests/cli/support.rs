//! Helpers that all these tests share.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::net::Namespace;
use netbed::program::{self, Finished};
use nft::{Generation, Kernel};
use ruleset::simulator::{Outcome, Packet, simulate};
use samples::fixtures;

/// The node on which the tests run.
pub const NODE: &str = "node-1";

/// How the line begins that names pods without an interface.
pub const UNBOUND: &str = "notice: no interface here is bound to an address of these pods";

/// A file of `fixtures/cli`.
pub fn fixture(name: &str) -> String {
    fixtures::directory("cli").join(name).display().to_string()
}

/// The text of such a file.
pub fn text(name: &str) -> Result<String> {
    std::fs::read_to_string(fixture(name)).with_context(|| name.to_owned())
}

/// `COMMAND -f FILE ... --node node-1`.
pub fn arguments(command: &[&str], files: &[String]) -> Vec<String> {
    let mut all: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    for file in files {
        all.extend(["-f".to_owned(), file.clone()]);
    }
    all.extend(["--node".to_owned(), NODE.to_owned()]);
    all
}

/// Runs `nftpol COMMAND -f FILE ... --node node-1`.
pub fn nftpol(namespace: &Namespace, command: &[&str], files: &[String]) -> Result<Finished> {
    with_input(namespace, command, files, "")
}

/// As [`nftpol`], with standard input.
pub fn with_input(
    namespace: &Namespace,
    command: &[&str],
    files: &[String],
    input: &str,
) -> Result<Finished> {
    let arguments = arguments(command, files);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut finished = program::run(namespace, &arguments, input)?;
    finished.stderr = without_binding(&short(&finished.stderr));
    Ok(finished)
}

/// Without the notices about interfaces where there are none, as in most of these
/// tests. The tests in `binding.rs` look at it.
pub fn without_binding(stderr: &str) -> String {
    let is_about =
        |line: &&str| line.starts_with(UNBOUND) || line.starts_with("notice: not judged: ");
    stderr.split_inclusive('\n').filter(|line| !is_about(line)).collect()
}

/// Removes the folder of the fixtures from paths.
pub fn short(text: &str) -> String {
    let folder = format!("{}/", fixtures::directory("cli").display());
    text.replace(&folder, "")
}

/// The pods of `fixtures/cli`, and a policy for one of them.
pub fn good() -> Vec<String> {
    vec![fixture("cluster.yaml"), fixture("good.yaml")]
}

/// Runs `nft` and fails if it fails.
pub fn nft(namespace: &Namespace, arguments: &[&str], input: &str) -> Result<String> {
    let finished = try_nft(namespace, arguments, input)?;
    ensure!(finished.code == Some(0), "nft {arguments:?}: {finished:#?}");
    Ok(finished.stdout)
}

/// Runs `nft`.
pub fn try_nft(namespace: &Namespace, arguments: &[&str], input: &str) -> Result<Finished> {
    let mut child = namespace
        .command("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start nft (Debian package nftables)")?;
    let mut stdin = child.stdin.take().context("standard input of nft")?;
    let output = thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// Everything in the kernel, without counters and without running timeouts.
pub fn listing(namespace: &Namespace) -> Result<String> {
    nft(namespace, &["-s", "list", "ruleset"], "")
}

/// The objects of `inet nftpol`, sorted: two ways to make a table may add them in
/// different orders, which has no meaning.
pub fn objects(namespace: &Namespace) -> Result<Vec<String>> {
    let listing = nft(namespace, &["-s", "list", "table", "inet", "nftpol"], "")?;
    let inner = listing
        .strip_prefix("table inet nftpol {\n")
        .and_then(|rest| rest.strip_suffix("}\n"))
        .with_context(|| format!("a table: {listing}"))?;
    let mut objects: Vec<String> =
        inner.split("\n\n").map(|object| object.trim_end().to_owned()).collect();
    objects.sort();
    Ok(objects)
}

/// The generation: it counts the commits in this namespace, by any program.
pub fn generation(namespace: &Namespace) -> Result<Generation> {
    namespace.run(|| Ok(Kernel::open()?.generation()?))?
}

/// The address of `dev/web`, which the policies called `broken` isolate.
pub const WEB: &str = "10.244.1.2";
/// The address of `dev/db`, which the policy `good` isolates.
pub const DB: &str = "10.244.1.3";
/// An address of no pod.
pub const OUTSIDER: &str = "203.0.113.9";

/// Whether the table in the kernel lets a new TCP flow pass.
pub fn passes(namespace: &Namespace, from: &str, to: &str, port: u16) -> Result<bool> {
    let dump = namespace.run(|| {
        let mut kernel = Kernel::open()?;
        anyhow::Ok(kernel.dump(&ruleset::TableId::inet(compiler::scaffold::table()))?)
    })??;
    let table = dump.context("no table inet nftpol")?.ruleset;
    let tcp = policy::Protocol::Tcp.number();
    let packet =
        Packet { destination_port: Some(port), ..Packet::new(from.parse()?, to.parse()?, tcp) };
    Ok(simulate(&table, &packet)?.outcome == Outcome::Accept)
}

/// `nftpol apply --watch`, killed when dropped.
pub struct Watcher {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Watcher {
    /// Starts it and returns once it has applied the first time.
    pub fn start(namespace: &Namespace, files: &[&Path]) -> Result<Self> {
        Self::start_with(namespace, &[], files)
    }

    /// As [`Watcher::start`], with more options.
    pub fn start_with(namespace: &Namespace, options: &[&str], files: &[&Path]) -> Result<Self> {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let command = [&["apply", "--watch"], options].concat();
        let mut child = namespace
            .command(program::path()?)
            .args(arguments(&command, &files))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start nftpol")?;
        let stdout = collect(child.stdout.take().context("standard output")?);
        let stderr = collect(child.stderr.take().context("standard error")?);
        let watcher = Self { child, stdout, stderr };
        watcher.until("it applies", |watcher| Ok(!watcher.stdout().is_empty()))?;
        Ok(watcher)
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        held(&self.stdout).clone()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        without_binding(&held(&self.stderr))
    }

    /// Waits until a condition holds. Returns how long that took.
    pub fn until(
        &self,
        what: &str,
        mut holds: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<Duration> {
        let start = Instant::now();
        while !holds(self)? {
            ensure!(
                // `--watch` looks less often when a look takes longer.
                start.elapsed() < Duration::from_secs(60),
                "waited in vain until {what}; it said:\n{}{}",
                self.stdout(),
                self.stderr()
            );
            thread::sleep(Duration::from_millis(2));
        }
        Ok(start.elapsed())
    }

    /// Ends it with SIGKILL, which it cannot catch.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn held(text: &Mutex<String>) -> MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collect(mut from: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            held(&into).push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    text
}

/// Replaces the content of a file in one step.
pub fn replace(file: &Path, text: &str) -> Result<()> {
    let mut new = PathBuf::from(file);
    new.set_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, file)?)
}
