//! A server in the background.
//!
//! Its output goes to a folder. It is killed when its value is dropped or the test
//! process ends, however it ends.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use super::inside::Inside;
use super::programs;

/// How much of a log an error shows, in lines.
const TAIL: usize = 30;

/// The process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts one of Kubernetes' programs. Appends its output to `<name>.log` in
    /// the folder.
    pub fn start(inside: &Inside, name: &str, arguments: &[String], folder: &Path) -> Result<Self> {
        let mut words = vec![programs::path(name)?.into_os_string()];
        words.extend(arguments.iter().map(OsString::from));
        Self::of(inside, name, &words, folder)
    }

    /// Starts any command line in the same way.
    pub fn of(inside: &Inside, name: &str, words: &[OsString], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(words);
        // A fifth fewer CPU cycles for thousands of objects, for some more memory
        // (pkg.go.dev/runtime, "Environment Variables").
        command.env("GOGC", "400");
        command.current_dir(folder).stdin(Stdio::null());
        command.stderr(file.try_clone().context("share a log")?).stdout(file);
        let child = inside
            .spawn(command)
            .with_context(|| format!("start {name} by `setpriv` (Debian package util-linux)"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("wait for {}", self.name))
    }

    /// The file of /proc that lists the processes it has started (proc(5),
    /// `/proc/pid/task/tid/children`). Processes that are not listed have ended.
    pub fn children(&self) -> Vec<PathBuf> {
        let id = self.child.id();
        let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let list = list.unwrap_or_default();
        list.split_whitespace().map(|child| Path::new("/proc").join(child)).collect()
    }

    /// Its name and the last lines of its log, for errors.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n  ");
        format!("last output of {}:\n  {tail}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A process that is already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
