//! Runs `nftpol agent` in a node's namespace.
//!
//! You get its metrics and health pages, and its log. Never: links the code of
//! `nftpol`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use netbed::net::Namespace;
use netbed::program;
use samples::scratch::Folder;

/// The address of its pages, unless the test gives another.
pub const HEALTH: &str = "127.0.0.1:9478";

/// An agent, as long as this value lives.
#[derive(Debug)]
pub struct Daemon<'a> {
    namespace: &'a Namespace,
    child: Child,
    health: SocketAddr,
    folder: Folder,
}

impl<'a> Daemon<'a> {
    /// Starts it with these options in addition to `--kubeconfig` and
    /// `--node-name`.
    ///
    /// # Errors
    /// When it is not built or cannot be started.
    pub fn start(
        namespace: &'a Namespace,
        kubeconfig: &Path,
        node: &str,
        options: &[&str],
    ) -> Result<Self> {
        let command = namespace.command(program::path()?);
        Self::of(namespace, command, kubeconfig, node, options)
    }

    /// Starts it with this command. Appends the arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(
        namespace: &'a Namespace,
        mut command: Command,
        kubeconfig: &Path,
        node: &str,
        options: &[&str],
    ) -> Result<Self> {
        let address = options.iter().skip_while(|option| **option != "--health-address").nth(1);
        let health = address.copied().unwrap_or(HEALTH).parse().context("--health-address")?;
        command.args(["agent", "--node-name", node, "--kubeconfig"]).arg(kubeconfig).args(options);
        Self::spawn(namespace, command, health)
    }

    /// Starts it with a command that has all its arguments. Its pages are at this
    /// address of the namespace.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(
        namespace: &'a Namespace,
        mut command: Command,
        health: SocketAddr,
    ) -> Result<Self> {
        let folder = Folder::new("agent")?;
        let log = File::create(folder.path().join("log")).context("make the log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start nftpol agent")?;
        Ok(Self { namespace, child, health, folder })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Requests a page. Returns status code and body.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, page: &str) -> Result<(u16, String)> {
        let answer = self.namespace.run(|| fetch(self.health, page))??;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer is incomplete")?;
        let code = head.split(' ').nth(1).context("no status")?.parse().context("status")?;
        Ok((code, body.to_owned()))
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it is not ready within this time, with its log.
    pub fn ready_within(&mut self, patience: Duration) -> Result<Duration> {
        self.until(patience, "ready", |(code, _)| *code == 200)
    }

    /// Waits until it is not ready for a reason that contains this text.
    ///
    /// # Errors
    /// When that does not happen within this time, with its log.
    pub fn unready_within(&mut self, patience: Duration, reason: &str) -> Result<Duration> {
        let what = format!("not ready because of {reason:?}");
        self.until(patience, &what, |(code, body)| *code == 503 && body.contains(reason))
    }

    fn until(
        &mut self,
        patience: Duration,
        what: &str,
        holds: impl Fn(&(u16, String)) -> bool,
    ) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let answer = self.get("/readyz");
            if answer.as_ref().is_ok_and(&holds) {
                return Ok(start.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("nftpol agent ended with {status}:\n{}", self.log());
            }
            if start.elapsed() > patience {
                bail!("not {what} after {patience:?}: {answer:?}\n{}", self.log());
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// The value of a metric, named with its labels as on the page. 0 if it is
    /// missing.
    ///
    /// # Errors
    /// When the page cannot be read.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let (code, page) = self.get("/metrics")?;
        ensure!(code == 200, "/metrics: {code}: {page}");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(Ok(0.0), |value| value.parse().with_context(|| format!("{name} {value}")))
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("wait for the agent")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the agent is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("send {signal} to the agent"))
    }

    /// Asks it to stop and waits. Returns its log.
    ///
    /// # Errors
    /// When it does not exit with 0.
    pub fn stop(mut self) -> Result<String> {
        self.signal(Signal::SIGTERM)?;
        let status = self.child.wait().context("wait for the agent")?;
        ensure!(status.success(), "nftpol agent ended with {status}:\n{}", self.log());
        Ok(self.log())
    }

    /// Kills it and waits.
    ///
    /// # Errors
    /// When it was already gone.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the agent")?;
        self.child.wait().context("wait for the agent").map(drop)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // An agent that is gone needs no signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fetch(address: SocketAddr, page: &str) -> Result<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {page} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("read the answer")?;
    Ok(answer)
}
