//! Runs the built `nftpol` in a node's namespace.
//!
//! It does not link the code of `nftpol`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::net::Namespace;

/// Names the binary when it is not beside the tests.
const OVERRIDE: &str = "NFTPOL";

/// The result of a run of the program.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Its standard output.
    ///
    /// # Errors
    /// When it did not exit with 0. The error has all its output.
    pub fn success(self) -> Result<String> {
        ensure!(self.code == Some(0), "the program failed: {self:#?}");
        Ok(self.stdout)
    }
}

/// The `nftpol` that belongs to this test executable: same profile, same target
/// directory, unless the environment names another.
///
/// # Errors
/// When it has not been built.
pub fn path() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(OVERRIDE) {
        return Ok(path.into());
    }
    beside("nftpol").with_context(|| {
        format!(
            "build it with `cargo build --package agent`, or run `cargo xtask test`, which does; \
             {OVERRIDE}=PATH names another"
        )
    })
}

/// The program of this name that was built with this executable.
///
/// # Errors
/// When it has not been built.
pub fn beside(name: &str) -> Result<PathBuf> {
    let executable = std::env::current_exe().context("find the test executable")?;
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let found = executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file());
    found.with_context(|| format!("no {name} near {}", executable.display()))
}

/// Runs `nftpol` in this namespace.
///
/// # Errors
/// When it has not been built or cannot be started. A failure of the program
/// itself is in [`Finished`].
pub fn run(namespace: &Namespace, arguments: &[&str], input: &str) -> Result<Finished> {
    let mut command = namespace.command(path()?);
    // CI systems set it. It names the node where the arguments do not.
    command.args(arguments).env_remove("NODE_NAME");
    finish(command, input).context("nftpol")
}

/// Runs a command to its end, with this as its standard input.
///
/// # Errors
/// When it cannot be started.
pub fn finish(mut command: Command, input: &str) -> Result<Finished> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the program")?;
    let mut stdin = child.stdin.take().context("the program's standard input")?;
    let output = std::thread::scope(|scope| {
        // It may end without reading: a broken pipe is no error here.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output()
    })
    .context("wait for the program")?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
