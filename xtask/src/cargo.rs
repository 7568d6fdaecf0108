//! Runs cargo, and what cargo built.
//!
//! Fails with an error that names the command. Never: a toolchain of its own
//! choice. It uses the cargo that started this program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::background;

/// Beginnings of the variables that `cargo run` sets for what it runs
/// (doc.rust-lang.org/cargo/reference/environment-variables.html).
const OURS: [&str; 2] = ["CARGO_MANIFEST_", "CARGO_PKG_"];

/// How cargo is called.
#[derive(Clone, Debug, Default)]
pub struct Cargo {
    env: Vec<(&'static str, String)>,
    locked: bool,
}

impl Cargo {
    /// A cargo that refuses to change `Cargo.lock`.
    pub fn locked() -> Self {
        Self { locked: true, ..Self::default() }
    }

    /// The same cargo with one more environment variable.
    pub fn env(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.env.push((key, value.into()));
        self
    }

    /// The command, not yet started.
    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        self.command_behind(&[], args)
    }

    /// The same, with these words before it. `--locked` comes before the
    /// subcommand, where every subcommand but `fmt` takes it.
    pub fn command_behind<'a>(
        &self,
        before: &[&str],
        args: impl IntoIterator<Item = &'a str>,
    ) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let mut command = background::command(before, Path::new(&program));
        // Variables about this package are irrelevant to other build scripts,
        // which would run again because of them.
        let ours = |name: &str| OURS.iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if self.locked {
            command.arg("--locked");
        }
        command.args(args);
        command
    }

    /// Runs it to its end and passes its output through.
    pub fn run<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<()> {
        finish(self.command(args))
    }

    /// The output of `cargo metadata`, with the resolved dependencies on Linux.
    pub fn metadata(&self) -> Result<Value> {
        self.query(&[
            "metadata",
            "--format-version=1",
            "--filter-platform=x86_64-unknown-linux-gnu",
        ])
    }

    /// What `cargo metadata` says about the members of the workspace alone.
    pub fn members(&self) -> Result<Value> {
        self.query(&["metadata", "--format-version=1", "--no-deps"])
    }

    /// Runs the built program at `path` in the target folder.
    pub fn exec(&self, path: &str, args: &[String]) -> Result<()> {
        let mut command = Command::new(self.target_folder()?.join(path));
        command.envs(self.env.iter().map(|(key, value)| (key, value))).args(args);
        finish(command)
    }

    /// Where cargo puts its output.
    pub fn target_folder(&self) -> Result<PathBuf> {
        self.folder("target_directory")
    }

    /// The folder of the workspace's Cargo.toml.
    pub fn workspace_folder(&self) -> Result<PathBuf> {
        self.folder("workspace_root")
    }

    fn folder(&self, key: &str) -> Result<PathBuf> {
        let members = self.members()?;
        let folder = members[key].as_str();
        Ok(folder.with_context(|| format!("cargo metadata names no {key}"))?.into())
    }

    fn query(&self, args: &[&str]) -> Result<Value> {
        let mut command = self.command(args.iter().copied());
        command.stderr(std::process::Stdio::inherit());
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        if !output.status.success() {
            bail!("`{}` failed: {}", words(&command), output.status);
        }
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
    }
}

/// Runs a command to its end. Any failure is an error that names the command.
pub fn finish(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", words(&command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", words(&command));
    }
    Ok(())
}

/// The command as you would type it.
pub fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
