//! Starts the agent again whenever it ends, as the kubelet does.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use kubebed::daemon::Daemon;
use netbed::net::Namespace;
use netbed::program;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use samples::scratch::Folder;

use super::dice::Dice;
use super::scene::NODE;

/// Lines of a log that a failure shows.
const TAIL: usize = 60;
/// Logs of agents before this one that a failure shows.
const LOGS: usize = 1;

/// The agent.
pub struct Kubelet<'a> {
    node: &'a Namespace,
    kubeconfig: PathBuf,
    dice: Dice,
    agent: Option<Daemon<'a>>,
    /// Whether its tables are its own, so that others cannot change them.
    pub owns: bool,
    /// Whether it stands still.
    pub is_stopped: bool,
    /// A full pipe, and the folder that it is in.
    pipe: Option<(File, Folder)>,
    logs: VecDeque<String>,
    /// How often it was started.
    pub starts: usize,
}

impl<'a> Kubelet<'a> {
    /// Nothing runs yet.
    pub fn new(node: &'a Namespace, kubeconfig: &Path, dice: Dice) -> Self {
        Self {
            node,
            kubeconfig: kubeconfig.to_owned(),
            dice,
            agent: None,
            owns: true,
            is_stopped: false,
            pipe: None,
            logs: VecDeque::new(),
            starts: 0,
        }
    }

    /// Starts the agent with options of the dice, whatever runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, unread: bool) -> Result<()> {
        self.gone();
        let dice = &mut self.dice;
        self.owns = !dice.one_in(3);
        let mut options = Vec::new();
        if !self.owns {
            options.push("--table-owner=off");
        }
        if dice.one_in(4) {
            options.push("--verify");
        }
        let mut command = match unread {
            false => self.node.command(program::path()?),
            true => {
                let folder = Folder::new("chaos-log")?;
                let path = folder.path().join("stderr");
                mkfifo(&path, Mode::S_IRWXU).context("make a pipe")?;
                let pipe = full(&path)?;
                let mut command = self.node.command("sh");
                command.args(["-c", "exec \"$0\" \"$@\" 2>\"$STDERR\""]).arg(program::path()?);
                command.env("STDERR", &path);
                self.pipe = Some((pipe, folder));
                command
            }
        };
        command.env("RUST_LOG", "info");
        let agent = Daemon::of(self.node, command, &self.kubeconfig, NODE, &options)?;
        self.agent = Some(agent);
        self.starts += 1;
        Ok(())
    }

    /// Starts the agent again if it has ended. Whether it had.
    ///
    /// # Errors
    /// It ended although nothing asked it to.
    pub fn supervise(&mut self, may_end: bool) -> Result<bool> {
        let Some(agent) = &mut self.agent else {
            self.start(false)?;
            return Ok(true);
        };
        let Some(status) = agent.ended()? else { return Ok(false) };
        ensure!(may_end, "the agent ended by itself: {status}");
        self.start(false)?;
        Ok(true)
    }

    /// The agent's answer, if it gives one.
    pub fn readyz(&self) -> Option<(u16, String)> {
        let agent = self.agent.as_ref().filter(|_| !self.is_stopped)?;
        agent.get("/readyz").ok()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.gone();
    }

    /// Asks it to stop, and waits.
    ///
    /// # Errors
    /// It does not end well.
    pub fn terminate(&mut self) -> Result<()> {
        let Some(agent) = self.agent.take() else { bail!("no agent") };
        let log = agent.stop()?;
        self.remember(log);
        self.pipe = None;
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.agent.as_ref().context("no agent")?.signal(signal)?;
        self.is_stopped = signal == Signal::SIGSTOP;
        Ok(())
    }

    /// Sets a limit of prlimit(1) of the running agent.
    ///
    /// # Errors
    /// When prlimit cannot be started.
    pub fn limit(&self, limit: &str) -> Result<()> {
        let Some(agent) = &self.agent else { return Ok(()) };
        let pid = agent.pid().to_string();
        let mut command = std::process::Command::new("prlimit");
        command.args(["--pid", &pid, limit]);
        // It may have ended.
        program::finish(command, "").context("prlimit (Debian package util-linux)").map(drop)
    }

    /// How much address space it has, in bytes.
    pub fn address_space(&self) -> Option<u64> {
        let pid = self.agent.as_ref()?.pid();
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let pages: u64 = text.split(' ').next()?.parse().ok()?;
        Some(pages * 4096)
    }

    /// The end of the logs, for a failure.
    pub fn last_words(&self) -> String {
        let now = self.agent.as_ref().map(Daemon::log).unwrap_or_default();
        let logs = self.logs.iter().chain([&now]);
        let tails = logs.map(|log| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(TAIL)..].join("\n")
        });
        tails.collect::<Vec<_>>().join("\n--- the next agent ---\n")
    }

    fn gone(&mut self) {
        if let Some(agent) = self.agent.take() {
            self.remember(agent.log());
        }
        self.is_stopped = false;
        self.pipe = None;
    }

    fn remember(&mut self, log: String) {
        self.logs.push_back(log);
        while self.logs.len() > LOGS {
            self.logs.pop_front();
        }
    }
}

/// A pipe without room.
fn full(path: &Path) -> Result<File> {
    let mut pipe = OpenOptions::new();
    pipe.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
    let mut pipe = pipe.open(path).context("open the pipe")?;
    loop {
        match pipe.write(b"\n") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(pipe),
            Err(error) => return Err(error).context("fill the pipe"),
        }
    }
}
